"""Trains the small feature network of the loss `perceptual_ucmerced`: a classifier of aerial images in 21 classes.

Images are named like agricultural05.webp (UC Merced land use: Yang and Newsam 2010; public-domain USGS imagery, 0.3 m,
256 x 256). Numbers from 60 on are held out and choose nothing. Batch normalisation is folded into the
convolutions at the end, and weights are stored as float16; the accuracy is that of the stored weights. Writes
ucmerced.safetensors, ucmerced.json and README.md to --out and results/feature-network.json.

    python benchmarks/train_feature_network.py --images ../shared/data/sr/UCMerced --out src/eorestore/weights/features
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from eorestore.experiments.record import commit, hash_path, make_record, write_record
from eorestore.layers.feature_network import FeatureNetwork

STAGES = ((24, 24), (48, 48), (80, 80), (112, 112))
MEAN, STD = (0.45, 0.45, 0.45), (0.2, 0.2, 0.2)
POOLING = "average"
HELD_OUT_FROM = 60
SIDE = 64  # pixels of a training crop
_NAME = re.compile(r"([a-z]+)(\d+)")

CARD = """# ucmerced: the feature network of the loss `perceptual_ucmerced`

A small VGG-like classifier ({parameters:,} parameters) whose features at four levels are compared by the loss
`perceptual_ucmerced`. Not a restoring model: `eorestore restore` cannot use it.

Trained by benchmarks/train_feature_network.py, from random weights, on {train} images of the UC Merced land use data
(21 classes, public-domain USGS aerial imagery; Yang and Newsam 2010), shrunk by 2 to 3. On the {held_out} held-out
images (numbers from {first} on) it names {accuracy:.1%} of the classes right; chance is 4.8%. The record is
results/feature-network.json.

What it has not seen: Sentinel-2. Its images have pixels of 0.6 to 0.9 m after shrinking, Sentinel-2 has 10 m, so its
classes (airplanes, courts, cars) do not exist there; edges, lines, textures and their colours do. It stands in where
the weights of VGG16 are absent, and claims no more. Input is RGB in [0, 1]; Sentinel-2 reflectance is multiplied by 2.5
and clipped first, see src/eorestore/losses/perceptual.py.

Stored as float16, batch normalisation folded. `head` is the classifier, which the loss does not use.
"""


@dataclass(frozen=True)
class Plan:
    """How the classifier is trained."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    mixup: float
    seed: int


