"""`eorestore compress`, `decompress`, `export` and `info` on small scenes, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

import eorestore as eor
from eorestore.cli.app import run
from eorestore.codec.stored_scene import StoredScene
from eorestore.errors import MissingError, UsageError, WriteError
from eorestore.raster import Window
from eorestore.raster.files import lerc
from small_sar import sar_raster, sar_values, use_plain_coders, write_sar
from small_scenes import read_tif


@pytest.fixture(autouse=True)
def _plain_coders(monkeypatch):
    use_plain_coders(monkeypatch)


@pytest.fixture
def values():
    found = sar_values((300, 280))
    found[:, :60, :50] = np.nan
    return found


@pytest.fixture(autouse=True)
def _scene(tmp_path, values, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sar(tmp_path / "s1.tif", values, tags={"DATETIME": "2021-05-10"})


def test_a_scene_goes_to_a_file_and_back(values, capsys):
    assert run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "0.5"]) == 0
    told = capsys.readouterr().out
    assert "bits per pixel" in told
    assert "largest error 0.500 dB" in told
    assert run(["decompress", "s1.eoz", "-o", "back.tif"]) == 0
    back = read_tif(Path("back.tif"))
    assert np.array_equal(np.isnan(back), np.isnan(values))
    assert np.nanmax(np.abs(back - values)) <= 0.5 + 1e-5
    with rasterio.open("back.tif") as written, rasterio.open("s1.tif") as given:
        assert (written.crs, written.transform, written.descriptions) == (given.crs, given.transform, ("VV", "VH"))
        assert written.units == ("decibel", "decibel")
        assert written.tags()["DATETIME"] == "2021-05-10"
        assert written.tags()["EORESTORE_MAX_ERROR_DB"] == "0.5"


def test_sidecars_and_previews_stand_beside_the_results():
    assert run(["compress", "s1.tif", "-o", "s1.eoz", "--quality", "4"]) == 0
    assert run(["decompress", "s1.eoz", "-o", "back.tif"]) == 0
    facts = json.loads(Path("s1.eoz.json").read_text())
    assert facts["bytes"] == Path("s1.eoz").stat().st_size
    assert facts["mode"] == "fidelity"
    assert facts["input"]["bands"] == ["VV", "VH"]
    assert json.loads(Path("back.tif.json").read_text())["input"]["bytes"] == facts["bytes"]
    for name in ("s1.eoz.preview.png", "back.tif.preview.png"):
        with rasterio.open(name) as picture:
            assert (picture.count, picture.height, picture.width) == (3, 300, 280)


@pytest.mark.parametrize(
    "options",
    [
        ["--lossless"],
        ["--quicklook"],
        ["--preset", "downlink"],
        ["--bpp", "3"],
        ["--psnr", "33"],
        ["--tile", "256"],
        [],
    ],
)
def test_every_way_to_ask_gives_a_file_that_opens(options, capsys):
    assert run(["compress", "s1.tif", "-o", "s1.eoz", "--json", *options]) == 0
    facts = json.loads(capsys.readouterr().out)
    if "--bpp" in options:
        assert 2.8 < facts["bits_per_pixel"] <= 3
    if "--psnr" in options:
        assert 33 <= facts["psnr30_db"] < 33.2
    with StoredScene(Path("s1.eoz")) as stored:
        assert stored.check() == ()


def test_check_decodes_the_file_and_prints_metrics(capsys):
    assert run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "0.5", "--check"]) == 0
    told = capsys.readouterr().out
    assert "gaps_equal True" in told
    assert "block_bias_median_db" in told
    facts = json.loads(Path("s1.eoz.json").read_text())
    assert facts["check"]["psnr30_db"] == pytest.approx(facts["psnr30_db"], abs=0.01)
    assert facts["check"]["largest_error_db"] <= 0.5001


def test_a_window_is_a_crop_of_the_whole():
    run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "1", "--tile", "256"])
    run(["decompress", "s1.eoz", "-o", "whole.tif"])
    assert run(["decompress", "s1.eoz", "-o", "part.tif", "--window", "240", "10", "30", "280"]) == 0
    assert np.array_equal(read_tif(Path("part.tif")), read_tif(Path("whole.tif"))[:, 10:290, 240:270], equal_nan=True)
    with rasterio.open("part.tif") as part, rasterio.open("whole.tif") as whole:
        assert part.transform == whole.window_transform(rasterio.windows.Window(240, 10, 30, 280))


def test_info_tells_what_a_file_holds(capsys):
    run(["-q", "compress", "s1.tif", "-o", "s1.eoz", "--max-error", "1"])
    assert run(["info", "s1.eoz", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bands"] == ["VV (decibel)", "VH (decibel)"]
    assert (facts["mode"], facts["max_error_db"], facts["crs"]) == ("max-error", 1.0, "EPSG:32630")
    assert facts["size"] == [300, 280]


@pytest.mark.parametrize(("options", "bound"), [([], 1.0 + 0.005), (["--max-error", "0"], 1.0)])
def test_export_writes_a_cog_with_lerc(values, options, bound):
    run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "1"])
    assert run(["export", "s1.eoz", "cog.tif", *options]) == 0
    with rasterio.open("cog.tif") as written:
        assert written.profile["compress"].upper() == "LERC_ZSTD"
        assert written.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        back = written.read()
    assert np.array_equal(np.isnan(back), np.isnan(values))
    assert np.nanmax(np.abs(back - values)) <= bound + 1e-4


def test_export_says_where_gdal_lacks_lerc(monkeypatch, capsys):
    run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "1"])
    real = lerc.rasterio.shutil.copy
    monkeypatch.setattr(lerc.rasterio.shutil, "copy", lambda *a, **k: real(*a, **{**k, "compress": "DEFLATE"}))
    assert run(["export", "s1.eoz", "cog.tif"]) == MissingError.exit_code
    assert "cannot write LERC_ZSTD" in capsys.readouterr().err
    assert not list(Path().glob("*cog*"))
    assert not list(Path().glob(".*"))


def test_a_folder_of_scenes_goes_to_a_folder(capsys):
    for number in range(2):
        write_sar(Path(f"in/s{number}.tif"), sar_values((64, 64), seed=number))
    assert run(["compress", "in", "-o", "out", "--max-error", "1", "--json"]) == 0
    assert [Path(facts["output"]).name for facts in json.loads(capsys.readouterr().out)] == ["s0.eoz", "s1.eoz"]
    assert sorted(path.name for path in Path("out").glob("*.eoz")) == ["s0.eoz", "s1.eoz"]
    assert run(["compress", "in", "-o", "out", "--max-error", "1"]) == WriteError.exit_code
    assert run(["compress", "in", "-o", "out", "--max-error", "1", "--overwrite"]) == 0


def test_one_bad_scene_stops_no_folder(capsys):
    write_sar(Path("in/a.tif"), np.full((2, 64, 64), np.nan, np.float32))
    write_sar(Path("in/b.tif"), sar_values((64, 64)))
    assert run(["compress", "in", "-o", "out", "--max-error", "1"]) == 4
    said = capsys.readouterr().err
    assert "a.tif: the scene has no valid pixel" in said
    assert "1 of 2 scenes failed: a.tif" in said
    assert [path.name for path in Path("out").glob("*.eoz")] == ["b.eoz"]


def test_a_folder_of_band_files_is_one_scene():
    values = sar_values((64, 64))
    for name, plane in zip(("VV", "VH"), values, strict=True):
        write_sar(Path(f"scene/{name}.tif"), plane[None], names=(name,))
    assert run(["compress", "scene", "-o", "s1.eoz", "--max-error", "1"]) == 0
    with StoredScene(Path("s1.eoz")) as stored:
        assert stored.bands.names == ("VV", "VH")
        assert np.abs(stored.read_raw() - values).max() <= 1 + 1e-5


def test_unit_bands_and_nodata_can_be_declared():
    counts = np.rint(10 ** (sar_values((64, 64)) / 20) * 3000).astype(np.uint16)
    counts[:, :10] = 7
    write_sar(Path("s1.tif"), counts, unit="", names=("band 1", "band 2"))
    declared = ["--unit", "amplitude", "--bands", "vv,vh", "--nodata", "7"]
    assert run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "0.2", *declared]) == 0
    with StoredScene(Path("s1.eoz")) as stored:
        back = stored.read_raw()
        assert stored.bands.names == ("VV", "VH")
    assert (back[:, :10] == 7).all()
    assert np.abs(20 * np.log10(back[:, 10:] / counts[:, 10:])).max() <= 0.2001


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["compress", "s1.tif", "-o", "s1.tif2"], 2, "no output format"),
        (["compress", "s1.tif", "-o", "no/s1.eoz"], 5, "no folder"),
        (["compress", "none.tif", "-o", "a.eoz"], 4, "does not exist"),
        (["compress", "s1.tif", "-o", "a.eoz", "--quality", "3", "--bpp", "1"], 2, "contradict"),
        (["compress", "s1.tif", "-o", "a.eoz", "--preset", "archve"], 2, "did you mean 'archive'"),
        (["compress", "s1.tif", "-o", "a.eoz", "--tile", "100"], 2, "256 or 512"),
        (["compress", "s1.tif", "-o", "a.eoz", "--unit", "kelvin"], 2, "no decibel"),
        (["decompress", "s1.tif", "-o", "b.tif"], 4, "no .eoz file"),
        (["decompress", "none.eoz", "-o", "b.tif"], 4, "cannot be opened"),
        (["info", "none.eoz"], 4, "cannot be opened"),
    ],
)
def test_mistakes_have_their_exit_codes_and_a_fix(arguments, code, said, capsys):
    assert run(arguments) == code
    told = capsys.readouterr().err
    assert said in told
    assert "fix: " in told
    assert sorted(path.name for path in Path().iterdir()) == ["s1.tif"]


def test_nothing_is_overwritten_unasked():
    run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "1"])
    before = Path("s1.eoz").read_bytes()
    assert run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "2"]) == 5
    assert run(["decompress", "s1.eoz", "-o", "s1.tif"]) == 5
    assert run(["export", "s1.eoz", "s1.tif"]) == 5
    assert Path("s1.eoz").read_bytes() == before
    assert run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "2", "--overwrite"]) == 0
    assert len(Path("s1.eoz").read_bytes()) < len(before)


def test_damaged_tiles_are_named_and_left_out_where_asked(values, capsys):
    run(["compress", "s1.tif", "-o", "s1.eoz", "--max-error", "1", "--tile", "256"])
    content = bytearray(Path("s1.eoz").read_bytes())
    content[-10] ^= 1
    Path("s1.eoz").write_bytes(bytes(content))
    assert run(["decompress", "s1.eoz", "-o", "back.tif"]) == 4
    assert "tile row 1, column 1 (rows 256 to 299, columns 256 to 279)" in capsys.readouterr().err
    assert not Path("back.tif").exists()
    assert run(["decompress", "s1.eoz", "-o", "back.tif", "--keep-going"]) == 0
    back = read_tif(Path("back.tif"))
    assert np.isnan(back[:, 256:, 256:]).all()
    assert np.nanmax(np.abs(back - values)) <= 1 + 1e-5
    assert np.isfinite(back[:, 256:, :256]).all()
    assert "row 1, column 1" in json.loads(Path("back.tif.json").read_text())["damaged_tiles"][0]


def test_quiet_says_nothing(capfd):
    assert run(["-q", "compress", "s1.tif", "-o", "s1.eoz", "--quality", "5"]) == 0
    assert run(["-q", "decompress", "s1.eoz", "-o", "back.tif"]) == 0
    assert capfd.readouterr() == ("", "")


def test_the_functions_do_what_the_commands_do(values):
    info = eor.compress("s1.tif", "s1.eoz", quality=5)
    assert info.bits_per_pixel == pytest.approx(8 * Path("s1.eoz").stat().st_size / values.size)
    assert eor.decompress("s1.eoz", "back.tif") == Path("back.tif")
    raster = eor.decompress("s1.eoz", window=(200, 100, 30, 20))
    expected = read_tif(Path("back.tif"))[:, 100:120, 200:230]
    assert np.array_equal(raster.values, expected)
    with pytest.raises(UsageError, match="compress takes no speed"):
        eor.compress("s1.tif", "b.eoz", speed=3)
    with pytest.raises(WriteError, match="exists already"):
        eor.compress("s1.tif", "s1.eoz")


def test_rasters_and_dataarrays_are_taken_too():
    raster = sar_raster((64, 70), hole=True)
    eor.compress(raster, "a.eoz", max_error=0.5)
    back = eor.decompress("a.eoz")
    assert np.array_equal(back.valid, raster.valid)
    assert np.abs(back.values - raster.values)[:, raster.valid].max() <= 0.5 + 1e-5
    xr = pytest.importorskip("xarray", reason="xarray is not installed: pip install 'eorestore[xarray]'")
    pytest.importorskip("rioxarray", reason="rioxarray is not installed: pip install 'eorestore[xarray]'")
    array = xr.DataArray(raster.values, dims=("band", "y", "x"), coords={"band": ["VV", "VH"]})
    array = array.rio.write_crs("EPSG:32630").rio.write_transform(rasterio.Affine(*raster.grid.transform))
    eor.compress(array, "b.eoz", max_error=0.5)
    assert eor.decompress("b.eoz").crop(Window(30, 30, 5, 5)).values == pytest.approx(
        back.crop(Window(30, 30, 5, 5)).values
    )  # fmt: skip
