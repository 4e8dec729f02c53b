"""Whether the values of a file can be what it is said to hold; refuses, never converts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError, UnitError
from eorestore.raster import Raster, Unit, Window
from eorestore.raster.files import RasterFile

_BRIGHTEST = 8.0  # reflectance: no uint16 DN / 10000 gets there
_OFFSET_DN = 1000
_COLDEST, _HOTTEST = 50.0, 1500.0  # kelvin that a median of an observation stays within: what is beyond is no kelvin
_SIDE, _PER_AXIS = 128, 4


def check_values(file: RasterFile, *, option: str) -> tuple[str, ...]:
    """Look at pieces of a file and refuse what contradicts its unit; returns warnings, as of an undeclared offset.

    option: the command-line option that declares the unit, for the message. Raises UnitError, DataError.
    """
    pieces = [_read(file, window, option) for window in _pieces(file.grid.size)]
    seen = [piece.values[:, piece.valid] for piece in pieces if piece.valid.any()]
    if not seen:
        return ()
    values = np.concatenate(seen, axis=1)
    units = {band.unit for band in file.bands}
    if units == {Unit.DECIBEL} and float(values.min()) >= 0:
        raise UnitError(
            f"{file.path.name} is called dB but is nowhere negative ({values.min():.3g} to {values.max():.3g})",
            fix=f"if it holds linear power or amplitude, say so: {option} power|amplitude",
        )
    if units & {Unit.POWER, Unit.AMPLITUDE} and float(values.min()) < 0:
        raise UnitError(
            f"{file.path.name} is called {min(units)} but holds {values.min():.3g}",
            fix=f"if it holds dB, say so: {option} decibel",
        )
    if units == {Unit.KELVIN} and not _COLDEST <= float(np.median(values)) <= _HOTTEST:
        raise UnitError(
            f"{file.path.name} is called kelvin but has a median of {np.median(values):.6g}",
            fix="if it is in °C, tag the band: gdal_edit.py -units celsius FILE; if it holds DN, give it their factor",
        )
    if units == {Unit.REFLECTANCE}:
        if float(np.median(values)) > _BRIGHTEST:
            raise UnitError(
                f"{file.path.name} is called reflectance but reaches {values.max():.6g}",
                fix=f"if it holds Sentinel-2 DN, say so: {option} count",
            )
        return _offset_warning(file, values)
    return ()


def _offset_warning(file: RasterFile, values: NDArray[np.float32]) -> tuple[str, ...]:
    if not file.encoding.is_integer or file.encoding.offset != 0.0:
        return ()
    dn = values / file.encoding.scale
    near = dn.min(axis=1) >= 0.9 * _OFFSET_DN
    cirrus = (
        "B10" in file.bands and 0.9 * _OFFSET_DN <= float(np.median(dn[file.bands.index("B10")])) <= 1.2 * _OFFSET_DN
    )
    if not (bool(near.all()) or cirrus):
        return ()
    return (
        f"{file.path.name} looks like baseline 04.00 or later (DN shifted by +1000) but declares no offset; "
        "if so, add --s2-offset 1000",
    )


def _read(file: RasterFile, window: Window, option: str) -> Raster:
    raw = file.read_raw(window)
    if option == "--unit" and not file.encoding.is_integer and np.isinf(raw).any():
        raise DataError(f"{file.path.name} holds infinite values", fix="replace them by nodata (NaN)")
    return Raster(file.encoding.decode(raw), file.encoding.valid(raw), file.bands, file.grid.crop(window))


def _pieces(size: tuple[int, int]) -> list[Window]:
    if max(size) <= _SIDE * _PER_AXIS:
        return [Window(0, 0, *size)]
    starts = [
        sorted({math.floor(index * max(length - _SIDE, 0) / (_PER_AXIS - 1)) for index in range(_PER_AXIS)})
        for length in size
    ]
    return [
        Window(row, column, min(_SIDE, size[0] - row), min(_SIDE, size[1] - column))
        for row in starts[0]
        for column in starts[1]
    ]