class Classifier(nn.Module):
    """The feature network with batch normalisation, and a linear layer on the means of all taps."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = FeatureNetwork(STAGES, mean=MEAN, std=STD, pooling=POOLING).requires_grad_()
        self.norms = nn.ModuleList(nn.ModuleList(nn.BatchNorm2d(width) for width in widths) for widths in STAGES)
        self.head = nn.Linear(sum(widths[-1] for widths in STAGES), classes)
        for conv in (conv for stage in self.network.stages for conv in stage):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def forward(self, rgb: Tensor) -> Tensor:
        """(batch, 3, y, x) in [0, 1] -> (batch, classes)."""
        features = (rgb - self.network.mean) / self.network.std
        taps = []
        for level, (stage, norms) in enumerate(zip(self.network.stages, self.norms, strict=True)):
            features = self.network.halve(features) if level else features
            for conv, norm in zip(stage, norms, strict=True):
                features = F.relu(norm(conv(features)))
            taps.append(features)
        return self.head(F.dropout(pooled(taps), 0.3, self.training))

    def folded(self) -> dict[str, Tensor]:
        """Weights of the network without batch normalisation, and of the head, as float16."""
        state = {}
        for level, (stage, norms) in enumerate(zip(self.network.stages, self.norms, strict=True)):
            for number, (conv, norm) in enumerate(zip(stage, norms, strict=True)):
                fused = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                for kind, value in zip(("weight", "bias"), fused, strict=True):
                    state[f"stages.{level}.{number}.{kind}"] = value.detach().half().contiguous()
        return state | {f"head.{kind}": value.detach().half() for kind, value in self.head.state_dict().items()}


def pooled(taps: list[Tensor]) -> Tensor:
    """The mean of every channel of every tap, (batch, channels)."""
    return torch.cat([tap.mean(dim=(2, 3)) for tap in taps], dim=1)


def read_images(folder: Path) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
    """Images shrunk by 2 to 128 x 128 (item, 3, y, x) in [0, 1], class numbers, file numbers, class names."""
    paths = sorted(folder.glob("*.webp"))
    named = [_NAME.fullmatch(path.stem) for path in paths]
    classes = tuple(sorted({match[1] for match in named if match}))
    pictures = (torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255 for path in paths)
    images = torch.cat([shrunk(picture[None], 128) for picture in pictures])  # a few are not quite 256 x 256
    labels = torch.tensor([classes.index(match[1]) for match in named if match])
    numbers = torch.tensor([int(match[2]) for match in named if match])
    return images, labels, numbers, classes


def shrunk(images: Tensor, side: int) -> Tensor:
    """(item, 3, y, x) brought to side x side pixels, without aliasing."""
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


def batches(images: Tensor, labels: Tensor, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    """Crops of 64 to 96 pixels brought to 64, turned, flipped, in other light and colours; one-hot, mixed labels."""
    generator = torch.Generator().manual_seed(plan.seed)
    order: list[int] = []
    hot = F.one_hot(labels).float()

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    for _ in range(plan.steps):
        while len(order) < plan.batch:
            order += torch.randperm(len(images), generator=generator).tolist()
        chosen, order = order[: plan.batch], order[plan.batch :]
        crops = []
        for item in chosen:
            side = int(draw(SIDE, 1.5 * SIDE + 1, 1))
            row, column = (int(start) for start in draw(0, images.shape[-1] - side + 1, 2))
            crop = images[item : item + 1, :, row : row + side, column : column + side]
            crop = torch.rot90(shrunk(crop, SIDE), int(draw(0, 4, 1)), (2, 3))
            crops.append(crop.flip(3) if draw(0, 1, 1) < 0.5 else crop)
        x = torch.cat(crops)
        # Reflectance is darker, hazier and of other colours than these pictures.
        x = x ** torch.exp(draw(-0.4, 0.4, plan.batch, 1, 1, 1))
        x = x * draw(0.6, 1.2, plan.batch, 1, 1, 1) * draw(0.85, 1.15, plan.batch, 3, 1, 1)
        x = (x + draw(-0.1, 0.1, plan.batch, 1, 1, 1)).clamp(0, 1)
        share = plan.mixup * draw(0, 1, plan.batch, 1)
        y = hot[chosen]
        mixed = x + share[..., None, None] * (x.roll(1, 0) - x)
        yield mixed.contiguous(memory_format=torch.channels_last), y + share * (y.roll(1, 0) - y)


def train(images: Tensor, labels: Tensor, plan: Plan) -> Classifier:
    """A classifier after `plan.steps` updates, in eval mode."""
    torch.manual_seed(plan.seed)
    model = Classifier(int(labels.max()) + 1).to(memory_format=torch.channels_last)  # 12% faster on a CPU
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    warm = max(1, plan.steps // 20)
    started = time.perf_counter()
    for step, (x, y) in enumerate(batches(images, labels, plan)):
        fraction = min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / plan.steps))
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * fraction
        loss = F.cross_entropy(model(x), y, label_smoothing=plan.label_smoothing)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 99:
            print(f"step {step + 1}  loss {loss.item():.3f}  {time.perf_counter() - started:.0f} s", flush=True)
    return model.eval()


def accuracy(state: dict[str, Tensor], images: Tensor, labels: Tensor) -> float:
    """Share of whole images, shrunk by 3 in all, whose class the stored weights name."""
    network = FeatureNetwork(STAGES, mean=MEAN, std=STD, pooling=POOLING)
    network.load_state_dict({key: value.float() for key, value in state.items() if not key.startswith("head.")})
    head = {key.removeprefix("head."): value.float() for key, value in state.items() if key.startswith("head.")}
    with torch.inference_mode():
        scores = F.linear(pooled(list(network(shrunk(images, 80)))), head["weight"], head["bias"])
    return float((scores.argmax(1) == labels).float().mean())


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--record", type=Path, default=Path("results/feature-network.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    plan = Plan(options.steps, 32, learning_rate=3e-3, weight_decay=0.02, label_smoothing=0.1, mixup=0.2, seed=1)
    images, labels, numbers, classes = read_images(options.images)
    held_out = numbers >= HELD_OUT_FROM
    state = train(images[~held_out], labels[~held_out], plan).folded()
    found = {
        "accuracy": round(accuracy(state, images[held_out], labels[held_out]), 4),
        "accuracy_training": round(accuracy(state, images[~held_out], labels[~held_out]), 4),
    }
    print(json.dumps(found), flush=True)

    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / "ucmerced.safetensors"
    weights.write_bytes(save(state))
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    data = {options.images.name: hash_path(options.images)}
    parameters = sum(value.numel() for key, value in state.items() if not key.startswith("head."))
    config = {
        "format": 1,
        "stages": STAGES,
        "mean": MEAN,
        "std": STD,
        "pooling": POOLING,
        "classes": classes,
        "parameters": parameters,
        "sha256": sha256,
        "provenance": {"commit": commit(), "data": data, "plan": asdict(plan), **found},
    }
    (options.out / "ucmerced.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    card = CARD.format(
        parameters=parameters,
        train=int((~held_out).sum()),
        held_out=int(held_out.sum()),
        first=HELD_OUT_FROM,
        accuracy=found["accuracy"],
    )
    (options.out / "README.md").write_text(card, encoding="utf-8")
    plain = asdict(plan) | {"stages": [list(stage) for stage in STAGES], "held_out_from": HELD_OUT_FROM}
    scores = found | {"images": int((~held_out).sum()), "held_out": int(held_out.sum()), "sha256": sha256}
    record = make_record(
        "feature-network", "ucmerced", config=plain, scores=scores, seconds=time.perf_counter() - started, data=data
    )
    write_record(options.record, record)


if __name__ == "__main__":
    main()
