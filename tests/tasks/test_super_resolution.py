import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from eorestore.config import RunConfig, TrainingSettings, parse_settings
from eorestore.data.rows import rows_of
from eorestore.errors import ConfigError, MissingError
from eorestore.losses.weighted import WeightedSum
from eorestore.metrics import fidelity
from eorestore.metrics.luma import psnr_luma
from eorestore.models.model import Model, Output, Settings
from eorestore.processing import BandScale, BandScaling, Processor
from eorestore.raster import Unit
from eorestore.tasks.super_resolution import LOSSES, SUPER_RESOLUTION
from eorestore.tasks.table import TASKS
from eorestore.training.fit import fit
from eorestore.training.pictures import sheet

LEVELS = BandScaling(tuple(BandScale(name, Unit.LEVEL, 0, 255) for name in ("red", "green", "blue")))
RGB_X4 = Processor({"low": LEVELS}, LEVELS, scale=4)


def repeated(low: Tensor) -> Tensor:
    return low.repeat_interleave(4, dim=-2).repeat_interleave(4, dim=-1)


class TwoLayers(Model):
    """Repeated pixels and what two convolutions add to them: at first nothing."""

    settings_type = Settings
    scale = 4
    reach = 3

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.first = nn.Conv2d(3, 16, 3, padding=1, padding_mode="reflect")
        self.last = nn.Conv2d(16, 48, 3, padding=1, padding_mode="reflect")
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, *, low: Tensor) -> Output:
        detail = self.last(torch.relu(self.first(low - 0.5)))
        return Output(repeated(low) + nn.functional.pixel_shuffle(detail, 4))


def made_up(folder: Path, count: int, *, seed: int) -> None:
    """Even colours with sharp edges, so that there is something to learn."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for number in range(count):
        field = gaussian_filter(generator.normal(size=(64, 64, 3)), (5, 5, 0))
        Image.fromarray(np.where(field > 0, 200, 50).astype(np.uint8)).save(folder / f"{number}.png")


def config(folder: Path) -> RunConfig:
    values = {
        "name": "small",
        "task": "super-resolution",
        "model": {"name": "two-layers"},
        "data": {"manifest": str(folder), "crop": 12, "repeat": 10, "validation_items": 4},
        "losses": {"mse": 1.0},
    }
    return parse_settings(RunConfig, values, source="test")


def batch(bands=3, seed=0) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, bands, 48, 48, generator=generator)
    image = (target + 0.1 * torch.randn(target.shape, generator=generator)).requires_grad_()
    valid = torch.ones(2, 1, 48, 48, dtype=torch.bool)
    return image, {"low": torch.rand(2, bands, 12, 12, generator=generator), "target": target, "valid": valid}


def test_the_task_is_in_the_table():
    assert TASKS["super-resolution"] is SUPER_RESOLUTION


@pytest.mark.parametrize("name", LOSSES)
def test_invalid_pixels_reach_no_loss(name):
    image, seen = batch()
    seen["valid"][:, :, :, 20:] = False
    try:
        loss = LOSSES[name](Output(image), seen)
    except MissingError as error:
        pytest.skip(error.message)
    loss.backward()
    assert not image.grad[..., 20:].any()
    assert image.grad[..., :20].any()


def test_three_bands_are_scored_on_luma_without_a_rim_as_wide_as_the_enlargement():
    image, seen = batch()
    whole = {"valid": seen["valid"]}
    found = SUPER_RESOLUTION.metrics["psnr"](image, seen)
    assert torch.equal(found, psnr_luma(image, seen["target"], **whole, shave=4))
    seen["low"] = torch.zeros(2, 3, 24, 24)
    twice = SUPER_RESOLUTION.metrics["psnr"](image, seen)
    assert torch.equal(twice, psnr_luma(image, seen["target"], **whole, shave=2))
    assert not torch.equal(found, twice)


@pytest.mark.parametrize("name", ["perceptual_vgg19", "clip_semantic"])
def test_losses_of_networks_that_see_colour_refuse_other_bands(name):
    image, seen = batch(bands=4)
    with pytest.raises(ConfigError, match="the target has 4 bands"):
        LOSSES[name](Output(image), seen)


@pytest.mark.parametrize("name", ["psnr", "ssim"])
def test_other_bands_are_scored_as_they_are(name):
    image, seen = batch(bands=4)
    expected = getattr(fidelity, name)(image, seen["target"], valid=seen["valid"])
    assert torch.equal(SUPER_RESOLUTION.metrics[name](image, seen), expected)


def test_an_item_without_any_difference_has_no_score_that_is_infinite():
    image, seen = batch()
    same = torch.cat([seen["target"][:1], image[1:].detach()])
    found = SUPER_RESOLUTION.metrics["psnr"](same, seen)
    assert found[0].isnan()
    assert torch.isfinite(found[1])


def test_pictures_show_the_enlarged_input_the_prediction_and_the_target():
    image, seen = batch()
    seen["low"] = seen["target"][..., ::4, ::4]
    picture = sheet(image, seen, rgb=(0, 1, 2))
    assert picture.shape == (3, 2 * 48 + 4, 3 * 48 + 2 * 4)
    low, target = picture[:, :48, :48], picture[:, :48, -48:]
    assert np.array_equal(low[:, ::4, ::4], target[:, ::4, ::4])
    assert np.array_equal(low[:, 3::4, 2::4], low[:, ::4, ::4])


def test_a_record_can_hash_every_image(tmp_path):
    made_up(tmp_path / "train_HR", 2, seed=0)
    made_up(tmp_path / "train_LR" / "X4", 2, seed=0)
    (row,) = rows_of("super-resolution", config(tmp_path).data)
    assert row.files == (tmp_path / "train_HR", tmp_path / "train_LR")


def test_two_layers_trained_for_a_few_steps_beat_what_they_start_from(tmp_path):
    made_up(tmp_path / "images" / "train_HR", 4, seed=0)
    made_up(tmp_path / "images" / "val_HR", 2, seed=1)
    asked = config(tmp_path / "images")
    torch.manual_seed(0)
    model = TwoLayers(Settings())
    train, validation = SUPER_RESOLUTION.datasets(asked, RGB_X4, model)
    first = validation[0]
    start = [
        SUPER_RESOLUTION.metrics["psnr"](
            repeated(item["low"])[None], {name: values[None] for name, values in item.items()}
        ).item()
        for item in (validation[index] for index in range(4))
    ]
    folders: list[Path] = []
    result = fit(
        tmp_path / "run",
        model=model,
        train=train,
        validation=validation,
        losses=WeightedSum(SUPER_RESOLUTION.losses, asked.losses),
        settings=TrainingSettings(
            steps=60, batch=4, learning_rate=5e-3, validate_every=30, log_every=30, best_by="psnr", best_is="highest",
            pictures=2,
        ),
        seed=0,
        metrics=SUPER_RESOLUTION.metrics,
        save_checkpoint=lambda folder, *_: (folder.mkdir(), folders.append(folder)),
        config=asked.to_dict(),
        rgb=(0, 1, 2),
    )  # fmt: skip
    assert first["target"].shape == (3, 48, 48)
    assert result.scores["psnr"] > np.mean(start) + 0.8
    assert math.isfinite(result.scores["ssim"])
    assert result.best[0].score == result.scores["psnr"]
    assert folders
    assert list((tmp_path / "run" / "pictures").glob("*.png"))
