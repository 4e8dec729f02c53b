"""Temperatures in HDF5 and NetCDF: the right variable, its factor, its gaps and its place."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform

from eorestore.errors import BandError, DataError, GridError, MissingError, UnitError
from eorestore.raster import THERMAL, Unit, Window
from eorestore.raster.files import open_raster
from eorestore.raster.products import Declared
from thermal_files import SIZE, amsr2, classic, ecostress, goes, hdf, numbers, slstr, viirs


def test_ecostress_is_its_lst_with_gaps_where_none_was_produced(tmp_path):
    dn = numbers(14_000, 16_000)
    dn[0, 0], dn[0, 1] = 0, 30_000  # fill, 600 K
    quality = np.zeros(SIZE, np.uint16)
    quality[4, 4], quality[5, 5] = 0b11, 0b10  # not produced, cloud
    file = open_raster(ecostress(tmp_path / "ECOSTRESS_L2_LSTE_1.h5", dn, quality), anywhere=True)
    scene = file.read()
    assert file.bands == THERMAL
    assert np.array_equal(np.argwhere(~scene.valid), [[0, 0], [0, 1], [4, 4]])
    assert scene.values[0, 5, 5] == pytest.approx(dn[5, 5] * 0.02, abs=1e-4)
    assert file.grid.crs == ""
    assert any("1 pixels are outside" in note for note in file.notes)
    assert any("no regular grid" in note for note in file.notes)


def test_a_swath_is_refused_where_a_place_is_needed(tmp_path):
    path = ecostress(tmp_path / "a.h5", numbers(14_000, 16_000))
    with pytest.raises(GridError, match="no regular grid"):
        open_raster(path)


def test_viirs_lies_on_its_sinusoidal_tile(tmp_path):
    dn = numbers(14_000, 16_000)
    dn[1, 1] = 0
    file = open_raster(viirs(tmp_path / "VNP21A1D.A2020183.h18v04.002.h5", dn))
    scene = file.read()
    assert not scene.valid[1, 1]
    assert scene.values[0, 0, 0] == pytest.approx(dn[0, 0] * 0.02, abs=1e-4)
    xs, ys = zip(file.grid.position(0, 0), file.grid.position(*SIZE), strict=True)
    longitude, latitude = transform(rasterio.crs.CRS.from_wkt(file.grid.crs), "EPSG:4326", xs, ys)
    assert (longitude[0], latitude[0], latitude[1]) == pytest.approx((0.0, 50.0, 40.0), abs=1e-5)  # tile h18v04
    assert longitude[1] == pytest.approx(10 / np.cos(np.radians(40)), abs=1e-5)


def test_modis_day_and_night_must_be_chosen(tmp_path):
    day, night = numbers(15_000, 16_000), numbers(14_000, 15_000)
    path = hdf(tmp_path / "mod11.h5", {"LST_Day_1km": (day, {}), "LST_Night_1km": (night, {})})
    with pytest.raises(BandError, match="several temperatures: LST_Day_1km, LST_Night_1km"):
        open_raster(path, anywhere=True)
    file = open_raster(path, anywhere=True, declared=Declared(bands=("LST_Night_1km",)))
    assert (file.bands.names, file.descriptions) == (("thermal",), ("LST_Night_1km",))
    np.testing.assert_allclose(file.read().values[0], night * 0.02, atol=1e-4)
    with pytest.raises(BandError, match="has no variable LST_Dusk"):
        open_raster(path, anywhere=True, declared=Declared(bands=("LST_Dusk",)))
    with pytest.raises(BandError, match="2 variables"):
        open_raster(path, anywhere=True, declared=Declared(bands=("LST_Day_1km", "LST_Night_1km")))


def test_sentinel_3_is_read_from_its_folder(tmp_path):
    packed = numbers(-5_000, 15_000, "int16")
    packed[3, 3] = -32_768
    file = open_raster(slstr(tmp_path / "S3A_SL_2_LST____20220801.SEN3", packed), anywhere=True)
    scene = file.read()
    assert np.array_equal(np.argwhere(~scene.valid), [[3, 3]])
    assert scene.values[0, 0, 0] == pytest.approx(packed[0, 0] * 0.002 + 290, abs=1e-4)
    assert (file.descriptions, str(file.date.date())) == (("LST",), "2022-08-01")


def test_goes_is_unsigned_good_only_and_where_its_user_guide_says(tmp_path):
    """The place is the worked example of the GOES-R Product User's Guide, volume 3, section 5.1.2.8."""
    stored = numbers(1_000, 3_000)
    stored[2, 2] = 40_000  # above 32767: negative as int16
    stored[0, 0] = 65_535
    quality = np.zeros(SIZE, np.uint8)
    quality[1, 1], quality[1, 2] = 1, 255
    x = -0.024052 + 5.6e-5 * np.arange(SIZE[1])
    y = 0.095340 - 5.6e-5 * np.arange(SIZE[0])
    file = open_raster(goes(tmp_path / "OR_ABI-L2-CMIPC-M6C13_G16.nc", stored, quality, x, y))
    raw = file.read_raw()[0]
    assert np.array_equal(np.argwhere(np.isnan(raw)), [[0, 0], [1, 1], [1, 2]])
    assert raw[4, 4] == pytest.approx(stored[4, 4] * 0.05 + 150, abs=1e-3)
    assert raw[2, 2] == pytest.approx(2_150, abs=1e-2)
    centre = file.grid.position(0.5, 0.5)
    longitude, latitude = transform(rasterio.crs.CRS.from_wkt(file.grid.crs), "EPSG:4326", *([v] for v in centre))
    assert (longitude[0], latitude[0]) == pytest.approx((-84.690932, 33.846162), abs=1e-4)


