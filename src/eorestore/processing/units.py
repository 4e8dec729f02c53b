"""Conversions between physical units; knows no file and never guesses a unit from magnitudes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import UnitError
from eorestore.raster import Raster, Unit

RADAR = frozenset({Unit.DECIBEL, Unit.POWER, Unit.AMPLITUDE})
POWER_FLOOR = 1e-6  # -60 dB: below the noise of every sensor, keeps the logarithm finite


def power_to_decibel(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """10 log10(power); zero and below become -60 dB."""
    return (10.0 * np.log10(np.maximum(power, POWER_FLOOR))).astype(np.float32)


def decibel_to_power(decibel: NDArray[np.float32]) -> NDArray[np.float32]:
    """10 ** (decibel / 10)."""
    power: NDArray[np.float32] = np.power(10.0, decibel / 10.0, dtype=np.float32)
    return power


def convert(raster: Raster, unit: Unit) -> Raster:
    """The raster with all bands in `unit`. Raises UnitError where no conversion exists."""
    units = {band.unit for band in raster.bands}
    if units == {unit}:
        return raster
    if len(units) != 1:
        raise UnitError(f"bands carry several units: {', '.join(sorted(units))}", fix="convert them one by one")
    values = convert_values(raster.values, units.pop(), unit)
    return replace(raster, values=values, bands=raster.bands.with_unit(unit))


def radar_decibel(raster: Raster) -> Raster:
    """A SAR raster in decibel, with pixels that have no logarithm marked as not valid before it is taken.

    Zeros, negatives and values that are not finite are such pixels in any band of a power or amplitude raster; noise
    removal leaves zeros and negatives behind. Raises UnitError.
    """
    usable = np.isfinite(raster.values)
    if {band.unit for band in raster.bands} != {Unit.DECIBEL}:
        usable &= raster.values > 0
    valid = raster.valid & usable.all(axis=0)
    return convert(replace(raster, values=np.where(valid, raster.values, np.float32(1)), valid=valid), Unit.DECIBEL)


def convert_values(values: NDArray[np.float32], have: Unit, want: Unit) -> NDArray[np.float32]:
    """Values of any shape from one unit of radar backscatter to another. Raises UnitError for any other unit."""
    if not {have, want} <= RADAR:
        raise UnitError(f"no conversion from {have} to {want}", fix="declare the unit that the file holds")
    if have is Unit.DECIBEL:
        power = decibel_to_power(values)
    else:
        power = np.square(values) if have is Unit.AMPLITUDE else values
    if want is Unit.DECIBEL:
        return power_to_decibel(power)
    return np.sqrt(np.maximum(power, 0)) if want is Unit.AMPLITUDE else power
