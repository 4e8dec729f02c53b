"""`eorestore zero-shot --guide` from the command line: files in, a file out, and one line for what does not go."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eorestore.cli.app import run
from eorestore.data.synthetic_scene import UTM_32N
from eorestore.processing.block_means import block_mean
from eorestore.raster import Grid, Raster
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import open_raster, write_raster
from eorestore.restorer import guide as guide_module
from guided_scenes import place

FLOAT = Encoding("float32", nodata=float("nan"))
QUICK = [
    "-s", "network.start=none", "-s", "network.settings={channels: 16, blocks: 2}", "-s", "learning.steps=20",
    "-s", "learning.learning_rate=2e-3", "-s", "inference.ensemble=none",
]  # fmt: skip


def placed(raster):
    return replace(raster, grid=replace(raster.grid, crs=UTM_32N))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A thermal scene with a gap, and a guide on pixels of its own that reaches farther."""
    monkeypatch.chdir(tmp_path)
    made = place(height=40, width=44, factor=4, field=4.0, blur=20.0)
    scene = replace(made, low=placed(made.low), guide=placed(made.guide))
    low = scene.low.crop(replace(scene.low.grid.window(scene.low.grid.bounds), row=2, column=3, height=36, width=38))
    valid = low.valid.copy()
    valid[4:7, 5:9] = False
    write_raster(tmp_path / "thermal.tif", Raster(low.values, valid, low.bands, low.grid), encoding=FLOAT)
    write_raster(tmp_path / "optical.tif", scene.guide, encoding=FLOAT)
    return scene, low, valid


def enlarge(*arguments, scale=4):
    return run(["zero-shot", "thermal.tif", "--scale", str(scale), "-o", "out.tif", *QUICK, *arguments])


@pytest.mark.parametrize("method", ["auto", "network", "atprk", "tsharp"])
def test_a_guided_scene_comes_out_in_kelvin_on_the_fine_grid(world, method, capsys):
    scene, low, valid = world
    assert enlarge("--guide", "optical.tif", "--method", method, "--guide-bands", "ndvi,B11") == 0
    made = open_raster("out.tif")
    assert made.grid.same_as(low.grid.scale(4))
    assert made.encoding.dtype == "float32"
    assert made.tags["EORESTORE_GUIDE"] == "optical.tif"
    raster = made.read()
    assert np.array_equal(raster.valid, np.kron(valid, np.ones((4, 4), bool)))
    means, _ = block_mean(raster.values[0].astype(np.float64), raster.valid, factor=4)
    assert np.abs(means - low.values[0])[valid].max() < 1e-4
    truth = scene.truth[8:152, 12:164]
    assert np.sqrt(np.mean((raster.values[0] - truth)[raster.valid] ** 2)) < 0.5
    told = json.loads(Path("out.tif.json").read_text())
    assert told["guided"]["regressors"] == ["ndvi", "B11"]
    assert told["guided"]["asked_for"] == method
    assert method == "auto" or told["guided"]["method"] == method
    assert told["guided"]["worse_than_bicubic"] is False
    assert told["guided"]["rmse_kelvin"]["bicubic, projected"] > 0
    assert set(told["guide"]["files"]) == {"optical.tif"}
    if method in ("atprk", "tsharp"):
        assert set(told["guided"]["coefficients"]) == {"intercept", "ndvi", "B11"}
    assert Path("out.tif.preview.png").read_bytes()[:4] == b"\x89PNG"
    assert "enlarged 4 times by" in capsys.readouterr().out


def test_a_guide_on_another_grid_is_warped(world):
    scene, low, _ = world
    other = scene.guide.crop(replace(scene.guide.grid.window(low.grid.bounds), row=1, column=3, height=157, width=170))
    write_raster(Path("other.tif"), other, encoding=FLOAT)
    assert enlarge("--guide", "other.tif", "--method", "tsharp", scale=3) == 0
    made = open_raster("out.tif").read()
    assert made.grid.same_as(low.grid.scale(3))
    told = json.loads(Path("out.tif.json").read_text())
    assert any("warped onto the grid of thermal.tif" in note for note in told["notes"])


def test_errors_are_one_line_with_their_exit_code(world, capsys, monkeypatch):
    scene, *_ = world
    a, b, _, d, e, _ = scene.guide.grid.transform
    far = Grid(scene.guide.grid.crs, (a, b, 7e5, d, e, 4e6), *scene.guide.grid.size)
    write_raster(Path("far.tif"), replace(scene.guide, grid=far), encoding=FLOAT)
    write_raster(Path("red.tif"), scene.guide.select(["B04"]), encoding=FLOAT)
    for arguments, code, said in [
        (["--guide", "far.tif"], 4, "far.tif does not overlap thermal.tif"),
        (["--guide", "red.tif"], 4, "ndvi needs a nir band"),
        (["--guide", "optical.tif", "--guide-bands", "ndwi"], 2, "no regressor is called 'ndwi'"),
        (["--guide", "optical.tif", "--method", "dms"], 2, "no method is called 'dms'"),
        (["--method", "atprk"], 2, "go with a guide"),
        (["--guide", "optical.tif", "--save", "sigma"], 2, "keeps no maps"),
        (["--guide", "optical.tif", "--psf", "bicubic"], 2, "with a guide"),
        (["--guide", "absent.tif"], 4, "absent.tif does not exist"),
        (["--guide", "optical.tif", "-s", "network.start=nowhere"], 2, "nowhere"),
    ]:
        assert enlarge(*arguments) == code, arguments
        error = capsys.readouterr().err
        assert said in error, (arguments, error)
        assert "Traceback" not in error
    monkeypatch.setattr(guide_module, "MOST_PIXELS", 10_000)
    assert enlarge("--guide", "optical.tif", "--method", "atprk") == 2
    assert "are too many" in capsys.readouterr().err
    assert not Path("out.tif").exists()


@pytest.mark.usefixtures("world")
def test_the_guide_is_not_overwritten(capsys):
    assert run(["zero-shot", "thermal.tif", "-o", "optical.tif", "--guide", "optical.tif", "--overwrite"]) == 2
    assert "is an input" in capsys.readouterr().err
