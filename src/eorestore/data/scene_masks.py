"""What clouds hide in a scene of a manifest: from the row's own mask, else from the built-in one; knows no tensor."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eorestore.data.manifest import SceneRow
from eorestore.errors import MaskError
from eorestore.processing.cloud_mask import NEEDED, cloud_and_shadow, shadow_limits, widen
from eorestore.raster import Grid, Raster, Unit


class SceneMask(NamedTuple):
    """cloud and shadow, bool (y, x), both to be restored; a mask from a file is all `cloud`."""

    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]


def scene_mask(row: SceneRow, cloudy: Raster) -> SceneMask:
    """Clouds and shadows of a cloudy scene, from the row's mask where it has one. Raises MaskError and GridError."""
    if row.mask is not None:
        cloud = read_mask(row.mask, cloudy.grid, scene=row.id)
        return SceneMask(cloud, np.zeros_like(cloud))
    missing = [name for name in NEEDED if name not in cloudy.bands]
    if missing:
        raise MaskError(
            f"{row.id}: the built-in cloud mask needs {', '.join(missing)}", fix="fill the manifest's column mask"
        )
    cloud, shadow = cloud_and_shadow(cloudy, shadow_limits([cloudy]))
    return SceneMask(widen(cloud), widen(shadow))


def read_mask(text: str, grid: Grid, *, scene: str) -> NDArray[np.bool_]:
    """`mask.tif` (0 and 1), or `SCL.tif:3,8,9,10` with the classes to restore, on `grid`, by nearest neighbour.

    Raises MaskError where it holds other values than announced, GridError where it does not touch the scene.
    """
    from eorestore.raster.files import open_raster
    from eorestore.raster.products import Declared

    path, classes = _split(text)
    file = open_raster(path, declared=Declared(unit=Unit.CLASS))
    if len(file.bands) != 1:
        raise MaskError(f"{scene}: {path.name} has {len(file.bands)} bands", fix="give a mask of one band")
    values = np.nan_to_num(file.aligned(grid, name=scene, method="nearest").read_raw()[0].astype(np.float32))
    other = np.setdiff1d(np.unique(values), [0, 1])
    if classes is None and other.size:
        raise MaskError(
            f"{scene}: {path.name} holds {', '.join(f'{value:g}' for value in other[:5])}; a mask holds 0 and 1",
            fix=f"name the classes to restore in the manifest: {path.name}:3,8,9,10",
        )
    found: NDArray[np.bool_] = np.isin(values, [1] if classes is None else classes)
    return found


def _split(text: str) -> tuple[Path, list[int] | None]:
    if Path(text).exists():
        return Path(text), None
    path, _, classes = text.rpartition(":")
    try:
        return Path(path or text), [int(part) for part in classes.split(",")] if path else None
    except ValueError:
        raise MaskError(f"{classes!r} names no classes", fix="write them as numbers: SCL.tif:3,8,9,10") from None
