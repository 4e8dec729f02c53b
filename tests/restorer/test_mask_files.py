"""Masks given as rasters."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.errors import DataError, GridError, MaskError
from eorestore.raster import Window
from eorestore.restorer.mask_files import open_mask
from small_scenes import make_world, write_tif


@pytest.fixture(scope="module")
def world():
    return make_world((60, 48), seed=5)


def whole(text, grid):
    return open_mask(str(text), grid, scene="scene.tif")(Window(0, 0, *grid.size))


def test_one_is_restored_and_zero_is_not(tmp_path, world):
    path = write_tif(tmp_path / "mask.tif", world.mask[None].astype(np.uint8), world.cloudy.grid)
    assert np.array_equal(whole(path, world.cloudy.grid), world.mask)


def test_a_window_is_the_window_of_the_whole(tmp_path, world):
    path = write_tif(tmp_path / "mask.tif", world.mask[None].astype(np.uint8), world.cloudy.grid)
    mask = open_mask(str(path), world.cloudy.grid, scene="scene.tif")
    assert np.array_equal(mask(Window(7, 9, 20, 31)), world.mask[7:27, 9:40])


def test_named_classes_are_restored(tmp_path, world):
    scl = np.random.default_rng(0).integers(0, 12, (1, 60, 48)).astype(np.uint8)
    path = write_tif(tmp_path / "SCL.tif", scl, world.cloudy.grid)
    assert np.array_equal(whole(f"{path}:3,8,9,10", world.cloudy.grid), np.isin(scl[0], [3, 8, 9, 10]))


def test_a_classification_at_20_m_serves_a_scene_at_10_m(tmp_path, world):
    scl = np.random.default_rng(0).integers(0, 12, (1, 30, 24)).astype(np.uint8)
    path = write_tif(tmp_path / "SCL.tif", scl, world.cloudy.grid.resize(30, 24), nodata=0)
    expected = np.isin(np.repeat(np.repeat(scl[0], 2, axis=0), 2, axis=1), [8, 9])
    assert np.array_equal(whole(f"{path}:8,9", world.cloudy.grid), expected)


def test_classes_without_names_are_refused_with_the_way_to_name_them(tmp_path, world):
    scl = np.full((1, 60, 48), 9, np.uint8)
    path = write_tif(tmp_path / "SCL.tif", scl, world.cloudy.grid)
    with pytest.raises(MaskError, match="holds 9") as caught:
        whole(path, world.cloudy.grid)
    assert "SCL.tif:3,8,9,10" in caught.value.fix


def test_a_mask_over_part_of_the_scene_is_refused(tmp_path, world):
    small = world.cloudy.grid.crop(Window(0, 0, 30, 48))
    path = write_tif(tmp_path / "mask.tif", np.ones((1, 30, 48), np.uint8), small)
    with pytest.raises(MaskError, match=r"30 x 48.*50\.0%.*60 x 48"):
        whole(path, world.cloudy.grid)


def test_a_mask_of_another_place_is_refused(tmp_path, world):
    path = write_tif(
        tmp_path / "mask.tif", np.ones((1, 60, 48), np.uint8), world.cloudy.grid.crop(Window(900, 0, 60, 48))
    )
    with pytest.raises(GridError, match="does not overlap"):
        whole(path, world.cloudy.grid)


def test_a_mask_of_two_bands_is_refused(tmp_path, world):
    path = write_tif(tmp_path / "mask.tif", np.ones((2, 60, 48), np.uint8), world.cloudy.grid, names=("a", "b"))
    with pytest.raises(MaskError, match="2 bands"):
        whole(path, world.cloudy.grid)


@pytest.mark.parametrize("text", ["SCL.tif:cloud", "SCL.tif:"])
def test_classes_that_are_no_numbers_are_refused(tmp_path, world, text):
    write_tif(tmp_path / "SCL.tif", np.ones((1, 60, 48), np.uint8), world.cloudy.grid)
    with pytest.raises(MaskError, match="names no classes"):
        whole(tmp_path / text, world.cloudy.grid)


def test_a_missing_file_is_named(world):
    with pytest.raises(DataError, match=r"no\.tif does not exist"):
        whole("no.tif", world.cloudy.grid)


def test_floats_serve_where_they_are_zero_and_one(tmp_path, world):
    path = write_tif(tmp_path / "mask.tif", world.mask[None].astype(np.float32), world.cloudy.grid)
    assert np.array_equal(whole(path, world.cloudy.grid), world.mask)
