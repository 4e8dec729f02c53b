"""Real Sentinel scenes through the command line: grids, band names, clear pixels, shares and golden scores."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from eorestore.cli.app import run
from small_scenes import read_tif

pytestmark = pytest.mark.real
NATIVE_10_M = ("B2", "B3", "B4", "B8")


@pytest.fixture
def winter(real_data) -> Path:
    return real_data / "cloud" / "sen12mscr" / "ROIs2017_winter_112_p797"


@pytest.fixture
def place(real_data) -> Path:
    return real_data / "cloud" / "ssl4eo"


def acquisition(place: Path, product: str, date: str) -> Path:
    return next((place / product / "0000200").glob(f"*{date}T*"))


def clear_share(text: str) -> float:
    return float(re.search(r"mask auto marks ([\d.]+) % of the valid pixels", text)[1])


@pytest.mark.parametrize("model", ["identity", "inpaint", "sar-regression"])
def test_winter_112_keeps_its_grid_names_and_dtype(winter, tmp_path, model):
    scene, out = winter / "s2_cloudy.tif", tmp_path / "out.tif"
    assert run(["restore", str(scene), "--sar", str(winter / "s1.tif"), "-m", model, "-o", str(out)]) == 0
    with rasterio.open(scene) as before, rasterio.open(out) as after:
        assert (after.crs, after.transform, after.shape) == (before.crs, before.transform, before.shape)
        assert (after.dtypes, after.count, after.nodata) == (before.dtypes, before.count, before.nodata)
        assert after.descriptions == before.descriptions if any(before.descriptions) else len(after.descriptions) == 13
        restored = json.loads(Path(f"{out}.json").read_text())["masked_share"]
        same = (before.read() == after.read()).all(axis=0)
    assert 1 - same.mean() <= restored + 1e-9


def test_doing_nothing_on_winter_112_scores_what_others_measured(winter, tmp_path):
    """20.401 dB, 0.729 and 21.39 degrees over 256 x 256 were measured apart from this package."""
    out = tmp_path / "out.tif"
    command = ["restore", str(winter / "s2_cloudy.tif"), "-m", "identity", "-o", str(out)]
    assert run([*command, "--reference", str(winter / "s2_cloudfree.tif")]) == 0
    scores = json.loads(Path(f"{out}.json").read_text())["metrics"]
    assert scores["psnr"] == pytest.approx(20.401, abs=0.001)
    assert scores["ssim"] == pytest.approx(0.729, abs=0.001)
    assert scores["sam"] == pytest.approx(21.39, abs=0.01)


def test_doing_nothing_on_the_centre_of_winter_112_scores_what_others_measured(winter, tmp_path):
    """19.44 dB and 21.7 degrees over the centre 128 x 128, cut with --bbox."""
    out = tmp_path / "out.tif"
    with rasterio.open(winter / "s2_cloudy.tif") as file:
        left, top = file.xy(64, 64, offset="ul")
        right, bottom = file.xy(191, 191, offset="lr")
    command = ["restore", str(winter / "s2_cloudy.tif"), "-m", "identity", "-o", str(out)]
    box = f"{left},{bottom},{right},{top}"
    assert run([*command, "--reference", str(winter / "s2_cloudfree.tif"), "--bbox", box]) == 0
    assert read_tif(out).shape == (13, 128, 128)
    scores = json.loads(Path(f"{out}.json").read_text())["metrics"]
    assert scores["psnr"] == pytest.approx(19.44, abs=0.01)
    assert scores["sam"] == pytest.approx(21.7, abs=0.05)


@pytest.mark.parametrize("model", ["identity", "inpaint", "sar-regression"])
def test_the_cloudy_acquisition_comes_out_on_its_own_grids(place, tmp_path, model, capfd):
    scene, sar = acquisition(place, "s2c", "20200823"), acquisition(place, "s1", "20200903")
    out = tmp_path / "clear"
    assert run(["restore", str(scene), "--sar", str(sar), "-m", model, "-o", str(out), "--save", "source"]) == 0
    assert 40 < clear_share(capfd.readouterr().err) < 90
    source = read_tif(tmp_path / "clear.source.tif")[0]
    for path in sorted(scene.glob("*.tif")):
        with rasterio.open(path) as before, rasterio.open(out / path.name) as after:
            assert (after.crs, after.transform, after.shape) == (before.crs, before.transform, before.shape)
            assert after.dtypes == before.dtypes
            old, new = before.read(1), after.read(1)
        if path.stem in NATIVE_10_M:
            assert np.array_equal(new[source == 1], old[source == 1]), path.name
            if model != "identity":
                assert (new != old)[source == 2].mean() > 0.9
    facts = json.loads(Path(f"{out}.json").read_text())
    assert facts["date_gap_days"] == pytest.approx(11, abs=1)
    assert any("days apart" in warning for warning in facts["warnings"])
    assert any("covers 98.5% of" in note for note in facts["notes"])


def test_the_cloudy_acquisition_comes_out_as_one_file_on_the_finest_grid(place, tmp_path):
    scene, sar = acquisition(place, "s2c", "20200823"), acquisition(place, "s1", "20200903")
    out = tmp_path / "clear.tif"
    assert run(["restore", str(scene), "--sar", str(sar), "-m", "inpaint", "-o", str(out), "--save", "source"]) == 0
    source = read_tif(tmp_path / "clear.source.tif")[0]
    with rasterio.open(scene / "B2.tif") as before, rasterio.open(out) as after:
        assert (after.crs, after.transform, after.shape) == (before.crs, before.transform, before.shape)
        names, values = after.descriptions, after.read()
    for name in NATIVE_10_M:
        index = names.index(f"B0{name[1]}")
        assert np.array_equal(values[index][source == 1], read_tif(scene / f"{name}.tif")[0][source == 1])
    notes = json.loads(Path(f"{out}.json").read_text())["notes"]
    assert any("B01, B05, B06, B07, B8A, B09, B10, B11, B12 resampled" in note for note in notes)


@pytest.mark.parametrize(("product", "date"), [("s2c", "20200604"), ("s2a", "20200604"), ("s2a", "20200813")])
def test_clear_dates_are_called_clear(place, tmp_path, product, date, capfd):
    scene = acquisition(place, product, date)
    assert run(["restore", str(scene), "-m", "inpaint", "-o", str(tmp_path / "out.tif")]) == 0
    assert clear_share(capfd.readouterr().err) < 5


def test_coarse_bands_are_continued_to_the_edge_of_the_finest_grid(real_data):
    from eorestore.raster.files import open_raster

    folder = real_data / "cloud/ssl4eo/s2c/0000200/20200823T054639_20200823T055618_T43RCP"
    raw = open_raster(folder).read_raw()
    assert (raw[[0, 9, 11]] > 0).all()
    assert (raw[0, :, -1] == raw[0, :, -4]).mean() > 0.5
