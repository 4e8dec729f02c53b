"""Bands by name: spellings, order, units."""

from __future__ import annotations

import pytest

from eorestore.errors import BandError, UnitError
from eorestore.raster import RGB, SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A, Band, BandSet, Unit
from eorestore.raster.bands import canonical_name, known_band


@pytest.mark.parametrize(
    ("text", "unit"),
    [("dB", Unit.DECIBEL), (" K ", Unit.KELVIN), ("linear", Unit.POWER), ("Reflectance", Unit.REFLECTANCE)],
)
def test_units_are_understood_in_common_spellings(text: str, unit: Unit):
    assert Unit.parse(text) is unit


def test_an_unknown_unit_lists_the_known_ones():
    with pytest.raises(UnitError, match="furlong") as caught:
        Unit.parse("furlong")
    assert all(unit.value in caught.value.fix for unit in Unit)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B2", "B02"), ("b8a", "B8A"), ("B08A", "B8A"), ("B12", "B12"), ("b002", "B02"), ("vv", "VV"), (" Vh ", "VH"),
        ("thermal", "thermal"), ("B123", "B123"), ("Blue", "Blue"),
    ],
)  # fmt: skip
def test_sentinel_spellings_come_to_one_form_and_others_stay(text: str, name: str):
    assert canonical_name(text) == name


def test_canonical_names_are_fixed_points():
    for name in (*SENTINEL2_L1C.names, *SENTINEL1.names):
        assert canonical_name(name) == name
        assert canonical_name(name.lower()) == name


def test_level_2a_is_level_1c_without_cirrus_in_the_same_order():
    assert len(SENTINEL2_L1C) == 13
    assert SENTINEL2_L2A.names == tuple(name for name in SENTINEL2_L1C.names if name != "B10")


def test_wavelengths_rise_along_the_sentinel_2_bands():
    wavelengths = [band.wavelength for band in SENTINEL2_L1C]
    assert wavelengths == sorted(wavelengths)


def test_bands_are_chosen_by_name_in_the_order_asked_for():
    chosen = SENTINEL2_L1C.select(["B04", "B02"])
    assert chosen.names == ("B04", "B02")
    assert [band.wavelength for band in chosen] == [0.665, 0.490]


def test_a_missing_band_is_named_with_those_present():
    with pytest.raises(BandError, match="no band HH among VV, VH"):
        SENTINEL1.index("HH")


def test_a_band_set_refuses_a_band_twice():
    with pytest.raises(BandError, match="B02 appears twice"):
        BandSet((Band("B02", Unit.REFLECTANCE), Band("B02", Unit.COUNT)))


def test_membership_is_by_name():
    assert "VV" in SENTINEL1
    assert "B02" not in SENTINEL1
    assert SENTINEL1["VV"].unit is Unit.DECIBEL


def test_another_unit_keeps_names_and_wavelengths():
    counted = RGB.with_unit(Unit.COUNT)
    assert counted.names == RGB.names
    assert {band.unit for band in counted} == {Unit.COUNT}
    assert [band.wavelength for band in counted] == [band.wavelength for band in RGB]


def test_standard_bands_are_known_and_others_are_not():
    assert known_band("B8A") == SENTINEL2_L1C["B8A"]
    assert known_band("HV") == Band("HV", Unit.DECIBEL)
    assert known_band("thermal") is None
