"""Training samples of simulated clouds over clear scenes, drawn without state; knows no file and no loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor
from torch.utils.data import Dataset

from eorestore.data.augmentation import recoloured
from eorestore.data.cloud_simulation import CloudSettings, SimulatedClouds, simulate_clouds
from eorestore.data.scene_encoding import CloudedScene, Prepare, Sample, SceneEncoder, Variation
from eorestore.errors import ConfigError, DataError, GridError
from eorestore.processing.processor import Processor
from eorestore.raster import Raster

MASK_MARGIN = 3  # pixels by which the mask grows beyond cloud and shadow
_MULTIPLE = 16  # a whole scene is cut to a multiple of this
_LEAST_MASKED = 0.02  # a crop with less to restore than this is drawn again, a few times
_REDRAWS = 4
_SHADE, _SHADED = (0.2, 0.75), 0.5  # light that a shadow over a whole scene takes; share of wholly masked scenes in one
_LEAST_CLEAR = 0.02  # a sky that leaves less than this is drawn again with less cloud, if a model learns from it
_ORDER, _SKY, _CROP, _LOSS = 0, 1, 2, 3  # streams of draws, so that none depends on how many another took


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
    `shadow` (1, y, x) bool; `thickness` (1, y, x) float, opacity of the clouds from 0 to 1; and what `prepare` found
    on the whole simulated scene: maps cut like the rest, constants as they are.

    crop: side of the square in pixels; None gives the whole scene, cut to a multiple of 16.
    cover: range from which the share of cloud is drawn, a scene at a time.
    augment: flips and quarter turns, one draw for all rasters; SAR moved by up to `sar_shift_px`, with more speckle.
    drop_b10, drop_sar, drop_vh: shares of scenes that lack these; see `scene_encoding.Variation`.
    prepare, optional_inputs: the model's own; see `SceneEncoder`.
    recolour: share of scenes whose ground takes other colours before clouds are put over it; see `recoloured`.
    mask_all: share of scenes, with the colours they have, of which every pixel is to be restored; half of them lie
        wholly in the shadow of a cloud.
    vary_sky: share of scenes under skies of full `CloudSettings.variety`.
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
        prepare: Prepare | None = None,
        optional_inputs: Sequence[str] = (),
        masks: Sequence[NDArray[np.bool_]] | None = None,
        augment: bool = False,
        sar_shift_px: float = 0.5,
        drop_b10: float = 0.0,
        drop_sar: float = 0.0,
        drop_vh: float = 0.0,
        recolour: float = 0.0,
        mask_all: float = 0.0,
        vary_sky: float = 0.0,
        skies: int = 0,
    ) -> None:
        _check(scenes, crop)
        if not 0 <= cover[0] <= cover[1] <= 1:
            raise ConfigError(f"cover is {cover}", fix="give two shares from 0 to 1, the smaller first")
        if crops_per_scene < 1 or length < 1:
            raise ConfigError(f"length {length} and crops_per_scene {crops_per_scene}", fix="give at least 1 of each")
        variation = Variation(
            turns=augment,
            speckle=augment,
            sar_shift_px=sar_shift_px if augment else 0.0,
            drop_b10=drop_b10,
            drop_sar=drop_sar,
            drop_vh=drop_vh,
        )
        self._encoder = SceneEncoder(processor, variation=variation, prepare=prepare, optional_inputs=optional_inputs)
        self._scenes = tuple(replace(scene, optical=_with_bands(scene.optical, self._encoder)) for scene in scenes)
        self._crop, self._settings, self._cover = crop, settings, cover
        self._length, self._seed, self._crops_per_scene = length, seed, crops_per_scene
        self._learns, self._masks = prepare is not None, masks
        self._recolour, self._mask_all, self._vary_sky = recolour, mask_all, vary_sky
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
            streams = (np.random.default_rng([self._seed, epoch, stream, number]) for stream in (_SKY, _LOSS))
            self._kept[key] = self._simulate(scene, *streams)
        return self._kept[key]

    def _sky(
        self, scene: ClearScene, settings: CloudSettings, generator: np.random.Generator, *, clear: float
    ) -> tuple[SimulatedClouds, NDArray[np.bool_]]:
        """Clouds over a scene and the mask around them; the cover is halved until the share `clear` is left."""
        cover = float(generator.uniform(*self._cover))
        while True:
            settings = replace(settings, cover=cover)
            sky = simulate_clouds(scene.optical, settings, generator=generator, masks=self._masks)
            mask = grow_mask(sky.cloud | sky.shadow, MASK_MARGIN)
            if float((scene.optical.valid & ~mask).mean()) >= clear or cover < _LEAST_CLEAR:
                return sky, mask
            cover /= 2

    def _simulate(
        self, scene: ClearScene, generator: np.random.Generator, losses: np.random.Generator
    ) -> tuple[Sample, Sample]:
        everything = self._mask_all > 0 and generator.random() < self._mask_all
        if not everything and self._recolour > 0 and generator.random() < self._recolour:
            scene = replace(scene, optical=recoloured(scene.optical, generator=generator))
        settings = self._settings
        if self._vary_sky > 0 and generator.random() < self._vary_sky:
            settings = replace(settings, variety=1.0)
        if everything and generator.random() < _SHADED:
            settings = replace(settings, shade=_SHADE)
        clear = _LEAST_CLEAR if self._learns and not everything else 0.0
        sky, mask = self._sky(scene, settings, generator, clear=clear)
        if everything:
            mask = np.ones_like(mask)
        clouded = CloudedScene(
            cloudy=replace(scene.optical, values=sky.image),
            sar=scene.sar,
            target=scene.optical,
            mask=mask,
            valid=scene.optical.valid,
            cloud=sky.cloud,
            shadow=sky.shadow,
            maps={"thickness": sky.thickness},
        )
        return self._encoder.encode(clouded, generator=generator, losses=losses)


def grow_mask(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """The mask (y, x) and everything within `margin` pixels of it."""
    offsets = np.arange(-margin, margin + 1)
    disc = offsets[:, None] ** 2 + offsets[None] ** 2 <= margin**2
    grown: NDArray[np.bool_] = binary_dilation(mask, disc) if mask.any() else mask
    return grown


def _with_bands(optical: Raster, encoder: SceneEncoder) -> Raster:
    """The bands that samples are made of; all where there are none, so that the error names them."""
    used = [name for name in optical.bands.names if name in encoder.bands]
    return optical.select(used) if used else optical


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
