"""Crops of scenes whose 20 m bands are known, made 40 m, by Wald's protocol; knows no network and no loss.

All bands are halved as a sensor of half the resolution would see them (layers.halving): 10 m to 20 m, 20 m to 40 m. The
20 m bands as they were are then what is to be found (Wald, Ranchin and Mangolini, PE&RS 1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.config import RunConfig
from eorestore.data.image_pairs import ImagePair
from eorestore.data.image_samples import ImagePairs, ImageVariation, Maps
from eorestore.data.two_grid_scenes import TwoGridRow, TwoGrids, read_scene_rows, read_two_grids
from eorestore.errors import ConfigError, DataError
from eorestore.layers.halving import halve
from eorestore.processing import Processor

if TYPE_CHECKING:
    from eorestore.models.model import Model

GAIN = 0.3  # standard deviation of the logarithm of a band's gain
_VALIDATION_SEED = 1_000_003  # far from every training seed


def wald_maps(scene: TwoGrids) -> Maps:
    """The scene at half its resolution with what it should be sharpened to; arrays (any, y, x) at 20 m.

    `multispectral`: the fine bands, then the coarse ones, each pixel 2 x 2 times. `target`: the fine bands as in
    `multispectral`, then the coarse ones as they were. `valid`: (1, y, x). `low`: the coarse bands once, half as large.
    A last odd row or column is left out.
    """
    height, width = (side // 2 * 2 for side in scene.valid.shape)
    target = scene.coarse[:, :height, :width]
    fine, low = (_halved(image) for image in (scene.fine[:, : 2 * height, : 2 * width], target))
    return {
        "low": low,
        "multispectral": np.concatenate([fine, low.repeat(2, axis=1).repeat(2, axis=2)]),
        "target": np.concatenate([fine, target]),
        "valid": scene.valid[None, :height, :width],
    }


class SharpeningSamples:
    """Square crops of scenes at half their resolution; see ImagePairs for how they are drawn and turned.

    crop: side in pixels of the target, even. recolour: share of crops whose bands take a gain each, log-normal: what a
    network learns of how bands go together in few places then holds elsewhere. vary: False for validation.
    """

    def __init__(
        self, rows: Sequence[TwoGridRow], *, crop: int, length: int, seed: int, vary: bool, recolour: float = 0.0
    ) -> None:
        scenes = {row.id: wald_maps(read_two_grids(row.scene, s2_offset=row.s2_offset)) for row in rows}
        for name, maps in scenes.items():
            if min(maps["target"].shape[1:]) < crop:
                raise DataError(
                    f"{name} has {maps['target'].shape[1]} x {maps['target'].shape[2]} pixels at half its resolution",
                    fix="lower data.crop, or leave the scene out",
                )
        self._crops = ImagePairs(
            [ImagePair(row.id, row.scene) for row in rows],
            read=lambda pair: scenes[pair.id],
            crop=crop // 2,
            length=length,
            seed=seed,
            variation=ImageVariation(turns=True) if vary else None,
        )
        self._seed, self._recolour, self._epoch = seed, recolour, 0

    def __len__(self) -> int:
        return len(self._crops)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose items are asked for next."""
        self._crops.set_epoch(epoch)
        self._epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`multispectral` and `target` (band, y, x), float32, and `valid` (1, y, x). Raises IndexError past the end."""
        item = self._crops[index]
        multispectral, target = item["multispectral"], item["target"]
        generator = np.random.default_rng((self._seed, self._epoch, index, 1))
        if self._recolour > 0 and generator.random() < self._recolour:
            gain = torch.from_numpy(np.exp(GAIN * generator.standard_normal((len(target), 1, 1))).astype(np.float32))
            multispectral, target = gain * multispectral, gain * target
        return {"multispectral": multispectral, "target": target, "valid": item["valid"]}


def sharpening_samples(
    config: RunConfig, processor: Processor, model: Model
) -> tuple[SharpeningSamples, SharpeningSamples]:
    """Training and validation crops of the scenes that a preset names.

    Raises ConfigError where model and processor do not belong together or a setting has no meaning here, and DataError
    and its kinds as the scenes raise them, or where a split has no scene.
    """
    _check(config, processor, model)
    data = config.data
    rows = read_scene_rows(Path(str(data.manifest)), root=None if data.root is None else Path(data.root))
    return (
        SharpeningSamples(
            _of_split(rows, "train"),
            crop=data.crop,
            length=data.items_per_epoch,
            seed=config.seed,
            vary=True,
            recolour=data.recolour,
        ),
        SharpeningSamples(
            _of_split(rows, "validation"),
            crop=data.crop,
            length=data.validation_items,
            seed=config.seed + _VALIDATION_SEED,
            vary=False,
        ),
    )


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    halved: NDArray[np.float32] = halve(torch.from_numpy(np.ascontiguousarray(image))[None])[0].numpy()
    return halved


def _of_split(rows: Sequence[TwoGridRow], split: str) -> tuple[TwoGridRow, ...]:
    found = tuple(row for row in rows if row.split == split)
    if not found:
        raise DataError(f"the manifest has no {split} scene", fix=f"mark a scene as {split}")
    return found


def _check(config: RunConfig, processor: Processor, model: Model) -> None:
    if tuple(processor.inputs) != ("multispectral",) or processor.inputs["multispectral"] != processor.output:
        raise ConfigError(
            f"processor {config.processor} is not for sharpening bands", fix="choose processor: sentinel2-20m"
        )
    bands, fine = len(processor.output.names), 4
    found = (getattr(model.settings, "bands", bands), getattr(model.settings, "fine", fine))
    if found != (bands, fine):
        raise ConfigError(
            f"{config.model.name} takes {found[1]} fine of {found[0]} bands, processor {config.processor} gives "
            f"{fine} of {bands}",
            fix=f"set model.settings.bands to {bands} and fine to {fine}",
        )
    if config.data.synthetic or config.data.manifest is None:
        raise ConfigError("band-sharpening learns from scenes alone", fix="name them in data.manifest, synthetic: 0")
