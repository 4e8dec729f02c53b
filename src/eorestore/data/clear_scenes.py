"""Scenes of a manifest as rasters on one grid; knows files and arrays, no clouds and no tensors.

GeoTIFFs and folders of band files need rasterio, which is imported only when a row names one; a scene in one
.npz (see `data.scene_arrays`) needs NumPy alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eorestore.data.cloud_pairs import ClearScene
from eorestore.data.manifest import SceneRow
from eorestore.data.scene_arrays import SUFFIX, load_scene
from eorestore.data.scene_files import open_optical, open_sar
from eorestore.errors import DataError, GridError, UnitError
from eorestore.raster import Grid, Raster, Unit

log = logging.getLogger(__name__)

_OFFSET_LEFT = (0.09, 0.12)  # median of B10, near 0.001 over ground, in a scene whose offset of 1000 is still there


class SceneRasters(NamedTuple):
    """The rasters of one row on the optical grid; reference: another date of the same place, without cloud."""

    optical: Raster
    sar: Raster
    reference: Raster | None


def read_scene(row: SceneRow) -> SceneRasters:
    """Optical scene, SAR and reference of a row, on the grid of the optical scene.

    Raises DataError, BandError, UnitError and GridError.
    """
    optical, sar = _optical_and_sar(row)
    _check_reflectance(optical, row.id)
    if not optical.valid.any():
        raise DataError(f"{row.id}: {row.optical.name} has no valid pixel", fix="leave the scene out")
    reference = None
    if row.reference is not None:
        reference = _read(row.reference, row, grid=optical.grid)
        _check_reflectance(reference, row.id)
    return SceneRasters(optical, sar, reference)


def load_clear_scenes(rows: Iterable[SceneRow]) -> list[ClearScene]:
    """The clear scene of every row: its reference where it has one, otherwise its optical scene.

    Raises DataError, BandError, UnitError and GridError.
    """
    scenes = []
    for row in rows:
        rasters = read_scene(row)
        clear = rasters.optical if rasters.reference is None else rasters.reference
        scenes.append(ClearScene(row.id, row.place, clear, rasters.sar))
        height, width = clear.grid.size
        log.info("%s: %d x %d pixels, %.1f %% valid", row.id, height, width, 100 * np.mean(clear.valid))
    return scenes


def _optical_and_sar(row: SceneRow) -> tuple[Raster, Raster]:
    if row.optical.suffix != SUFFIX:
        optical = _read(row.optical, row)
        return optical, open_sar(row, optical.grid).read()
    scene = load_scene(row.optical)
    if row.sar != row.optical:
        if row.sar.suffix != SUFFIX:
            return scene.optical, open_sar(row, scene.optical.grid).read()
        scene = scene._replace(sar=load_scene(row.sar).sar)
    if scene.sar is None:
        raise DataError(f"{row.id}: {row.sar.name} holds no SAR", fix="write it with save_scene(..., sar=...)")
    if not scene.sar.grid.same_as(scene.optical.grid):
        raise GridError(f"{row.id}: {row.sar.name} lies on another grid", fix="store both scenes on one grid")
    return scene.optical, scene.sar


def _read(path: Path, row: SceneRow, *, grid: Grid | None = None) -> Raster:
    """An optical scene, on `grid` where one is given."""
    if path.suffix == SUFFIX:
        raster = load_scene(path).optical
        if grid is not None and not raster.grid.same_as(grid):
            raise GridError(f"{row.id}: {path.name} lies on another grid", fix="store both scenes on one grid")
        return raster
    file = open_optical(path, row)
    return (file if grid is None else file.aligned(grid, name=row.optical.name)).read()


def _check_reflectance(raster: Raster, scene: str) -> None:
    foreign = {band.unit for band in raster.bands} - {Unit.REFLECTANCE}
    if foreign:
        raise UnitError(
            f"{scene}: the optical scene is in {', '.join(sorted(foreign))}", fix="give a scene in reflectance"
        )
    if "B10" in raster.bands and raster.valid.any():
        cirrus = float(np.median(raster.values[raster.bands.index("B10")][raster.valid]))
        if _OFFSET_LEFT[0] <= cirrus <= _OFFSET_LEFT[1]:
            log.warning("%s: B10 is %.3f throughout; give s2_offset 1000 if the DN carry it", scene, cirrus)
