"""Masks that the user gives as a raster: 1 is to be restored, or named classes of a scene classification."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import MaskError
from eorestore.raster import Grid, Unit, Window
from eorestore.raster.files import RasterFile, open_raster
from eorestore.raster.products import Declared
from eorestore.restorer.scene import MaskOfWindow


def open_mask(text: str, grid: Grid, *, scene: str) -> MaskOfWindow:
    """`mask.tif` (0 and 1) or `SCL.tif:3,8,9,10` as a function of a window of `grid`.

    A classification on a coarser grid is looked up by nearest neighbour. Raises MaskError where it does not cover
    the scene or holds other values than announced.
    """
    path, classes = _split(text)
    file = open_raster(path, declared=Declared(unit=Unit.CLASS))
    if len(file.bands) != 1:
        raise MaskError(f"{path.name} has {len(file.bands)} bands", fix="give a mask of one band")
    share = _share(file, grid, scene)
    if share < 0.999:
        raise MaskError(
            f"{path.name} ({file.grid.height} x {file.grid.width}) covers {share:.1%} of {scene} "
            f"({grid.height} x {grid.width})",
            fix="give a mask that covers the whole scene",
        )
    aligned = file if file.grid.same_as(grid) else file.aligned(grid, name=scene, method="nearest")

    def mask(window: Window) -> NDArray[np.bool_]:
        values = np.nan_to_num(aligned.read_raw(window)[0].astype(np.float32))
        if classes is None:
            other = np.setdiff1d(np.unique(values), [0, 1])
            if other.size:
                raise MaskError(
                    f"{path.name} holds {', '.join(f'{value:g}' for value in other[:5])}; a mask holds 0 and 1",
                    fix=f"name the classes to restore: --mask {path.name}:3,8,9,10",
                )
            return np.asarray(values == 1)
        return np.isin(values, classes)

    return mask


def _split(text: str) -> tuple[Path, list[int] | None]:
    if Path(text).exists():
        return Path(text), None
    path, _, classes = text.rpartition(":")
    if not path:
        return Path(text), None
    try:
        return Path(path), [int(part) for part in classes.split(",")]
    except ValueError:
        raise MaskError(f"{classes!r} names no classes", fix="write them as numbers: --mask SCL.tif:3,8,9,10") from None


def _share(file: RasterFile, grid: Grid, scene: str) -> float:
    from eorestore.raster.align import check_overlap

    return check_overlap(grid, file.grid, name=scene, other_name=file.path.name)
