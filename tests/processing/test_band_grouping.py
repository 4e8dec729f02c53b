"""Bands of a scene in groups for a network of three: the rule, case by case."""

from __future__ import annotations

import pytest

from eorestore.processing.band_grouping import group_bands
from eorestore.raster import RGB, SENTINEL2_L1C, Band, BandSet, Unit

LIKE = RGB.names


def named(*names: str, unit: Unit = Unit.REFLECTANCE) -> BandSet:
    return BandSet(tuple(Band(name, unit) for name in names))


def groups(bands: BandSet, like=LIKE) -> list[str]:
    return [" ".join(group) for group in group_bands(bands, like=like).names(bands)]


def test_red_green_and_blue_of_sentinel_2_go_together_and_the_rest_by_wavelength():
    assert groups(SENTINEL2_L1C) == ["B04 B03 B02", "B12 B11 B10", "B09 B8A B08", "B07 B06 B05", "B03 B02 B01"]


def test_four_bands_make_true_and_false_colour():
    assert groups(SENTINEL2_L1C.select(("B02", "B03", "B04", "B08"))) == ["B04 B03 B02", "B08 B04 B03"]
    assert groups(named("red", "green", "blue", "nir")) == ["red green blue", "nir red green"]


def test_without_all_of_red_green_and_blue_everything_goes_by_wavelength():
    assert groups(SENTINEL2_L1C.select(("B02", "B04", "B08", "B11"))) == ["B11 B08 B04", "B08 B04 B02"]


def test_bands_of_unknown_wavelength_keep_the_order_of_the_file():
    assert groups(named("p", "q", "r", "s", unit=Unit.COUNT)) == ["p q r", "q r s"]
    assert groups(named("p", "B08", "q", "B11")) == ["B11 B08 p", "B11 B08 q"]


def test_one_band_and_two_bands_are_repeated():
    assert groups(named("thermal")) == ["thermal thermal thermal"]
    assert groups(named("VV", "VH")) == ["VV VH VH"]


def test_a_network_of_four_bands_finds_its_own_first():
    scene = SENTINEL2_L1C.select(("B08", "B04", "B03", "B02", "B05", "B11"))
    assert groups(scene, like=("B02", "B03", "B04", "B08")) == ["B02 B03 B04 B08", "B11 B08 B05 B04"]


@pytest.mark.parametrize("count", range(1, 14))
def test_every_band_is_taken_once_from_a_place_that_holds_it(count):
    bands = BandSet(SENTINEL2_L1C.bands[:count])
    found = group_bands(bands, like=LIKE)
    assert [found.groups[number][place] for number, place in found.taken] == list(range(count))
    assert all(len(group) == len(LIKE) for group in found.groups)
    assert len(found.groups) == -(-count // 3)