@pytest.mark.parametrize("name", ["36.5GHz-V", "36.5V", "Brightness Temperature 36.5GHz V"])
def test_an_amsr2_channel_is_chosen_by_name_without_commas(tmp_path, name):
    vertical, horizontal = numbers(15_000, 30_000), numbers(8_000, 28_000)
    vertical[0, :3] = 65_535, 65_534, 0
    horizontal[0, 0] = 9_000  # 90 K: low, but of microwaves
    path = amsr2(tmp_path / "GW1AM2_L1B.h5", {"36.5GHz,V": vertical, "36.5GHz,H": horizontal})
    with pytest.raises(BandError, match=r"36\.5GHz-V, 36\.5GHz-H|36\.5GHz-H, 36\.5GHz-V"):
        open_raster(path, anywhere=True)
    scene = open_raster(path, anywhere=True, declared=Declared(bands=(name,))).read()
    assert np.array_equal(np.argwhere(~scene.valid), [[0, 0], [0, 1], [0, 2]])
    np.testing.assert_allclose(scene.values[0, 1:], vertical[1:] * 0.01, atol=1e-4)
    cold = open_raster(path, anywhere=True, declared=Declared(bands=("36.5GHz-H",))).read()
    assert cold.valid.all()
    assert cold.values[0, 0, 0] == pytest.approx(90)


@pytest.mark.parametrize(("unit", "zero"), [("K", 0.0), ("degC", 273.15), ("Celsius", 273.15)])
def test_a_classic_netcdf_lies_where_gdal_says(tmp_path, unit, zero):
    values = numbers(280, 300, "float32") - np.float32(zero)
    values[2, 2] = -999
    path = classic(tmp_path / "tas.nc", values, unit=unit, _FillValue=np.float32(-999))
    file = open_raster(path)
    scene = file.read()
    assert np.array_equal(np.argwhere(~scene.valid), [[2, 2]])
    np.testing.assert_allclose(scene.values[0][scene.valid], (values + zero)[scene.valid], atol=1e-4)
    with rasterio.open(f'NETCDF:"{path}":tas') as gdal:
        assert file.grid.transform == pytest.approx(tuple(gdal.transform)[:6])
    assert 'AUTHORITY["EPSG","4326"]' in file.grid.crs


def test_packed_numbers_of_a_classic_netcdf(tmp_path):
    packed = numbers(-2_000, 2_000, "int16")
    packed[1, 0] = -32_767
    told = {"scale_factor": 0.01, "add_offset": 280.0, "_FillValue": np.int16(-32_767)}
    scene = open_raster(classic(tmp_path / "tas.nc", packed, unit="K", **told)).read()
    assert np.array_equal(np.argwhere(~scene.valid), [[1, 0]])
    np.testing.assert_allclose(scene.values[0, 2:], packed[2:] * 0.01 + 280, atol=1e-4)


def test_a_place_by_geotransform_as_gdal_writes_it(tmp_path):
    mapping = {"spatial_ref": rasterio.crs.CRS.from_epsg(32632).to_wkt(), "GeoTransform": "600000 70 0 5300000 0 -70 "}
    values = (numbers(280, 300, "float32"), {"units": "K", "grid_mapping": "crs"})
    file = open_raster(hdf(tmp_path / "lst.nc", {"LST": values, "crs": (np.int32(0), mapping)}))
    assert file.grid.transform == (70.0, 0.0, 600_000.0, 0.0, -70.0, 5_300_000.0)
    assert "UTM zone 32N" in file.grid.crs


