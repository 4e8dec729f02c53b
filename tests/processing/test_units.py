"""Conversions between radar units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eorestore.errors import UnitError
from eorestore.processing.units import convert, decibel_to_power, power_to_decibel
from eorestore.raster import SENTINEL1, Band, BandSet, Grid, Raster, Unit

RADAR = [Unit.DECIBEL, Unit.POWER, Unit.AMPLITUDE]


def raster(value: float, unit: Unit) -> Raster:
    grid = Grid("LOCAL", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 2, 3)
    return Raster(np.full((2, 2, 3), value, np.float32), np.ones((2, 3), bool), SENTINEL1.with_unit(unit), grid)


@pytest.mark.parametrize(
    ("value", "have", "want", "expected"),
    [
        (-20.0, Unit.DECIBEL, Unit.POWER, 0.01),
        (-20.0, Unit.DECIBEL, Unit.AMPLITUDE, 0.1),
        (0.01, Unit.POWER, Unit.DECIBEL, -20.0),
        (0.01, Unit.POWER, Unit.AMPLITUDE, 0.1),
        (0.1, Unit.AMPLITUDE, Unit.DECIBEL, -20.0),
        (0.1, Unit.AMPLITUDE, Unit.POWER, 0.01),
    ],
)
def test_values_by_hand(value: float, have: Unit, want: Unit, expected: float):
    converted = convert(raster(value, have), want)
    np.testing.assert_allclose(converted.values, expected, rtol=1e-5)
    assert {band.unit for band in converted.bands} == {want}
    assert converted.bands.names == ("VV", "VH")


@given(st.floats(-55, 30), st.sampled_from(RADAR))
def test_every_conversion_has_its_way_back(decibel: float, unit: Unit):
    there = convert(raster(decibel, Unit.DECIBEL), unit)
    np.testing.assert_allclose(convert(there, Unit.DECIBEL).values, np.float32(decibel), atol=1e-3)


@pytest.mark.parametrize("power", [0.0, -0.3, 1e-12])
def test_no_power_is_below_the_floor_of_minus_sixty_decibel(power: float):
    assert power_to_decibel(np.array([power], np.float32))[0] == pytest.approx(-60)


def test_conversions_stay_in_single_precision():
    values = np.array([-3.0], np.float32)
    assert decibel_to_power(values).dtype == np.float32
    assert power_to_decibel(values).dtype == np.float32


def test_the_same_unit_is_the_same_raster():
    whole = raster(-12.0, Unit.DECIBEL)
    assert convert(whole, Unit.DECIBEL) is whole


@pytest.mark.parametrize(("have", "want"), [(Unit.REFLECTANCE, Unit.DECIBEL), (Unit.DECIBEL, Unit.KELVIN)])
def test_units_of_different_quantities_do_not_convert(have: Unit, want: Unit):
    with pytest.raises(UnitError, match=f"no conversion from {have} to {want}"):
        convert(raster(0.5, have), want)


def test_bands_of_several_units_are_refused():
    whole = raster(0.5, Unit.DECIBEL)
    mixed = BandSet((Band("VV", Unit.DECIBEL), Band("VH", Unit.POWER)))
    with pytest.raises(UnitError, match="several units: decibel, power"):
        convert(Raster(whole.values, whole.valid, mixed, whole.grid), Unit.DECIBEL)
