"""A network and samples so small that a training takes less than a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from eorestore.config import TrainingSettings
from eorestore.losses.weighted import WeightedSum
from eorestore.models.model import Model, Output, Settings
from eorestore.training.fit import FitResult, fit


@dataclass(frozen=True)
class ToySettings(Settings):
    channels: int = 4


class ToyModel(Model):
    settings_type: ClassVar = ToySettings

    def __init__(self, settings: ToySettings) -> None:
        super().__init__(settings)
        self.body = nn.Sequential(
            nn.Conv2d(5, settings.channels, 3, padding=1),
            nn.BatchNorm2d(settings.channels),
            nn.GELU(),
            nn.Dropout2d(0.25),
            nn.Conv2d(settings.channels, 3, 3, padding=1),
        )
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, *, cloudy: Tensor, sar: Tensor) -> Output:
        return Output(cloudy + self.body(torch.cat([cloudy, sar], dim=1)))


class ToySamples:
    """Items are a pure function of (epoch, index); `asked` lists them, `poison` makes one NaN."""

    def __init__(self, items: int, *, poison: int | None = None) -> None:
        self.items = items
        self.poison = poison
        self.epoch = 0
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self.items

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.asked.append((self.epoch, index))
        draw = torch.Generator().manual_seed(1000 * self.epoch + index)
        target = torch.rand(3, 8, 8, generator=draw)
        cloudy = torch.rand(3, 8, 8, generator=draw)
        if index == self.poison:
            cloudy[0, 3, 3] = float("nan")
        return {"cloudy": cloudy, "sar": target[:2] + 0.1, "target": target, "mask": torch.ones(1, 8, 8)}


def l1(output: Output, batch: Mapping[str, Tensor]) -> Tensor:
    return (output.image - batch["target"]).abs().mean()


def l2(output: Output, batch: Mapping[str, Tensor]) -> Tensor:
    return (output.image - batch["target"]).square().mean()


def mae(image: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return (image - batch["target"]).abs().flatten(1).mean(1)


def save_weights(folder: Path, model: Model, scores: Mapping[str, float]) -> None:
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "scores.txt").write_text(repr(dict(scores)))


SETTINGS = TrainingSettings(
    steps=10,
    batch=2,
    learning_rate=0.01,
    warmup=3,
    ema=0.8,
    weight_decay=0.01,
    checkpoint_every=4,
    checkpoint_minutes=0,
    validate_every=5,
    log_every=2,
    pictures=2,
)


def train_toy(run_dir: Path, **changes: Any) -> FitResult:
    """Train the toy in `run_dir`; keyword arguments other than fit's own change the settings."""
    options: dict[str, Any] = {
        "train": ToySamples(7),
        "validation": ToySamples(3),
        "metrics": {"mae": mae},
        "losses": WeightedSum({"l1": l1, "l2": l2}, {"l1": 1.0, "l2": 0.5}),
        "save_checkpoint": save_weights,
        "config": {"name": run_dir.name},
        "seed": 5,
    }
    torch.manual_seed(3)
    options["model"] = ToyModel(ToySettings())
    fields = set(TrainingSettings.__dataclass_fields__)
    options |= {key: value for key, value in changes.items() if key not in fields}
    changed = replace(SETTINGS, **{key: value for key, value in changes.items() if key in fields})
    return fit(run_dir, settings=changed, **options)