def test_uneven_latitudes_are_no_grid(tmp_path):
    latitude = (np.geomspace(40, 50, SIZE[0]), {"units": "degrees_north"})
    longitude = (np.linspace(5, 6, SIZE[1]), {"units": "degrees_east"})
    values = (numbers(280, 300, "float32"), {"units": "K"})
    path = hdf(tmp_path / "t.nc", {"t": values, "lat": latitude, "lon": longitude})
    assert open_raster(path, anywhere=True).grid.crs == ""


def test_a_variable_without_a_unit_must_be_declared(tmp_path):
    path = hdf(tmp_path / "a.h5", {"first": (numbers(280, 300), {}), "second": (numbers(280, 300), {})})
    with pytest.raises(BandError, match="no variable that is known to be a temperature: first, second"):
        open_raster(path, anywhere=True)
    with pytest.raises(UnitError, match="does not say the unit of first"):
        open_raster(path, anywhere=True, declared=Declared(bands=("first",)))
    file = open_raster(path, anywhere=True, declared=Declared(bands=("first",), unit=Unit.KELVIN))
    assert file.read().valid.all()


def test_a_factor_in_words_is_no_factor(tmp_path):
    told = {"units": "K", "scale_factor": "n/a"}
    path = hdf(tmp_path / "a.h5", {"odd": (numbers(280, 300), told), "good": (numbers(280, 300), {"units": "K"})})
    assert open_raster(path, anywhere=True).descriptions == ("good",)
    with pytest.raises(DataError, match="n/a"):
        open_raster(path, anywhere=True, declared=Declared(bands=("odd",), unit=Unit.KELVIN))


def test_a_stack_of_temperatures_is_not_taken_for_bands(tmp_path):
    stack = np.full((12, *SIZE), 280, np.float32)
    path = hdf(tmp_path / "year.nc", {"tas": (stack, {"units": "K"})})
    with pytest.raises(BandError, match=r"more than two dimensions: tas \(12, 12, 10\)"):
        open_raster(path, anywhere=True)


def test_what_the_netcdf_library_writes_where_nothing_was_is_missing(tmp_path):
    values = numbers(280, 300, "float32")
    values[0, 0] = 9.969209968386869e36
    scene = open_raster(hdf(tmp_path / "t.nc", {"t": (values, {"units": "K"})}), anywhere=True).read()
    assert np.array_equal(np.argwhere(~scene.valid), [[0, 0]])


def test_windows_and_threads_read_what_the_whole_does(tmp_path):
    file = open_raster(viirs(tmp_path / "v.h5", numbers(14_000, 16_000)))
    whole = file.read_raw()
    assert np.array_equal(file.crop(Window(1, 2, 9, 7)).read_raw(Window(2, 1, 3, 4)), whole[:, 3:6, 3:7])
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(file.read_raw())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 3
    assert all(np.array_equal(one, whole) for one in seen)


@pytest.mark.parametrize("keep", [0, 4, 300, 0.6])
@pytest.mark.parametrize("kind", ["hdf5", "classic"])
def test_a_file_cut_short_is_refused_in_one_line(tmp_path, kind, keep):
    size = (60, 50)
    if kind == "hdf5":
        path = ecostress(tmp_path / "a.nc", numbers(14_000, 16_000, size=size))
    else:
        path = classic(tmp_path / "a.nc", numbers(280, 300, "float32", size), unit="K")
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(DataError) as caught:
        open_raster(path, anywhere=True).read()
    assert "\n" not in str(caught.value)
    assert "a.nc" in str(caught.value)


def test_damaged_pixels_are_told_when_they_are_read(tmp_path):
    path = ecostress(tmp_path / "a.h5", numbers(14_000, 16_000, size=(200, 200)))
    import h5py

    with h5py.File(path) as file:
        chunk = file["SDS/LST"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="cannot be read"):
        open_raster(path, anywhere=True).read()


def test_hdf4_is_refused_with_a_way_out(tmp_path):
    path = tmp_path / "MOD11A1.A2020183.h18v04.061.hdf"
    path.write_bytes(b"\x0e\x03\x13\x01" + bytes(100))
    with pytest.raises(DataError, match="HDF4") as caught:
        open_raster(path)
    assert "gdal_translate" in caught.value.fix


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    path = ecostress(tmp_path / "a.h5", numbers(14_000, 16_000))
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingError) as caught:
        open_raster(path, anywhere=True)
    assert "eorestore[hdf]" in caught.value.fix
