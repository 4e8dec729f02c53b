"""Cases to be judged: a cloudy scene with its answer, real or under simulated clouds; knows no model and no score."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eorestore.data.clear_scenes import SceneRasters, read_scene
from eorestore.data.cloud_pairs import MASK_MARGIN, grow_mask
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.manifest import SceneRow
from eorestore.data.scene_masks import scene_mask
from eorestore.errors import DataError
from eorestore.raster import Grid, Raster, Unit, Window

Mask = Literal["manifest", "none", "auto"]
UNKNOWN_CLASS = -1  # of pixels that a map of land cover does not reach


@dataclass(frozen=True)
class Case:
    """One cloudy scene with its answer.

    mask: bool (y, x), what is to be restored; None for everything. cloud, shadow: bool (y, x), for the scores.
    thickness: opacity of simulated clouds (y, x), 0 to 1. classes: land cover (y, x), whole numbers.
    """

    row: SceneRow
    cloudy: Raster
    sar: Raster
    target: Raster
    mask: NDArray[np.bool_] | None
    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    cover: float | None = None
    seed: int | None = None
    thickness: NDArray[np.float32] | None = None
    classes: NDArray[np.int64] | None = None

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels (y, x) that both the cloudy scene and its answer know."""
        return self.target.valid & self.cloudy.valid

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Valid pixels (y, x) under cloud."""
        return self.cloud & self.valid

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Valid pixels (y, x) under neither cloud nor shadow."""
        return self.valid & ~self.cloud & ~self.shadow


@dataclass(frozen=True)
class SimulatedSkies:
    """Clouds that are put over every scene: each cover with each seed, the same for every model."""

    covers: tuple[float, ...]
    seeds: tuple[int, ...]
    size_px: tuple[float, float] = (20.0, 150.0)


def read_cases(
    row: SceneRow, *, skies: SimulatedSkies | None, mask: Mask, crop: int | None = None, land_cover: bool = False
) -> Iterator[Case]:
    """The cases of one row of a manifest.

    Args:
        row: the scene.
        skies: simulated over its clear scene (its reference where it has one); None takes the row's own pair.
        mask: of a pair: `manifest` restores what the row's mask says, and everything where it has none; `none`
            everything; `auto` what the built-in mask marks.
        crop: side of the square cut from the centre.
        land_cover: whether to read the row's map of land cover.

    Raises:
        DataError: no reference, or smaller than the crop. MaskError, BandError, UnitError and GridError as reading.
    """
    rasters = _centre(read_scene(row), crop, row.id)
    found = [_real(row, rasters, mask)] if skies is None else _simulated(row, rasters, skies)
    classes = None
    if land_cover and row.landcover is not None:
        classes = read_classes(row.landcover, rasters.optical.grid, scene=row.id)
    for case in found:
        yield replace(case, classes=classes)


def read_classes(path: Path, grid: Grid, *, scene: str) -> NDArray[np.int64]:
    """A map of classes, whole numbers (y, x) on `grid` by nearest neighbour, `UNKNOWN_CLASS` where it has none.

    Raises DataError where it has several bands, GridError where it does not touch the scene.
    """
    from eorestore.raster.files import open_raster
    from eorestore.raster.products import Declared

    file = open_raster(path, declared=Declared(unit=Unit.CLASS))
    if len(file.bands) != 1:
        raise DataError(f"{scene}: {path.name} has {len(file.bands)} bands", fix="give a map of one band")
    values = file.aligned(grid, name=scene, method="nearest").read_raw()[0].astype(np.float64)
    known = np.isfinite(values)
    if file.facts is not None and file.facts.nodata is not None:
        known &= values != file.facts.nodata
    return np.where(known, np.nan_to_num(values), UNKNOWN_CLASS).astype(np.int64)


def _centre(rasters: SceneRasters, crop: int | None, scene: str) -> SceneRasters:
    if crop is None:
        return rasters
    height, width = rasters.optical.grid.size
    if not 0 < crop <= min(height, width):
        raise DataError(f"{scene} has {height} x {width} pixels; a crop of {crop} does not fit", fix="lower --crop")
    window = Window((height - crop) // 2, (width - crop) // 2, crop, crop)
    reference = None if rasters.reference is None else rasters.reference.crop(window)
    return SceneRasters(rasters.optical.crop(window), rasters.sar.crop(window), reference)


def _real(row: SceneRow, rasters: SceneRasters, mask: Mask) -> Case:
    if rasters.reference is None:
        raise DataError(
            f"{row.id} has no reference", fix="fill the column reference, or simulate clouds with --simulate 0.4"
        )
    cloud, shadow = scene_mask(row, rasters.optical)
    chosen: NDArray[np.bool_] | None = None
    if mask == "auto":
        chosen = np.logical_or(*scene_mask(replace(row, mask=None), rasters.optical))
    elif mask == "manifest" and row.mask is not None:
        chosen = cloud
    return Case(row, rasters.optical, rasters.sar, rasters.reference, chosen, cloud, shadow)


def _simulated(row: SceneRow, rasters: SceneRasters, skies: SimulatedSkies) -> Iterator[Case]:
    target = rasters.optical if rasters.reference is None else rasters.reference
    for cover in skies.covers:
        for seed in skies.seeds:
            generator = np.random.default_rng([seed, zlib.crc32(row.id.encode())])
            sky = simulate_clouds(target, CloudSettings(cover=cover, size_px=skies.size_px), generator=generator)
            yield Case(
                row,
                replace(target, values=sky.image),
                rasters.sar,
                target,
                grow_mask(sky.cloud | sky.shadow, MASK_MARGIN),
                sky.cloud,
                sky.shadow,
                cover,
                seed,
                sky.thickness,
            )
