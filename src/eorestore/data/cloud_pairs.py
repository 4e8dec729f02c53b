"""Training samples of simulated clouds over clear scenes, drawn without state; knows no file and no loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor
from torch.utils.data import Dataset

from eorestore.data.cloud_simulation import CloudSettings, SimulatedClouds, simulate_clouds
from eorestore.errors import ConfigError, DataError, GridError
from eorestore.models.model import Prepared, SceneSample
from eorestore.processing.normalize import BandScaling
from eorestore.processing.processor import Processor
from eorestore.processing.units import convert
from eorestore.raster import Raster, Unit

Sample = dict[str, Tensor]

MASK_MARGIN = 3  # pixels by which the mask grows beyond cloud and shadow
_MULTIPLE = 16  # a whole scene is cut to a multiple of this
_LEAST_MASKED = 0.02  # a crop with less to restore than this is drawn again, a few times
_REDRAWS = 4
_LEAST_CLEAR = 0.02  # a sky that leaves less than this is drawn again with less cloud, if a model learns from it
_ORDER, _SKY, _CROP = 0, 1, 2  # streams of draws, so that none depends on how many another took


@dataclass(frozen=True)
class ClearScene:
    """A cloud-free optical raster (reflectance) and its SAR raster, already on the same grid."""

    id: str
    place: str
    optical: Raster
    sar: Raster


class CloudPairs(Dataset[Sample]):
    """Simulated clouds over clear scenes.

    Item `index` of an epoch depends on (seed, epoch, index) alone: neither on the order of reading nor on what
    was read before. `crops_per_scene` consecutive items are crops of one simulated scene, which is kept until
    the next one is asked for. Every scene is used once before any is used twice.

    A sample holds, without batch axis: `cloudy`, `sar` (band, y, x) encoded by the processor; `mask` (1, y, x)
    float, cloud and shadow grown by `MASK_MARGIN` pixels; `target` (band, y, x) encoded; `valid`, `cloud`,
    `shadow` (1, y, x) bool; and what `prepare` found on the whole simulated scene: maps cut like the rest,
    constants as they are.

    crop: side of the square in pixels; None gives the whole scene, cut to a multiple of 16.
    cover: range from which the share of cloud is drawn, a scene at a time.
    augment: flips and quarter turns, one draw for all rasters; SAR shifted by up to half a pixel, with more speckle.
    drop_b10: share of scenes in which B10 takes the processor's fill value, as in an L2A product.
    recolour: share of scenes whose ground takes other colours before clouds are put over it; see `recoloured`.
    skies: simulate this many scenes and keep them all in memory (about 11 MB each at 256 x 256), the same in every
        epoch; 0 draws a new one for every `crops_per_scene` items and keeps one.
    masks: real cloud masks for settings of kind `masks`.
    Raises DataError, GridError and ConfigError.
    """

    def __init__(
        self,
        scenes: Sequence[ClearScene],
        processor: Processor,
        *,
        crop: int | None,
        settings: CloudSettings,
        cover: tuple[float, float],
        length: int,
        seed: int,
        crops_per_scene: int = 4,
        prepare: Callable[[SceneSample], Prepared] | None = None,
        masks: Sequence[NDArray[np.bool_]] | None = None,
        augment: bool = False,
        drop_b10: float = 0.0,
        recolour: float = 0.0,
        skies: int = 0,
    ) -> None:
        _check(scenes, crop)
        if not 0 <= cover[0] <= cover[1] <= 1:
            raise ConfigError(f"cover is {cover}", fix="give two shares from 0 to 1, the smaller first")
        if crops_per_scene < 1 or length < 1:
            raise ConfigError(f"length {length} and crops_per_scene {crops_per_scene}", fix="give at least 1 of each")
        self._scenes = tuple(
            replace(scene, sar=convert(scene.sar, Unit.DECIBEL) if augment else scene.sar) for scene in scenes
        )
        self._processor = processor
        self._target = Processor({"target": _target_scaling(processor)}, processor.output)
        self._crop, self._settings, self._cover = crop, settings, cover
        self._length, self._seed, self._crops_per_scene = length, seed, crops_per_scene
        self._prepare, self._masks, self._augment = prepare, masks, augment
        self._drop_b10, self._recolour = drop_b10, recolour
        self._b10 = _b10_rows(processor, self._target, drop_b10)
        self._epoch = 0
        self._skies = skies
        self._kept: dict[tuple[int, int], tuple[Sample, Sample]] = {}

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Later items are those of this epoch."""
        self._epoch = epoch

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._length:
            raise IndexError(index)
        maps, constants = self._simulated(index // self._crops_per_scene)
        height, width = maps["mask"].shape[-2:]
        if self._crop is None:
            rows, columns = slice(0, height - height % _MULTIPLE), slice(0, width - width % _MULTIPLE)
        else:
            rows, columns = self._place(index, maps["mask"], self._crop)
        return {name: values[:, rows, columns].clone() for name, values in maps.items()} | constants

    def _place(self, index: int, mask: Tensor, crop: int) -> tuple[slice, slice]:
        generator = np.random.default_rng([self._seed, self._epoch, _CROP, index])
        for _ in range(_REDRAWS):
            row, column = (int(generator.integers(side - crop + 1)) for side in mask.shape[-2:])
            place = slice(row, row + crop), slice(column, column + crop)
            if float(mask[0, place[0], place[1]].mean()) >= _LEAST_MASKED:
                break
        return place

    def _simulated(self, group: int) -> tuple[Sample, Sample]:
        """Maps and constants of the simulated scene number `group` of this epoch."""
        epoch, number = self._epoch, group
        if self._skies:
            lap, position = divmod(group, self._skies)
            order = np.random.default_rng([self._seed, self._epoch, _ORDER, lap])
            epoch, number = 0, int(order.permutation(self._skies)[position])
        key = epoch, number
        if key not in self._kept:
            lap, position = divmod(number, len(self._scenes))
            order = np.random.default_rng([self._seed, epoch, _ORDER, lap])
            scene = self._scenes[int(order.permutation(len(self._scenes))[position])]
            if not self._skies:
                self._kept.clear()
            self._kept[key] = self._simulate(scene, np.random.default_rng([self._seed, epoch, _SKY, number]))
        return self._kept[key]

    def _sky(self, scene: ClearScene, generator: np.random.Generator) -> tuple[SimulatedClouds, NDArray[np.bool_]]:
        """Clouds over a scene and the mask around them; the cover is halved until something clear is left."""
        cover = float(generator.uniform(*self._cover))
        while True:
            settings = replace(self._settings, cover=cover)
            sky = simulate_clouds(scene.optical, settings, generator=generator, masks=self._masks)
            mask = grow_mask(sky.cloud | sky.shadow, MASK_MARGIN)
            clear = float((scene.optical.valid & ~mask).mean())
            if self._prepare is None or clear >= _LEAST_CLEAR or cover < _LEAST_CLEAR:
                return sky, mask
            cover /= 2

    def _simulate(self, scene: ClearScene, generator: np.random.Generator) -> tuple[Sample, Sample]:
        if self._recolour > 0 and generator.random() < self._recolour:
            scene = replace(scene, optical=recoloured(scene.optical, generator=generator))
        sky, mask = self._sky(scene, generator)
        cloudy = replace(scene.optical, values=sky.image)
        sar = add_speckle(scene.sar, generator=generator) if self._augment else scene.sar
        arrays: dict[str, NDArray[np.generic]] = {
            "cloudy": self._processor.encode_one("cloudy", cloudy),
            "mask": mask[None].astype(np.float32),
            "target": self._target.encode_one("target", scene.optical),
            "valid": scene.optical.valid[None],
            "cloud": sky.cloud[None],
            "shadow": sky.shadow[None],
        }
        if "sar" in self._processor.inputs:
            encoded = self._processor.encode_one("sar", sar)
            arrays["sar"] = _shift(encoded, generator=generator) if self._augment else encoded
        if generator.random() < self._drop_b10:
            for name, (row, fill) in self._b10.items():
                arrays[name] = arrays[name].copy()
                arrays[name][row] = fill
        if self._augment:
            turns, flip = int(generator.integers(4)), bool(generator.integers(2))
            arrays = {name: _turn(values, turns, flip=flip) for name, values in arrays.items()}
        maps = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
        if self._prepare is None:
            return maps, {}
        with torch.no_grad():
            prepared = self._prepare(scene_sample(maps, tuple(self._processor.inputs)))
        maps |= {name: values[0] for name, values in prepared.maps.items()}
        return maps, dict(prepared.constants)


def scene_sample(maps: Sample, inputs: Sequence[str]) -> SceneSample:
    """A whole simulated scene as `prepare` sees it: one window, which is its own overview."""
    window = {name: maps[name][None] for name in inputs if name in maps}
    window["mask"] = torch.maximum(maps["mask"], (~maps["valid"]).float())[None]
    return SceneSample(overview=window, windows=(window,), factor=1)


def grow_mask(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """The mask (y, x) and everything within `margin` pixels of it."""
    offsets = np.arange(-margin, margin + 1)
    disc = offsets[:, None] ** 2 + offsets[None] ** 2 <= margin**2
    grown: NDArray[np.bool_] = binary_dilation(mask, disc) if mask.any() else mask
    return grown


def recoloured(optical: Raster, *, generator: np.random.Generator) -> Raster:
    """The optical raster (reflectance) in other colours and with another contrast; B10 stays as it is.

    Each band becomes a random mixture of itself and the others, times a gain that neighbouring bands share in part;
    then all contrast is scaled around the means. Our own augmentation: what a network learns of clouds holds over any
    ground, what it learns of the ground of few places does not.
    """
    values, count = optical.values, len(optical.bands)
    distance = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    likeness = 0.375 + 0.125 * np.eye(count) + 0.5 * np.exp(-distance / 3)
    gain = np.exp(0.35 * np.linalg.cholesky(likeness) @ generator.standard_normal(count))
    share = generator.uniform(0, 0.5)
    mixing = (1 - share) * np.eye(count) + share * generator.dirichlet(np.full(count, 0.5), size=count)
    mixing *= gain[:, None]
    mixed = np.tensordot(mixing.astype(np.float32), values, axes=1)
    mean = mixed.mean(axis=(1, 2), keepdims=True)
    contrast = np.float32(np.exp(generator.normal(0, 0.3)))
    changed = np.clip(mean + contrast * (mixed - mean), 0, 1).astype(np.float32)
    if "B10" in optical.bands:
        row = optical.bands.index("B10")
        changed[row] = values[row]
    return replace(optical, values=changed)


def add_speckle(sar: Raster, *, generator: np.random.Generator) -> Raster:
    """The SAR raster (decibel) with weak gamma speckle of 8 to 40 looks on top, in half of the draws."""
    looks = generator.uniform(8.0, 40.0)
    if generator.random() < 0.5:
        return sar
    gamma = generator.standard_gamma(looks, size=sar.values.shape, dtype=np.float32) / np.float32(looks)
    return replace(sar, values=sar.values + 10 * np.log10(np.maximum(gamma, np.float32(1e-6))))


def _shift(values: NDArray[np.float32], *, generator: np.random.Generator) -> NDArray[np.float32]:
    """(band, y, x) moved by up to half a pixel along each axis, bilinear; edges are repeated."""
    for axis in (1, 2):
        amount = np.float32(generator.uniform(-0.5, 0.5))
        side = values.shape[axis]
        beside = np.clip(np.arange(side) + (1 if amount > 0 else -1), 0, side - 1)
        values = (1 - abs(amount)) * values + abs(amount) * np.take(values, beside, axis=axis)
    return values


def _turn(values: NDArray[np.generic], turns: int, *, flip: bool) -> NDArray[np.generic]:
    turned = np.rot90(values, turns, axes=(1, 2))
    return turned[:, :, ::-1] if flip else turned


def _target_scaling(processor: Processor) -> BandScaling:
    """The output's scaling; a band that the input may lack may lack here, too."""
    fills = {band.name: band.fill for band in processor.inputs["cloudy"].bands}
    return BandScaling(
        tuple(
            replace(band, fill=fills.get(band.name)) if band.fill is None else band for band in processor.output.bands
        )
    )


def _b10_rows(processor: Processor, target: Processor, share: float) -> dict[str, tuple[int, float]]:
    if share == 0:
        return {}
    scalings = {"cloudy": processor.inputs["cloudy"], "target": target.inputs["target"]}
    rows = {}
    for name, scaling in scalings.items():
        fill = scaling.bands[scaling.names.index("B10")].fill if "B10" in scaling.names else None
        if fill is None:
            raise ConfigError(
                f"drop_b10 is {share}, and the processor has no fill value for B10 in {name}",
                fix="give B10 a fill value, or set drop_b10 to 0",
            )
        rows[name] = scaling.names.index("B10"), fill
    return rows


def _check(scenes: Sequence[ClearScene], crop: int | None) -> None:
    if not scenes:
        raise DataError("no clear scene to put clouds over", fix="name at least one scene of this split")
    least = crop or _MULTIPLE
    for scene in scenes:
        if not scene.optical.grid.same_as(scene.sar.grid):
            raise GridError(
                f"{scene.id}: the SAR raster does not lie on the optical grid", fix="align it with raster.align"
            )
        if min(scene.optical.grid.size) < least:
            height, width = scene.optical.grid.size
            raise DataError(
                f"{scene.id} has {height} x {width} pixels; crops of {least} do not fit",
                fix="choose a smaller crop or leave the scene out",
            )
