"""Thermal products through the command line: enlarged as they are, kelvin or DN out, gaps kept."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from eorestore.cli.app import run
from eorestore.raster.files import open_raster
from thermal_files import amsr2, ecostress, numbers, slstr, tiff, viirs

SIZE = (40, 36)
ENLARGE = ("restore", "-m", "bicubic", "--scale", "2", "-o", "x2.tif")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dn(low: int, high: int, dtype: str = "uint16") -> np.ndarray:
    return numbers(low, high, dtype, SIZE)


def out() -> tuple[np.ndarray, dict]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        file = rasterio.open("x2.tif")
    with file:
        told = {
            "dtype": file.dtypes[0], "nodata": file.nodata, "unit": file.units[0], "name": file.descriptions[0],
            "scale": file.scales[0], "offset": file.offsets[0], "crs": file.crs,
        }  # fmt: skip
        return file.read(1), told


def test_landsat_surface_temperature_stays_dn_with_its_factor_written(here):
    values = dn(38_000, 48_000)
    values[:6, :8] = 293
    path = tiff(here / "LC08_L2SP_015034_20210704_20210712_02_T1_ST_B10.TIF", values, scale=1.0)
    assert run([*ENLARGE, path.name]) == 0
    raw, told = out()
    assert (told["dtype"], told["nodata"], told["unit"], told["name"]) == ("uint16", 0, "kelvin", "thermal")
    assert (told["scale"], told["offset"]) == pytest.approx((0.00341802, 149.0))
    assert np.array_equal(raw == 0, np.kron(values == 293, np.ones((2, 2), bool)))
    again = open_raster("x2.tif").read()
    assert again.bands.names == ("thermal",)
    assert again.values[0][again.valid] == pytest.approx(raw[raw > 0] * 0.00341802 + 149.0, abs=1e-3)


def test_a_swath_comes_out_as_float_kelvin_with_nan_gaps(here):
    values = dn(14_000, 16_000)
    values[10:14, 3:9] = 0
    ecostress(here / "ECOSTRESS_L2_LSTE_1.h5", values)
    assert run([*ENLARGE, "ECOSTRESS_L2_LSTE_1.h5"]) == 0
    raw, told = out()
    assert (told["dtype"], told["unit"], told["name"], told["crs"]) == ("float32", "kelvin", "LST", None)
    assert np.isnan(told["nodata"])
    assert np.array_equal(np.isnan(raw), np.kron(values == 0, np.ones((2, 2), bool)))
    blocks = raw.reshape(SIZE[0], 2, SIZE[1], 2).mean(axis=(1, 3))
    assert np.nanmax(np.abs(blocks - values * 0.02)[16:]) < 10  # kelvin, of noise


def test_a_gridded_product_keeps_its_place(here):
    viirs(here / "VNP21A1D.h5", dn(14_000, 16_000))
    assert run([*ENLARGE, "VNP21A1D.h5"]) == 0
    with rasterio.open("x2.tif") as file:
        assert "Sinusoidal" in file.crs.to_wkt()
        assert file.bounds == pytest.approx((0.0, 4447802.078667, 1111950.519667, 5559752.598333))


def test_a_sentinel_3_folder_gives_one_file(here):
    slstr(here / "S3A_SL_2_LST.SEN3", dn(-5_000, 15_000, "int16"))
    (here / "S3A_SL_2_LST.SEN3" / "quicklook.jpg").write_bytes(b"a picture beside the measurements")
    assert run([*ENLARGE, "S3A_SL_2_LST.SEN3"]) == 0
    assert set(json.loads(Path("x2.tif.json").read_text())["input"]["files"]) == {"LST_in.nc"}


def test_a_channel_and_a_plain_array_are_named_on_the_command_line(here):
    amsr2(here / "tb.h5", {"36.5GHz,V": dn(15_000, 30_000), "36.5GHz,H": dn(8_000, 28_000)})
    np.save(here / "a.npy", dn(280, 300, "float32"))
    assert run([*ENLARGE, "tb.h5", "--bands", "36.5GHz-V"]) == 0
    assert out()[1]["name"] == "36.5GHz-V"
    assert run([*ENLARGE, "a.npy", "--unit", "kelvin", "--overwrite"]) == 0
    assert out()[1]["name"] == "thermal"


def test_a_model_that_keeps_the_size_writes_the_unit_too(here):
    path = tiff(here / "lst.tif", dn(280, 300, "float32"), names=("LST",))
    assert run(["restore", "-m", "identity", path.name, "-o", "same.tif", "--mask", "none"]) == 0
    with rasterio.open("same.tif") as file:
        assert file.units == ("kelvin",)


@pytest.mark.parametrize(
    ("name", "words"),
    [("two.h5", "several temperatures"), ("cut.h5", "cannot be read"), ("hdf4.hdf", "HDF4"), ("a.npy", "does not say"),
     ("dn.tif", "called kelvin"), ("none.h5", "does not exist")],
)  # fmt: skip
def test_what_cannot_be_read_ends_with_one_line_a_fix_and_nothing_written(here, capsys, name, words):
    amsr2(here / "two.h5", {"36.5GHz,V": dn(15_000, 30_000), "36.5GHz,H": dn(8_000, 28_000)})
    ecostress(here / "cut.h5", dn(14_000, 16_000))
    (here / "cut.h5").write_bytes((here / "cut.h5").read_bytes()[:900])
    (here / "hdf4.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(64))
    np.save(here / "a.npy", dn(280, 300, "float32"))
    tiff(here / "dn.tif", dn(38_000, 48_000, "float32"), names=("thermal",))
    assert run([*ENLARGE, name]) == 4
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert words in lines[0]
    assert lines[1].startswith("fix: ")
    assert list(here.glob("x2*")) == []


def test_info_tells_the_product_and_its_rules(here, capsys):
    ecostress(here / "ECOSTRESS_L2_LSTE_1.h5", dn(14_000, 16_000))
    assert run(["info", "ECOSTRESS_L2_LSTE_1.h5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bands"] == ["thermal (kelvin)"]
    assert any("ECOSTRESS L2 LSTE, kelvin = DN x 0.02" in rule for rule in told["rules"])
