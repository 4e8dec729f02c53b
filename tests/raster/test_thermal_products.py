"""Rules of thermal products: numbers to kelvin, what is missing, which variable is meant."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.errors import BandError
from eorestore.raster import THERMAL, Unit
from eorestore.raster.products import Declared
from eorestore.raster.thermal_products import (
    AMSR2,
    INFRARED,
    LANDSAT_QUALITY,
    LANDSAT_SURFACE,
    Conversion,
    Quality,
    choose_variable,
    declared_product,
    hdf_product,
    short_name,
    temperature_unit,
)

UINT16 = np.dtype("uint16")


def test_fill_is_told_from_what_cannot_be():
    conversion = Conversion(0.02, 0.0, (0.0,), INFRARED)
    stored = np.array([0, 7_000, 7_500, 15_000, 19_000, 19_001], np.uint16)
    expected = np.array([np.nan, np.nan, 150, 300, 380, np.nan], np.float32)
    np.testing.assert_allclose(conversion.kelvin(stored), expected)
    assert conversion.is_outside(stored).tolist() == [False, True, False, False, False, True]


def test_a_black_body_gives_its_temperature_back():
    first, second = 774.8853, 1321.0789
    kelvin = np.array([200.0, 273.15, 350.0])
    radiance = first / (np.exp(second / kelvin) - 1)  # Planck
    conversion = Conversion(1e-4, 0.0, (), INFRARED, (first, second))
    np.testing.assert_allclose(conversion.kelvin(radiance / 1e-4), kelvin, rtol=1e-6)
    assert np.isnan(conversion.kelvin(np.array([-5.0, 0.0, np.nan, np.inf]))).all()


def test_microwaves_may_be_colder_than_any_land_but_not_at_zero():
    found = AMSR2.conversion.kelvin(np.array([0, 9_000, 65_534, 65_535], np.uint16))
    np.testing.assert_allclose(found, np.array([np.nan, 90, np.nan, np.nan], np.float32))
    assert AMSR2.band.wavelength is None
    assert LANDSAT_SURFACE.band == THERMAL.bands[0]


@pytest.mark.parametrize(
    ("quality", "flags", "missing"),
    [
        (LANDSAT_QUALITY["QA_PIXEL"], np.array([1, 0b1001, 0b1000, 0], np.uint16), [True, True, False, False]),
        (LANDSAT_QUALITY["ST_QA"], np.array([-9999, 250], np.int16), [True, False]),
        (Quality("DQF", good=(0,)), np.array([0, 1, 255], np.uint8), [False, True, True]),
        (Quality("QC", missing=(3,), mask=3), np.array([0, 3, 0b111, 2], np.uint16), [False, True, True, False]),
    ],
)
def test_quality_takes_away_what_its_bits_say(quality, flags, missing):
    assert quality.is_missing(flags).tolist() == missing


@pytest.mark.parametrize(
    ("text", "zero"), [("K", 0.0), ("Kelvin", 0.0), ("degC", 273.15), ("°C", 273.15), ("m", None), ("1", None)]
)
def test_units_of_temperature(text, zero):
    assert temperature_unit(text) == zero


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("SDS/LST", "ECOSTRESS"), ("HDFEOS/GRIDS/g/Data Fields/LST_1KM", "VIIRS"), ("LST_Day_1km", "MODIS"),
        ("LST_Night_CMG", "MODIS"), ("VIIRS_Swath_LSTE/Data Fields/LST", "VIIRS"),
        ("Brightness Temperature (res06,36.5GHz,V)", "AMSR2"), ("Brightness Temperature (89.0GHz-A,H)", "AMSR2"),
    ],
)  # fmt: skip
def test_the_documented_factor_wins_over_attributes(path, name):
    product = hdf_product(path, UINT16, {"scale_factor": 1.0, "units": "K"})
    assert name in product.name
    assert product.conversion.scale in (0.02, 0.01)


def test_attributes_speak_where_no_product_does():
    told = {"scale_factor": 0.002, "add_offset": 290.0, "_FillValue": -32768, "units": "K"}
    product = hdf_product("LST", np.dtype("int16"), told)
    assert product.conversion == Conversion(0.002, 290.0, (-32768.0,), INFRARED)
    assert hdf_product("tas", np.dtype("float32"), {"units": "degC"}).conversion.offset == 273.15
    assert hdf_product("SDS/LST_err", np.dtype("uint8"), {"units": "m"}) is None
    assert hdf_product("depth", UINT16, {}) is None
    assert declared_product(UINT16, {"scale_factor": 0.1}).conversion.scale == 0.1


def test_a_products_own_variable_comes_before_others_in_kelvin():
    by_unit = hdf_product("a", np.dtype("float32"), {"units": "K"})
    ruled = hdf_product("SDS/LST", UINT16, {})
    nothing = Declared()
    assert choose_variable("f", {"a": by_unit, "SDS/LST": ruled}, nothing) == "SDS/LST"
    assert choose_variable("f", {"a": by_unit, "LST": by_unit}, nothing) == "LST"
    assert choose_variable("f", {"a": by_unit, "b": None}, nothing) == "a"
    assert choose_variable("f", {"b": None}, Declared(unit=Unit.KELVIN)) == "b"
    with pytest.raises(BandError, match="several temperatures: a, c"):
        choose_variable("f", {"a": by_unit, "c": by_unit}, nothing)
    with pytest.raises(BandError, match="no variable that is known to be a temperature: b"):
        choose_variable("f", {"b": None}, nothing)


def test_short_names_hold_no_comma():
    assert short_name("Brightness Temperature (res06,36.5GHz,V)") == "res06-36.5GHz-V"
    assert short_name("SDS/LST") == "LST"
