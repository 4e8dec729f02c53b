"""One raster on the grid of another, against rasterio.warp and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.warp import transform, transform_bounds
from scipy.ndimage import map_coordinates, shift

from eorestore.errors import GridError
from eorestore.raster import Grid, Window
from eorestore.raster.align import bounds_in, check_overlap, share_of_overlap
from eorestore.raster.files import RasterFile, open_raster

UTM = rasterio.crs.CRS.from_epsg(32632)
DEGREES = rasterio.crs.CRS.from_epsg(4326)
EAST, NORTH = 600_000.0, 5_300_040.0
OPTICAL = Grid(UTM.to_wkt(), (10.0, 0.0, EAST, 0.0, -10.0, NORTH), 64, 80)


def backscatter(height: int = 64, width: int = 80) -> np.ndarray:
    return np.random.default_rng(4).normal(-12, 3, (2, height, width)).astype(np.float32)


def radar(path: Path, values: np.ndarray, place: Affine, **profile: object) -> RasterFile:
    whole = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
        "dtype": values.dtype, "crs": UTM, "transform": place,
    }  # fmt: skip
    with rasterio.open(path, "w", **(whole | profile)) as file:
        file.write(values)
        file.descriptions = ("VV", "VH")[: len(values)]
        file.units = ("decibel", "decibel")[: len(values)]
    return open_raster(path)


def test_a_shift_of_four_metres_is_resampled_as_scipy_does(tmp_path: Path):
    values = backscatter()
    file = radar(tmp_path / "s1.tif", values, Affine(10, 0, EAST + 4, 0, -10, NORTH))
    found = file.aligned(OPTICAL, name="s2.tif").read()
    expected = np.stack([shift(band.astype(float), (0, 0.4), order=1, mode="nearest") for band in values])
    inner = np.s_[:, 1:-1, 1:-1]
    np.testing.assert_allclose(found.values[inner], expected[inner], atol=0.02)
    assert np.abs(found.values[inner] - values[inner]).mean() > 0.5
    assert found.grid.same_as(OPTICAL)


def test_radar_on_the_same_grid_passes_bit_by_bit(tmp_path: Path):
    values = backscatter()
    aligned = radar(tmp_path / "s1.tif", values, Affine(10, 0, EAST, 0, -10, NORTH)).aligned(OPTICAL, name="s2.tif")
    np.testing.assert_array_equal(aligned.read().values, values)
    assert not any("warped" in note for note in aligned.notes)


def test_radar_in_degrees_lands_where_proj_puts_it(tmp_path: Path):
    west, south, east, north = transform_bounds(UTM, DEGREES, *OPTICAL.bounds)
    values = backscatter(60, 75)
    step = (east - west + 0.002) / 75, (north - south + 0.002) / 60
    place = Affine(step[0], 0, west - 0.001, 0, -step[1], north + 0.001)
    found = radar(tmp_path / "s1.tif", values, place, crs=DEGREES).aligned(OPTICAL, name="s2.tif").read()
    row, column = np.mgrid[0:64, 0:80] + 0.5
    longitude, latitude = transform(UTM, DEGREES, EAST + 10 * column.ravel(), NORTH - 10 * row.ravel())
    source = [(np.array(latitude) - place.f) / place.e - 0.5, (np.array(longitude) - place.c) / place.a - 0.5]
    expected = np.stack([map_coordinates(band.astype(float), source, order=1).reshape(64, 80) for band in values])
    assert found.valid.all()
    np.testing.assert_allclose(found.values, expected, atol=0.15)


@pytest.mark.parametrize("window", [Window(0, 0, 20, 30), Window(17, 41, 33, 29), Window(63, 79, 1, 1)])
def test_windows_of_a_warped_file_equal_the_whole(tmp_path: Path, window: Window):
    file = radar(tmp_path / "s1.tif", backscatter(), Affine(10, 0, EAST + 4, 0, -10, NORTH - 3))
    aligned = file.aligned(OPTICAL, name="s2.tif")
    whole = aligned.read_raw()[:, window.rows, window.columns]
    np.testing.assert_allclose(aligned.read_raw(window), whole, atol=1e-4)


def test_outside_the_radar_is_nan_and_not_valid(tmp_path: Path):
    file = radar(tmp_path / "s1.tif", backscatter(), Affine(10, 0, EAST + 300, 0, -10, NORTH))
    aligned = file.aligned(OPTICAL, name="s2.tif")
    assert np.isnan(aligned.read_raw()[:, :, :29]).all()
    found = aligned.read()
    assert not found.valid[:, :29].any()
    assert found.valid[:, 31:].all()
    assert np.isfinite(found.values).all()
    assert any("covers 62.5% of s2.tif" in note for note in aligned.notes)


@pytest.mark.parametrize("nodata", [-9999.0, 0.0, float("nan")])
def test_nodata_of_the_radar_does_not_bleed_into_its_neighbours(tmp_path: Path, nodata: float):
    values = backscatter()
    values[:, 20:30, 20:30] = nodata
    place = Affine(10, 0, EAST + 4, 0, -10, NORTH)
    found = radar(tmp_path / "s1.tif", values, place, nodata=nodata).aligned(OPTICAL, name="s2.tif").read()
    assert not found.valid[21:29, 21:29].any()
    assert found.valid[:18].all()
    assert found.values[:, found.valid].min() > -30
    assert found.values[:, found.valid].max() < 5


def test_integer_radar_with_a_scale_is_warped_and_decoded(tmp_path: Path):
    values = np.rint(backscatter() * 100).astype(np.int16)
    path = tmp_path / "s1.tif"
    radar(path, values, Affine(10, 0, EAST + 10, 0, -10, NORTH))
    with rasterio.open(path, "r+") as file:
        file.scales = (0.01, 0.01)
    aligned = open_raster(path).aligned(OPTICAL, name="s2.tif").read()
    np.testing.assert_allclose(aligned.values[:, :, 1:], values[:, :, :-1] / 100, atol=0.01)
    assert not aligned.valid[:, 0].any()
    assert aligned.valid[:, 1:].all()


def test_finer_radar_is_averaged(tmp_path: Path):
    values = backscatter(256, 320)
    file = radar(tmp_path / "s1.tif", values, Affine(2.5, 0, EAST, 0, -2.5, NORTH))
    found = file.aligned(OPTICAL, name="s2.tif").read()
    expected = values.reshape(2, 64, 4, 80, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(found.values, expected, atol=0.01)


def test_classes_are_not_mixed(tmp_path: Path):
    classes = np.random.default_rng(1).choice([1, 7], (1, 64, 80)).astype(np.uint8)
    file = radar(tmp_path / "mask.tif", classes, Affine(10, 0, EAST + 4, 0, -10, NORTH))
    found = file.aligned(OPTICAL, name="s2.tif", method="nearest").read_raw()
    assert set(np.unique(found[np.isfinite(found)])) == {1.0, 7.0}


def test_the_largest_class_wins_where_asked_for(tmp_path: Path):
    classes = np.zeros((1, 256, 320), np.uint8)
    classes[0, 101, 203] = 3
    file = radar(tmp_path / "mask.tif", classes, Affine(2.5, 0, EAST, 0, -2.5, NORTH))
    found = file.aligned(OPTICAL, name="s2.tif", method="most").read_raw()
    assert found[0, 25, 50] == 3
    assert (found == 3).sum() == 1


@pytest.mark.parametrize("shifted", ["VV", "VH"])
def test_a_folder_whose_files_lie_apart_keeps_the_nodata_of_both(tmp_path: Path, shifted: str):
    folder = tmp_path / "s1"
    folder.mkdir()
    for name, values, hole in zip(("VV", "VH"), backscatter(), (10, 30), strict=True):
        values[hole : hole + 4, 10:14] = -9999
        place = Affine(10, 0, EAST + 4 * (name == shifted), 0, -10, NORTH)
        radar(folder / f"{name}.tif", values[None], place, nodata=-9999)
    found = open_raster(folder).aligned(OPTICAL, name="s2.tif").read()
    assert found.bands.names == ("VV", "VH")
    assert not found.valid[11:13, 11:13].any()
    assert not found.valid[31:33, 11:13].any()
    assert found.valid[:, 20:].all()
    assert found.values[:, found.valid].min() > -40


def test_scenes_of_different_places_are_refused(tmp_path: Path):
    file = radar(tmp_path / "s1.tif", backscatter(), Affine(10, 0, EAST + 5000, 0, -10, NORTH))
    with pytest.raises(GridError, match=r"s1\.tif does not overlap s2\.tif"):
        file.aligned(OPTICAL, name="s2.tif")


def test_overlap_is_a_share_of_the_first_grid():
    right_half = OPTICAL.crop(Window(0, 40, 64, 40))
    assert share_of_overlap(OPTICAL, right_half) == pytest.approx(0.5)
    assert share_of_overlap(right_half, OPTICAL) == pytest.approx(1.0)
    assert check_overlap(OPTICAL, OPTICAL.crop(Window(0, 0, 16, 20)), name="a", other_name="b") == pytest.approx(1 / 16)


def test_bounds_in_degrees_are_those_of_rasterio():
    assert bounds_in(OPTICAL, DEGREES.to_wkt()) == pytest.approx(transform_bounds(UTM, DEGREES, *OPTICAL.bounds))


@pytest.mark.parametrize("crs", ["no CRS at all", 'LOCAL_CS["a site plan",UNIT["metre",1]]'])
def test_a_crs_that_cannot_be_related_is_refused(crs: str):
    with pytest.raises(GridError, match="CRS"):
        bounds_in(OPTICAL, crs)
