"""One clear scene in one .npz: reflectance, backscatter and their grid; read without any GIS library.

Keys: `optical` float32 (band, y, x) in reflectance, `bands` its names, `valid` bool (y, x), `crs` as WKT,
`transform` (a, b, c, d, e, f); and, where there is SAR, `sar` in decibel, `sar_bands`, `sar_valid` on the same grid.
`valid` and `sar_valid` may be absent: then every pixel with finite values is valid.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import BandError, DataError, GridError, UnitError
from eorestore.raster import Band, BandSet, Grid, Raster, Unit
from eorestore.raster.bands import canonical_name, known_band

SUFFIX = ".npz"
REQUIRED = ("optical", "bands", "crs", "transform")


class SceneArrays(NamedTuple):
    """A clear optical scene and, where there is one, the SAR scene on the same grid."""

    optical: Raster
    sar: Raster | None


def save_scene(path: Path, *, optical: Raster, sar: Raster | None = None) -> None:
    """Write `optical` (reflectance) and `sar` (decibel) to `path`, which appears only when complete.

    Raises UnitError, GridError and DataError.
    """
    if path.suffix != SUFFIX:
        raise DataError(f"{path.name} does not end in {SUFFIX}", fix=f"call it {path.with_suffix(SUFFIX).name}")
    _check_unit(optical, Unit.REFLECTANCE, source="optical")
    arrays: dict[str, Any] = {
        "optical": optical.values,
        "bands": np.array(optical.bands.names),
        "valid": optical.valid,
        "crs": np.array(optical.grid.crs),
        "transform": np.array(optical.grid.transform, dtype=np.float64),
    }
    if sar is not None:
        _check_unit(sar, Unit.DECIBEL, source="sar")
        if not sar.grid.same_as(optical.grid):
            raise GridError("the SAR scene lies on another grid", fix="align it to the optical scene first")
        arrays |= {"sar": sar.values, "sar_bands": np.array(sar.bands.names), "sar_valid": sar.valid}
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(path)


def load_scene(path: Path) -> SceneArrays:
    """The scene in `path`. Raises DataError, BandError and GridError; a pickle in the file is never opened."""
    arrays = _read(path)
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise DataError(f"{path.name} has no {', '.join(missing)}", fix="write it with save_scene")
    if arrays["transform"].shape != (6,):
        raise GridError(f"{path.name}: the transform has not six numbers", fix="write a, b, c, d, e, f")
    optical = _cube(arrays["optical"], path)
    a, b, c, d, e, f = (float(value) for value in arrays["transform"])
    grid = Grid(str(arrays["crs"]), (a, b, c, d, e, f), *optical.shape[1:])
    scene = _raster(optical, arrays["bands"], arrays.get("valid"), grid, path)
    if "sar" not in arrays:
        return SceneArrays(scene, None)
    if "sar_bands" not in arrays:
        raise DataError(f"{path.name} has no sar_bands", fix="write it with save_scene")
    sar = _raster(_cube(arrays["sar"], path), arrays["sar_bands"], arrays.get("sar_valid"), grid, path)
    return SceneArrays(scene, sar)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise DataError(f"no scene at {path}", fix="correct the path in the manifest, or --root") from None
    except (OSError, EOFError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name} is not a readable scene: {error}", fix="write it again with save_scene") from None


def _cube(values: NDArray[Any], path: Path) -> NDArray[np.float32]:
    if values.ndim != 3 or not np.issubdtype(values.dtype, np.number):
        raise DataError(
            f"{path.name} holds {values.dtype} of shape {values.shape}", fix="store numbers as (band, y, x)"
        )
    return values.astype(np.float32)


def _raster(
    values: NDArray[np.float32], names: NDArray[Any], valid: NDArray[Any] | None, grid: Grid, path: Path
) -> Raster:
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=0))
    bands = BandSet(tuple(_band(str(name), path) for name in names))
    if valid is not None and valid.shape != finite.shape:
        raise DataError(f"{path.name}: valid is {valid.shape}, the scene {finite.shape}", fix="give both one size")
    seen: NDArray[np.bool_] = finite if valid is None else finite & valid.astype(bool)
    return Raster(np.where(finite, values, np.float32(0)), seen, bands, grid)


def _band(name: str, path: Path) -> Band:
    band = known_band(canonical_name(name))
    if band is None:
        raise BandError(f"{path.name} has a band {name!r}", fix="name bands B01 ... B12, VV, VH, HH, HV")
    return band


def _check_unit(raster: Raster, unit: Unit, *, source: str) -> None:
    found = {band.unit for band in raster.bands}
    if found != {unit}:
        raise UnitError(f"the {source} scene is in {', '.join(sorted(found))}", fix=f"convert it to {unit} first")
