"""Rasters on disk: windows in, windows out, and nothing left behind."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from eorestore.errors import BandError, DataError, GridError, WriteError
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, Grid, Raster, Unit, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import RasterWriter, open_raster, write_raster
from eorestore.raster.products import Declared

UTM = rasterio.crs.CRS.from_epsg(32632)
CORNER = (600_000.0, 5_300_040.0)
DN = Encoding("uint16", 1e-4, 0.0, 0.0)
GRID = Grid(UTM.to_wkt(), (10.0, 0.0, CORNER[0], 0.0, -10.0, CORNER[1]), 60, 84)


def write(path: Path, values: np.ndarray, *, pixel: float = 10.0, **profile: object) -> Path:
    names = profile.pop("names", None)
    tags = profile.pop("tags", {})
    whole = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
        "dtype": values.dtype, "crs": UTM, "transform": Affine(pixel, 0, CORNER[0], 0, -pixel, CORNER[1]),
    }  # fmt: skip
    with rasterio.open(path, "w", **(whole | profile)) as file:
        file.write(values)
        if names:
            file.descriptions = names
        file.update_tags(**tags)
    return path


def numbers(count: int, height: int = 60, width: int = 84, *, seed: int = 0) -> np.ndarray:
    smooth = np.add.outer(np.arange(height) * 7.0, np.arange(width) * 3.0)
    noise = np.random.default_rng(seed).uniform(500, 1500, (count, height, width))
    return (smooth + noise).astype(np.uint16)


def stop_amid_writing(path: Path, error: BaseException, *, cog: bool = False) -> None:
    with RasterWriter(path, grid=GRID, encoding=DN, descriptions=("B02",), cog=cog) as writer:
        writer.write(Window(0, 0, 60, 84), numbers(1))
        raise error


@pytest.fixture
def product(tmp_path: Path) -> Path:
    folder = tmp_path / "20200604T054639_20200604T054831_T43RCP"
    folder.mkdir()
    for seed, (name, pixel) in enumerate([("B2", 10), ("B4", 10), ("B11", 20), ("B1", 60)]):
        side = pixel // 10
        write(folder / f"{name}.tif", numbers(1, 60 // side, 84 // side, seed=seed), pixel=pixel)
    return folder


WINDOWS = [
    Window(0, 0, 60, 84),
    Window(0, 0, 17, 23),
    Window(13, 29, 31, 8),
    Window(59, 83, 1, 1),
    Window(40, 50, 20, 34),
]


def test_a_file_of_many_bands_is_read_by_name_in_physical_units(tmp_path: Path):
    raw = numbers(13)
    file = open_raster(write(tmp_path / "s2.tif", raw, names=SENTINEL2_L1C.names))
    assert file.bands == SENTINEL2_L1C
    raster = file.read()
    np.testing.assert_allclose(raster.values, raw / 1e4, rtol=1e-6)
    assert raster.valid.all()
    assert raster.grid.same_as(GRID)
    np.testing.assert_array_equal(file.read_raw(), raw)


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_of_a_file_equal_the_whole(tmp_path: Path, window: Window):
    raw = numbers(2)
    file = open_raster(write(tmp_path / "s2.tif", raw, names=("B02", "B03")))
    np.testing.assert_array_equal(file.read_raw(window), raw[:, window.rows, window.columns])
    assert file.read(window).grid.position(0, 0) == file.grid.position(window.row, window.column)


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_of_a_folder_equal_the_whole(product: Path, window: Window):
    file = open_raster(product)
    np.testing.assert_array_equal(file.read_raw(window), file.read_raw()[:, window.rows, window.columns])


def test_a_folder_lies_on_its_finest_grid_and_says_what_was_resampled(product: Path):
    file = open_raster(product)
    assert file.bands.names == ("B01", "B02", "B04", "B11")
    assert file.grid.same_as(GRID)
    assert file.resampled == ("B01", "B11")
    assert any("B01, B11 resampled to 60 x 84 pixels (bilinear)" in note for note in file.notes)
    assert file.date is not None
    assert (file.date.year, file.date.month, file.date.day) == (2020, 6, 4)


def test_bands_of_a_folder_at_the_finest_grid_are_untouched(product: Path):
    raw = open_raster(product).read_raw()
    np.testing.assert_array_equal(raw[1:3], [numbers(1, seed=0)[0], numbers(1, seed=1)[0]])


@pytest.mark.parametrize(("row", "pixel", "seed"), [(3, 20, 2), (0, 60, 3)])
def test_coarse_bands_are_resampled_as_rasterio_does(product: Path, row: int, pixel: int, seed: int):
    side = pixel // 10
    expected = np.zeros((60, 84), np.uint16)
    reproject(
        numbers(1, 60 // side, 84 // side, seed=seed)[0], expected, src_crs=UTM, dst_crs=UTM,
        src_transform=Affine(pixel, 0, CORNER[0], 0, -pixel, CORNER[1]),
        dst_transform=Affine(10, 0, CORNER[0], 0, -10, CORNER[1]), resampling=Resampling.bilinear,
    )  # fmt: skip
    found = open_raster(product).read_raw()[row]
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_bands_of_a_folder_can_be_chosen(product: Path):
    file = open_raster(product, declared=Declared(bands=("b4", "B2")))
    assert file.bands.names == ("B04", "B02")
    np.testing.assert_array_equal(file.read_raw(), [numbers(1, seed=1)[0], numbers(1, seed=0)[0]])
    with pytest.raises(DataError, match="no file for B08"):
        open_raster(product, declared=Declared(bands=("B08",)))


def test_a_crop_is_the_window_of_the_whole(product: Path):
    file = open_raster(product)
    inner = file.crop(Window(10, 20, 40, 50)).crop(Window(5, 6, 7, 8))
    np.testing.assert_array_equal(inner.read_raw(), file.read_raw(Window(15, 26, 7, 8)))
    assert inner.grid.position(0, 0) == file.grid.position(15, 26)


def test_a_member_of_a_folder_is_read_on_its_own_grid(product: Path):
    file = open_raster(product).crop(Window(20, 40, 20, 20))
    member = file.member_file(3)
    assert member.bands.names == ("B11",)
    assert member.grid.pixel_size == (20.0, 20.0)
    assert member.grid.bounds == file.grid.bounds
    np.testing.assert_array_equal(member.read_raw()[0], numbers(1, 30, 42, seed=2)[0, 10:20, 20:30])


def test_one_band_of_a_file_can_be_taken(tmp_path: Path):
    raw = numbers(3)
    file = open_raster(write(tmp_path / "s2.tif", raw, names=("B02", "B03", "B04"))).only(1)
    assert file.bands.names == ("B03",)
    np.testing.assert_array_equal(file.read_raw(), raw[1:2])


def test_threads_read_the_same_pixels_each_with_its_own_handle(product: Path):
    file = open_raster(product)
    whole = file.read_raw()
    wrong: list[Window] = []

    def read(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(25):
            row, column = generator.integers(0, 50), generator.integers(0, 70)
            window = Window(int(row), int(column), 10, 14)
            if not np.array_equal(file.read_raw(window), whole[:, window.rows, window.columns]):
                wrong.append(window)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_zero_in_all_bands_is_nodata_and_zero_in_one_is_not(tmp_path: Path):
    raw = numbers(2)
    raw[:, 3, 4] = 0
    raw[0, 5, 6] = 0
    file = open_raster(write(tmp_path / "s2.tif", raw, names=("B02", "B10")))
    valid = file.read().valid
    assert not valid[3, 4]
    assert valid[5, 6]
    assert valid.sum() == valid.size - 1


def test_the_file_is_written_back_with_the_nodata_it_declared_itself(tmp_path: Path):
    silent = open_raster(write(tmp_path / "a.tif", numbers(1), names=("B02",)))
    said = open_raster(write(tmp_path / "b.tif", numbers(1), names=("B02",), nodata=65535))
    assert (silent.encoding.nodata, silent.encoding_to_write.nodata) == (0.0, None)
    assert (said.encoding.nodata, said.encoding_to_write.nodata) == (65535.0, 65535.0)


def test_a_baseline_tag_moves_the_reflectance(tmp_path: Path):
    raw = numbers(1)
    path = write(tmp_path / "s2.tif", raw, names=("B02",), tags={"PROCESSING_BASELINE": "04.00"})
    np.testing.assert_allclose(open_raster(path).read().values, (raw - 1000.0) / 1e4, atol=1e-6)
    np.testing.assert_allclose(open_raster(path, declared=Declared(s2_offset=0)).read().values, raw / 1e4, atol=1e-6)


def test_a_file_without_crs_is_refused(tmp_path: Path):
    with pytest.raises(GridError, match="has no CRS"):
        open_raster(write(tmp_path / "s2.tif", numbers(1), crs=None, names=("B02",)))


def test_complex_values_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="complex64"):
        open_raster(write(tmp_path / "slc.tif", np.ones((1, 60, 84), np.complex64), names=("VV",)))


def test_what_is_not_a_raster_is_refused_by_name(tmp_path: Path):
    (tmp_path / "note.tif").write_text("no raster")
    with pytest.raises(DataError, match=r"note\.tif cannot be opened"):
        open_raster(tmp_path / "note.tif")
    with pytest.raises(DataError, match="does not exist"):
        open_raster(tmp_path / "none.tif")


def test_a_truncated_file_is_refused(tmp_path: Path):
    path = write(tmp_path / "s2.tif", numbers(2, 400, 400), names=("B02", "B03"))
    path.write_bytes(path.read_bytes()[:-200_000])
    with pytest.raises(DataError, match=r"s2\.tif cannot be opened"):
        open_raster(path)


def test_damaged_blocks_are_refused_when_they_are_read(tmp_path: Path):
    path = write(tmp_path / "s2.tif", numbers(2, 400, 400), names=("B02", "B03"), compress="deflate")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 5000] = b"\xff" * 5000
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"s2\.tif cannot be read"):
        open_raster(path).read()


def test_bands_of_different_places_are_refused(product: Path):
    write(product / "B3.tif", numbers(1), transform=Affine(10, 0, 0.0, 0, -10, CORNER[1]))
    with pytest.raises(GridError, match="does not overlap"):
        open_raster(product)


def test_a_folder_file_of_two_bands_is_refused(product: Path):
    write(product / "B3.tif", numbers(2))
    with pytest.raises(DataError, match=r"B3\.tif has 2 bands"):
        open_raster(product)


def test_an_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(BandError, match="no band files"):
        open_raster(tmp_path)


def test_what_was_written_is_read_back(tmp_path: Path):
    values = np.random.default_rng(1).uniform(0.0001, 1, (13, 60, 84)).astype(np.float32)
    valid = np.ones((60, 84), bool)
    valid[:5] = False
    raster = Raster(values, valid, SENTINEL2_L1C, GRID)
    write_raster(tmp_path / "out" / "s2.tif", raster, encoding=DN, tags={"DATETIME": "2020-06-04"})
    file = open_raster(tmp_path / "out" / "s2.tif")
    again = file.read()
    assert file.bands == SENTINEL2_L1C
    assert file.encoding == DN
    assert file.declares_scale
    assert file.tags["DATETIME"] == "2020-06-04"
    assert again.grid.same_as(GRID)
    np.testing.assert_array_equal(again.valid, valid)
    np.testing.assert_allclose(again.values[:, valid], values[:, valid], atol=0.51e-4)


def test_radar_is_written_with_units_and_nan_outside(tmp_path: Path):
    values = np.random.default_rng(1).uniform(-25, 0, (2, 60, 84)).astype(np.float32)
    valid = np.ones((60, 84), bool)
    valid[7, 8] = False
    write_raster(
        tmp_path / "s1.tif", Raster(values, valid, SENTINEL1, GRID), encoding=Encoding("float32", nodata=np.nan)
    )
    with rasterio.open(tmp_path / "s1.tif") as file:
        assert file.units == ("decibel", "decibel")
        assert file.descriptions == ("VV", "VH")
        assert file.dtypes == ("float32", "float32")
        assert np.isnan(file.nodata)
        assert np.isnan(file.read()[:, 7, 8]).all()
    again = open_raster(tmp_path / "s1.tif")
    assert {band.unit for band in again.bands} == {Unit.DECIBEL}
    np.testing.assert_array_equal(again.read().valid, valid)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_type_names_tags_and_nodata_are_kept(tmp_path: Path, dtype: str):
    encoding = Encoding(dtype, nodata=7.0)
    block = np.arange(2 * 60 * 84).reshape(2, 60, 84).astype(dtype)
    with RasterWriter(
        tmp_path / "out.tif", grid=GRID, encoding=encoding, descriptions=("first", "second"), tags={"A": "b"}
    ) as writer:
        writer.write(Window(0, 0, 60, 84), block)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.dtypes == (dtype, dtype)
        assert file.nodata == 7.0
        assert file.descriptions == ("first", "second")
        assert file.tags()["A"] == "b"
        assert file.crs == UTM
        assert tuple(file.transform)[:6] == GRID.transform
        np.testing.assert_array_equal(file.read(), block)


def test_blocks_written_out_of_order_make_the_whole(tmp_path: Path):
    raw = numbers(2, 300, 410)
    grid = Grid(GRID.crs, GRID.transform, 300, 410)
    windows = [
        Window(row, column, min(100, 300 - row), min(150, 410 - column))
        for row in (200, 0, 100)
        for column in (300, 0, 150)
    ]
    with RasterWriter(tmp_path / "out.tif", grid=grid, encoding=DN, descriptions=("B02", "B03")) as writer:
        for window in windows:
            writer.write(window, raw[:, window.rows, window.columns])
    with rasterio.open(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(file.read(), raw)
        assert file.compression is rasterio.enums.Compression.deflate
        assert file.block_shapes[0] == (256, 256)


def test_the_file_takes_its_name_only_when_complete(tmp_path: Path):
    path = tmp_path / "out.tif"
    with RasterWriter(path, grid=GRID, encoding=DN, descriptions=("B02",)) as writer:
        writer.write(Window(0, 0, 60, 84), numbers(1))
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["out.tif"]


def test_an_older_file_stays_until_the_new_one_is_complete(tmp_path: Path):
    path = write(tmp_path / "out.tif", numbers(1, seed=5))
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        stop_amid_writing(path, ZeroDivisionError())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.parametrize("cog", [False, True])
def test_an_interrupted_writer_leaves_nothing(tmp_path: Path, cog: bool):
    with pytest.raises(KeyboardInterrupt):
        stop_amid_writing(tmp_path / "out.tif", KeyboardInterrupt(), cog=cog)
    assert list(tmp_path.iterdir()) == []


def test_a_block_outside_the_grid_is_a_write_error_that_leaves_nothing(tmp_path: Path):
    with (
        pytest.raises(WriteError, match=r"out\.tif cannot be written"),
        RasterWriter(tmp_path / "out.tif", grid=GRID, encoding=DN, descriptions=("B02",)) as writer,
    ):
        writer.write(Window(50, 0, 60, 84), numbers(1))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_write_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot be written"):
        RasterWriter(tmp_path / "file" / "out.tif", grid=GRID, encoding=DN, descriptions=("B02",))


def test_a_cog_is_one_with_overviews_and_the_same_pixels(tmp_path: Path):
    raw = numbers(2, 1200, 1100)
    grid = Grid(GRID.crs, GRID.transform, 1200, 1100)
    with RasterWriter(
        tmp_path / "out.tif", grid=grid, encoding=DN, descriptions=("B02", "B03"), tags={"A": "b"}, cog=True
    ) as writer:
        writer.write(Window(0, 0, 1200, 1100), raw)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1)
        assert file.descriptions == ("B02", "B03")
        assert file.tags()["A"] == "b"
        assert file.nodata == 0
        np.testing.assert_array_equal(file.read(), raw)
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif"]
