"""Temperatures in GeoTIFFs: which rule holds, what is missing, and that DN stay DN."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio

from eorestore.errors import BandError, DataError, GridError, UnitError
from eorestore.raster import THERMAL, Grid, Unit, Window
from eorestore.raster.files import open_raster
from eorestore.raster.products import Declared
from thermal_files import MTL, SIZE, UTM, numbers, tiff

SURFACE = "LC08_L2SP_015034_20210704_20210712_02_T1_ST_B10.TIF"
LEVEL1 = "LC08_L1TP_015034_20210704_20210712_02_T1_B10.TIF"


def surface_dn() -> np.ndarray:
    dn = numbers(38_000, 48_000)
    dn[0, :3] = 0, 293, 300  # fill, the floor under cloud, above the floor
    dn[1, 0] = 65_535  # 373 K: hot, but possible
    return dn


@pytest.mark.parametrize("tag", [{}, {"scale": 1.0, "offset": 0.0}])
def test_landsat_surface_temperature_has_its_factor_whatever_a_tag_of_one_says(tmp_path, tag):
    dn = surface_dn()
    file = open_raster(tiff(tmp_path / SURFACE, dn, **tag))
    scene = file.read()
    assert file.bands == THERMAL
    valid = np.ones(SIZE, bool)
    valid[0, :2] = False
    assert np.array_equal(scene.valid, valid)
    np.testing.assert_allclose(scene.values[0][valid], dn[valid] * 0.00341802 + 149.0, atol=1e-4)
    assert (file.encoding.dtype, file.encoding.nodata, file.declares_scale) == ("uint16", 0.0, True)
    assert any("DN 293" in note for note in file.notes)


def test_the_band_name_says_it_where_the_file_name_does_not(tmp_path):
    file = open_raster(tiff(tmp_path / "cut.tif", surface_dn(), names=("ST_B10",)))
    assert file.read().values[0, 5, 5] > 270
    assert file.descriptions == ("ST_B10",)


def test_a_factor_that_the_file_states_stands(tmp_path):
    file = open_raster(tiff(tmp_path / SURFACE, surface_dn(), scale=0.004, offset=100.0))
    assert (file.encoding.scale, file.encoding.offset) == (0.004, 100.0)


def test_windows_and_crops_read_what_the_whole_does(tmp_path):
    file = open_raster(tiff(tmp_path / SURFACE, surface_dn()))
    whole = file.read_raw()
    assert np.array_equal(file.read_raw(Window(2, 3, 4, 5)), whole[:, 2:6, 3:8])
    assert np.array_equal(file.crop(Window(1, 1, 8, 8)).read_raw(Window(2, 3, 4, 5)), whole[:, 3:7, 4:9])


def test_quality_files_beside_take_their_fill_away_and_leave_clouds(tmp_path):
    path = tiff(tmp_path / SURFACE, surface_dn())
    pixel = np.full(SIZE, 1 << 3, np.uint16)  # cloud
    pixel[5] = 1  # fill
    tiff(tmp_path / SURFACE.replace("ST_B10", "QA_PIXEL"), pixel)
    error = np.full(SIZE, 250, np.int16)
    error[:, 7] = -9999
    tiff(tmp_path / SURFACE.replace("ST_B10", "ST_QA"), error)
    file = open_raster(path)
    assert not file.read().valid[5].any()
    assert not file.read().valid[:, 7].any()
    assert file.read().valid[6, :7].all()
    assert (file.read_raw()[0, 5] == 0).all()
    assert sum("takes its fill pixels away" in note for note in file.notes) == 2


def test_quality_of_another_size_is_not_used_and_damaged_quality_is_refused(tmp_path):
    path = tiff(tmp_path / SURFACE, surface_dn())
    beside = tmp_path / SURFACE.replace("ST_B10", "QA_PIXEL")
    tiff(beside, np.ones((3, 3), np.uint16))
    assert any("not used" in note for note in open_raster(path).notes)
    beside.write_bytes(b"II*\0")
    with pytest.raises(DataError, match=r"QA_PIXEL\.TIF cannot be opened"):
        open_raster(path)


@pytest.mark.parametrize("ending", ["txt", "json"])
def test_level_1_becomes_brightness_temperature_by_its_own_constants(tmp_path, ending):
    dn = numbers(20_000, 30_000)
    dn[0, 0] = 0
    path = tiff(tmp_path / LEVEL1, dn)
    text = MTL if ending == "txt" else (
        '{"LANDSAT_METADATA_FILE": {"IMAGE_ATTRIBUTES": {"DATE_ACQUIRED": "2021-07-04"}, "L": {'
        '"RADIANCE_MULT_BAND_10": "3.3420E-04", "RADIANCE_ADD_BAND_10": "0.1", '
        '"K1_CONSTANT_BAND_10": "774.8853", "K2_CONSTANT_BAND_10": "1321.0789"}}}'
    )  # fmt: skip
    (tmp_path / LEVEL1.replace("B10.TIF", f"MTL.{ending}")).write_text(text)
    file = open_raster(path)
    scene = file.read()
    assert (file.encoding.dtype, math.isnan(file.encoding_to_write.nodata)) == ("float32", True)
    assert np.isnan(file.read_raw()[0, 0, 0])
    assert not scene.valid[0, 0]
    radiance = 3.342e-4 * float(dn[4, 4]) + 0.1
    assert scene.values[0, 4, 4] == pytest.approx(1321.0789 / math.log(774.8853 / radiance + 1), abs=1e-4)
    assert str(file.date.date()) == "2021-07-04"


def test_level_1_without_its_constants_is_refused(tmp_path):
    path = tiff(tmp_path / LEVEL1, numbers(20_000, 30_000))
    with pytest.raises(UnitError, match="does not say the unit"):
        open_raster(path)
    (tmp_path / LEVEL1.replace("B10.TIF", "MTL.txt")).write_text("GROUP = X\nEND\n")
    with pytest.raises(DataError, match="does not give the constants of band 10"):
        open_raster(path)


def test_planet_is_the_first_band_of_its_file(tmp_path):
    values = np.stack([numbers(28_000, 31_000), numbers(0, 10)])
    values[0, 0, 0] = 65_535
    file = open_raster(tiff(tmp_path / "LST-AMSR2_V1.0_100_20220701T0130_lst.tif", values, nodata=65_535))
    scene = file.read()
    assert scene.values.shape == (1, *SIZE)
    assert not scene.valid[0, 0]
    assert scene.values[0, 3, 3] == pytest.approx(values[0, 3, 3] * 0.01, abs=1e-4)
    assert file.encoding_to_write.nodata == 65_535


@pytest.mark.parametrize(
    "name", ["MOD11A1.061_LST_Day_1km_doy2020183_aid0001.tif", "VNP21A1D_LST_1KM.tif", "MYD11A1_LST_Night_1km.tif"]
)
def test_modis_and_viirs_as_geotiff(tmp_path, name):
    dn = numbers(14_000, 15_500)
    dn[0, 0], dn[0, 1] = 0, 20_000  # fill, 400 K
    scene = open_raster(tiff(tmp_path / name, dn)).read()
    assert np.array_equal(np.argwhere(~scene.valid), [[0, 0], [0, 1]])
    assert scene.values[0, 3, 3] == pytest.approx(dn[3, 3] * 0.02, abs=1e-4)


def test_celsius_becomes_kelvin_and_minus_80_of_seviri_is_missing(tmp_path):
    values = numbers(-20, 40, "float32")
    values[0, 0] = -80
    tagged = open_raster(tiff(tmp_path / "day.tif", values, units=("celsius",), nodata=-80))
    named = open_raster(tiff(tmp_path / "LSASAF_MSG_LST_Euro_200807010000.tif", values))
    for file in (tagged, named):
        scene = file.read()
        assert not scene.valid[0, 0]
        assert np.isnan(file.read_raw()[0, 0, 0])
        np.testing.assert_allclose(scene.values[0, 1:], values[1:] + 273.15, atol=1e-4)
        assert file.facts.units == ("kelvin",)


def test_zero_degrees_celsius_in_unsigned_numbers_is_a_temperature(tmp_path):
    values = numbers(0, 40, "uint8")
    values[2, 2] = 0
    scene = open_raster(tiff(tmp_path / "day.tif", values, units=("degC",))).read()
    assert scene.valid.all()
    assert scene.values[0, 2, 2] == pytest.approx(273.15)


@pytest.mark.parametrize("name", ["thermal", "LST", "temperature"])
def test_floats_of_that_name_are_kelvin_and_zero_is_none(tmp_path, name):
    values = numbers(280, 300, "float32")
    values[0, 0] = 0
    values[0, 1] = 700  # a fire: no product says what cannot be
    file = open_raster(tiff(tmp_path / "scene.tif", values, names=(name,)))
    scene = file.read()
    assert (file.bands.names, file.bands.bands[0].unit) == (("thermal",), Unit.KELVIN)
    assert np.array_equal(np.argwhere(~scene.valid), [[0, 0]])
    assert math.isnan(file.encoding_to_write.nodata)


def test_what_the_caller_declares_comes_first(tmp_path):
    path = tiff(tmp_path / SURFACE, surface_dn())
    assert open_raster(path, declared=Declared(unit=Unit.COUNT)).read().values.max() == 65_535
    celsius = tiff(tmp_path / "c.tif", numbers(280, 300, "float32"), units=("celsius",))
    assert open_raster(celsius, declared=Declared(unit=Unit.KELVIN)).read().values.max() < 300
    plain = tiff(tmp_path / "plain.tif", numbers(280, 300))
    file = open_raster(plain, declared=Declared(bands=("skin",), unit=Unit.KELVIN))
    assert (file.bands.names, file.encoding.dtype, file.encoding.nodata) == (("skin",), "uint16", 0.0)
    with pytest.raises(BandError, match="2 names were given"):
        open_raster(path, declared=Declared(bands=("a", "b")))


def test_integers_of_no_product_need_a_unit(tmp_path):
    with pytest.raises(UnitError, match="does not say the unit"):
        open_raster(tiff(tmp_path / "thermal.tif", numbers(280, 300), names=("thermal",)))


def test_a_thermal_scene_is_warped_as_kelvin_with_its_gaps(tmp_path):
    dn = np.full(SIZE, 42_000, np.uint16)
    dn[:, :2] = 293
    file = open_raster(tiff(tmp_path / SURFACE, dn))
    a, b, c, d, e, f = file.grid.transform
    other = Grid(UTM.to_wkt(), (a, b, c + 15.0, d, e, f - 15.0), 10, 8)
    scene = file.aligned(other, name="other").read()
    assert not scene.valid[:, 0].any()
    assert scene.valid[:, 4:].all()
    np.testing.assert_allclose(scene.values[0][scene.valid], 42_000 * 0.00341802 + 149, atol=1e-3)


def test_a_file_without_a_place_is_still_refused_unless_any_will_do(tmp_path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = tiff(tmp_path / SURFACE, surface_dn(), crs=None, transform=None)
    with pytest.raises(GridError, match="has no CRS"):
        open_raster(path)
    assert open_raster(path, anywhere=True).grid.crs == ""


def test_the_real_scene_is_read_as_it_is(real_data: Path):
    path = real_data / "thermal" / "landsat8_b10_kelvin.tif"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    file = open_raster(path)
    scene = file.read()
    assert (file.bands.names, file.grid.size) == (("thermal",), (169, 186))
    assert scene.valid.all()
    assert np.array_equal(scene.values[0], np.load(path.with_name("landsat8_b10.npy")))
