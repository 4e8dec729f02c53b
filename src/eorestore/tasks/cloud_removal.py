"""Cloud removal: cloudy Sentinel-2 and Sentinel-1 in, cloud-free Sentinel-2 out; knows no network, no loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from eorestore.config import DataSettings, RunConfig
from eorestore.data.clear_scenes import load_clear_scenes
from eorestore.data.cloud_pairs import ClearScene, CloudPairs
from eorestore.data.cloud_simulation import CloudSettings
from eorestore.data.manifest import read_manifest, select
from eorestore.data.mask_library import load_masks
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.losses import pixel, spectral, structural
from eorestore.metrics.collection import DEFAULT, METRICS
from eorestore.metrics.regions import REGIONS, divide
from eorestore.processing import Processor
from eorestore.raster import SENTINEL1, SENTINEL2_L1C
from eorestore.tasks.task import Loss, Metric, Task

if TYPE_CHECKING:
    from eorestore.models.model import Model, Output

Batch = Mapping[str, Tensor]
PixelLoss = Callable[..., Tensor]

VALIDATION_SCENES = 4  # synthetic scenes kept for validation where the manifest has none
_VALIDATION_SEED = 1_000_003  # far from every training seed


def datasets(config: RunConfig, processor: Processor, model: Model) -> tuple[CloudPairs, CloudPairs]:
    """Training and validation samples: simulated clouds over the manifest's and over synthetic clear scenes.

    Validation scenes are other places than training scenes, their clouds other clouds, and neither is augmented.
    Raises DataError, BandError, UnitError, GridError, MaskError and ConfigError.
    """
    data = config.data
    train, validation = _scenes(data, seed=config.seed)
    masks = None if data.masks is None else load_masks(Path(data.masks))
    build = functools.partial(
        CloudPairs,
        processor=processor,
        crop=data.crop,
        settings=CloudSettings(size_px=data.cloud_size_px, kind="blobs" if masks is None else "masks"),
        cover=data.cover,
        crops_per_scene=data.crops_per_scene,
        prepare=model.prepare if model.needs_scene else None,
        masks=masks,
    )
    return (
        build(
            train,
            length=data.items_per_epoch,
            seed=config.seed,
            augment=True,
            drop_b10=data.drop_b10,
            recolour=data.recolour,
            skies=data.skies,
        ),
        build(validation, length=data.validation_items, seed=config.seed + _VALIDATION_SEED),
    )


def over_valid(loss: PixelLoss) -> Loss:
    """`loss` between the image and `target`, over the valid pixels of a batch."""

    def whole(output: Output, batch: Batch, /) -> Tensor:
        return loss(output.image, batch["target"], valid=batch["valid"])

    return whole


def inside_mask(loss: PixelLoss) -> Loss:
    """`loss` over the valid pixels that are to be restored; 0 where a batch has none."""

    def masked(output: Output, batch: Batch, /) -> Tensor:
        return loss(output.image, batch["target"], valid=batch["valid"] & (batch["mask"] > 0.5))

    return masked


def in_region(metric: Callable[..., Tensor], region: str | None) -> Metric:
    """`metric` of every item, over all valid pixels or inside `cloud`, `shadow` or `clear`."""

    def scored(image: Tensor, batch: Batch, /) -> Tensor:
        inside = None
        if region is not None:
            inside = divide(valid=batch["valid"], cloud=batch["cloud"], shadow=batch["shadow"])[region]
        return metric(image, batch["target"], valid=batch["valid"], region=inside)

    return scored


def _scenes(data: DataSettings, *, seed: int) -> tuple[list[ClearScene], list[ClearScene]]:
    train: list[ClearScene] = []
    validation: list[ClearScene] = []
    if data.manifest is not None:
        rows = read_manifest(Path(data.manifest), root=None if data.root is None else Path(data.root))
        splits = {row.split for row in rows}
        if "train" in splits or not data.synthetic:
            train += load_clear_scenes(select(rows, "train"))
        if "validation" in splits:
            validation += load_clear_scenes(select(rows, "validation"))
    train += [_synthetic(data, seed, number) for number in range(data.synthetic)]
    if not validation:
        validation += [_synthetic(data, seed + _VALIDATION_SEED, number) for number in range(VALIDATION_SCENES)]
    return train, validation


def _synthetic(data: DataSettings, seed: int, number: int) -> ClearScene:
    generator = np.random.default_rng([seed, number])
    scene = synthetic_scene((data.synthetic_size, data.synthetic_size), generator=generator)
    name = f"synthetic-{seed}-{number}"
    return ClearScene(name, name, scene.optical, scene.sar)


LOSSES: Mapping[str, Loss] = {
    "l1": over_valid(pixel.l1),
    "l1_masked": inside_mask(pixel.l1),
    "charbonnier": over_valid(pixel.charbonnier),
    "charbonnier_masked": inside_mask(pixel.charbonnier),
    "log_mse": over_valid(pixel.log_mse),
    "log_mse_masked": inside_mask(pixel.log_mse),
    "one_minus_ssim": over_valid(structural.one_minus_ssim),
    "spectral_angle": over_valid(spectral.spectral_angle),
    "spectral_angle_masked": inside_mask(spectral.spectral_angle),
}

CLOUD_REMOVAL = Task(
    name="cloud-removal",
    inputs={"cloudy": SENTINEL2_L1C, "sar": SENTINEL1},
    target=SENTINEL2_L1C,
    datasets=datasets,
    losses=LOSSES,
    metrics={name: in_region(METRICS[name], None) for name in DEFAULT}
    | {f"{name}_{region}": in_region(METRICS[name], region) for name in DEFAULT for region in REGIONS},
    baselines=("identity", "band-mean", "inpaint", "sar-regression"),
)
