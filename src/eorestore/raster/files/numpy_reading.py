"""Temperatures from .npz archives of AMSR2 swaths and from plain .npy arrays; neither says where its pixels lie."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import BandError, DataError, UnitError
from eorestore.raster.bands import Unit
from eorestore.raster.files.restricted_pickle import read_objects
from eorestore.raster.files.sources import KELVIN, ArraySource, SourcedBand, named, placeless
from eorestore.raster.products import Declared
from eorestore.raster.thermal_products import AMSR2_ARCHIVE, THERMAL_NAMES, Conversion, Product

_SWATHS = ("swaths", "swath_array")
_DECLARED = Product("temperature as declared", Conversion(), "uif")
_BY_NAME = Product("by rule an array of floats called temperature is kelvin", Conversion(), "f")


def open_npz(path: Path, declared: Declared, tags: Mapping[str, str], *, anywhere: bool) -> SourcedBand:
    """A swath of an .npz: its array `temperature`, or one of `swaths` or `swath_array`, dicts of temperature, metadata.

    Integers are brightness temperature x 0.01 K with 0 for missing. The first of several swaths is read, or the one
    named `swath3` in --bands, counted from 0. Raises DataError, BandError, UnitError, GridError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
            swaths = next((key for key in _SWATHS if key in arrays), None)
            if swaths is not None:
                with archive.open(arrays[swaths]) as file:
                    listed = read_objects(cast("BinaryIO", file), name=path.name)
                values, description, notes = _swath(path, listed, declared)
            else:
                key = _array_of(path, list(arrays), declared)
                with archive.open(arrays[key]) as file:
                    values = np.lib.format.read_array(cast("BinaryIO", file), allow_pickle=False)
                description, notes = key, []
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        raise _damaged(path, error) from None
    by_variable = swaths is not None or (declared.bands is not None and declared.bands[0] == description)
    return _band(path, values, description, declared, tags, notes, anywhere=anywhere, by_variable=by_variable)


def open_npy(path: Path, declared: Declared, tags: Mapping[str, str], *, anywhere: bool) -> SourcedBand:
    """A plain array (y, x) of kelvin, which only the caller can say. Raises DataError, UnitError, GridError."""
    if declared.unit is not Unit.KELVIN:
        raise UnitError(f"{path.name} does not say its unit", fix="declare it: --unit kelvin")
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(path, error) from None
    return _band(path, values, "thermal", declared, tags, [], anywhere=anywhere, by_variable=False)


def _band(
    path: Path,
    values: NDArray[Any],
    description: str,
    declared: Declared,
    tags: Mapping[str, str],
    notes: list[str],
    *,
    anywhere: bool,
    by_variable: bool,
) -> SourcedBand:
    product = _product(path, values, description, declared)
    if values.ndim != 2 or values.dtype.kind not in product.dtypes or not values.size:
        raise DataError(
            f"{path.name} holds {description} of shape {values.shape} and type {values.dtype}",
            fix="give numbers in two dimensions (y, x)",
        )
    size = (values.shape[0], values.shape[1])
    grid, told = placeless(size, file=path.name, anywhere=anywhere)
    source = ArraySource(values, product.conversion)
    return SourcedBand(
        path, named(product, declared, by_variable=by_variable), description, KELVIN, grid, partial(_same, source),
        (*product.notes(path.name), *notes, *told), tags,
    )  # fmt: skip


def _same(source: ArraySource) -> ArraySource:
    return source


def _product(path: Path, values: NDArray[Any], description: str, declared: Declared) -> Product:
    if path.suffix.lower() == ".npy":
        return _DECLARED
    if values.dtype.kind in "ui":
        return AMSR2_ARCHIVE
    if declared.unit is Unit.KELVIN:
        return _DECLARED
    if description.lower() in THERMAL_NAMES or description.startswith("swath"):
        return _BY_NAME
    raise UnitError(f"{path.name} does not say the unit of {description}", fix="declare it: --unit kelvin")


def _array_of(path: Path, keys: list[str], declared: Declared) -> str:
    """The array that is meant: the one that --bands names, else `temperature`."""
    if declared.bands is not None and len(declared.bands) == 1 and declared.bands[0] in keys:
        return declared.bands[0]
    if "temperature" in keys:
        return "temperature"
    raise BandError(
        f"{path.name} has no array called temperature: {', '.join(keys) or 'it is empty'}",
        fix="choose one with --bands NAME",
    )


def _swath(path: Path, listed: Any, declared: Declared) -> tuple[NDArray[Any], str, list[str]]:  # noqa: ANN401
    """One swath of a list of dicts, its name, and a note where there are more."""
    swaths = list(np.ravel(listed)) if isinstance(listed, np.ndarray) else listed
    if not isinstance(swaths, list) or not swaths:
        raise DataError(f"{path.name} holds no swaths", fix="store a list of dicts {temperature, metadata}")
    number = 0
    if declared.bands is not None:
        match = re.fullmatch(r"swath(\d+)", declared.bands[0].strip().lower())
        if match is None or len(declared.bands) != 1 or int(match[1]) >= len(swaths):
            raise BandError(
                f"{path.name} has no swath {','.join(declared.bands)}",
                fix=f"it holds swath0 to swath{len(swaths) - 1}",
            )
        number = int(match[1])
    swath = swaths[number]
    values = swath.get("temperature") if isinstance(swath, dict) else None
    if not isinstance(values, np.ndarray):
        raise DataError(f"{path.name}: swath{number} has no array called temperature", fix="fetch the file again")
    notes = [f"{path.name}: swath{number} of {len(swaths)} is read (--bands swath0, swath1, ...)"]
    return values, f"swath{number}", notes if len(swaths) > 1 else []


def _damaged(path: Path, error: Exception) -> DataError:
    line = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"{path.name} cannot be read: {line}", fix="fetch the file again; it may be truncated")
