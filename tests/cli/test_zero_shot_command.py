"""Zero-shot enlargement through the command line: georeference, gaps, agreement, falling back, resuming, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.ndimage import maximum_filter, minimum_filter

from eorestore.cli.app import run
from eorestore.restorer.request import Request
from eorestore.restorer.run import restore_file
from eorestore.restorer.zero_shot_recipe import SceneTask, load_recipe
from small_enlargers import utm_grid
from small_scenes import read_tif, write_tif
from small_thermal import gaps, textured

SIZE = (72, 60)
FAST = ["-s", "network.start=none", "-s", "settings.channels=8", "-s", "settings.blocks=1", "-s", "steps=4",
        "-s", "judge_every=2", "-s", "batch=2", "-s", "learning.scales=1", "-s", "precision=fp32"]  # fmt: skip
ALWAYS = ["-s", "margin=-1"]  # an untrained network too


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kelvin(size=SIZE, *, seed=0) -> np.ndarray:
    """With a coast: sea of one temperature below a ragged line."""
    values = textured(size, seed=seed)
    shore = 50 + 4 * np.sin(np.arange(size[1]) / 5)
    values[np.arange(size[0])[:, None] > shore] = 288.0
    return values


def write(path: Path, values: np.ndarray, *, nodata: float | None = float("nan"), names=("thermal",), unit="kelvin"):
    values = values if values.ndim == 3 else values[None]
    return write_tif(
        path, values, utm_grid(values.shape[1:]), names=names, nodata=nodata, units=[unit] * len(values),
        tags={"ACQUISITION_DATE": "2026-06-14"},
    )  # fmt: skip


def enlarge(scene: str, out: str, *more: str) -> int:
    return run(["-q", "zero-shot", scene, "-o", out, *FAST, *more])


def facts(out: str) -> dict:
    return json.loads(Path(f"{out}.json").read_text())


def means(values: np.ndarray, factor: int) -> np.ndarray:
    bands, height, width = values.shape
    return values.astype(float).reshape(bands, height // factor, factor, width // factor, factor).mean(axis=(2, 4))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_kelvin_in_is_kelvin_out_over_the_same_ground(here, scale):
    scene = kelvin()
    write(here / "scene.tif", scene)
    assert enlarge("scene.tif", "out.tif", "--scale", str(scale), *ALWAYS) == 0
    with rasterio.open("out.tif") as out, rasterio.open("scene.tif") as given:
        assert (out.height, out.width, out.count, out.dtypes[0]) == (72 * scale, 60 * scale, 1, "float32")
        assert (out.crs, out.descriptions, out.units) == (given.crs, given.descriptions, given.units)
        assert tuple(out.bounds) == pytest.approx(tuple(given.bounds))
        assert out.transform.a == pytest.approx(10 / scale)
        assert np.isnan(out.nodata)
        tags, raw = out.tags(), out.read()
    assert tags["ACQUISITION_DATE"] == "2026-06-14"
    assert (tags["EORESTORE_SCALE"], tags["EORESTORE_MODEL"]) == (str(scale), "zero-shot")
    assert tags["EORESTORE_ADAPTED"].startswith("zero-shot; 4 steps, seed 0")
    apart = means(raw, scale)[0] - scene
    assert np.abs(apart).max() <= 1e-4
    assert abs(apart.mean()) <= 1e-4
    told = facts("out.tif")
    assert told["zero_shot"]["method"] == "zero-shot"
    assert told["zero_shot"]["stages"] == {2: [2], 3: [3], 4: [2, 4], 8: [2, 4, 8]}[scale]
    assert told["enlargement"]["deviation"]["largest"]["thermal"] <= 1e-4
    assert Path("out.tif.preview.png").is_file()


@pytest.mark.parametrize("options", [[], ["--tile", "16"], ["-s", "ensemble=median"]])
@pytest.mark.parametrize("scale", [2, 4])
def test_gaps_stay_gaps_and_bleed_into_nothing(here, scale, options):
    """40 % of the scene is lost, a part of it along the coast."""
    scene, lost = kelvin(), gaps(SIZE, 0.4)
    scene[lost] = np.nan
    write(here / "scene.tif", scene)
    assert enlarge("scene.tif", "out.tif", "--scale", str(scale), *ALWAYS, *options) == 0
    out = read_tif(Path("out.tif"))[0]
    block = np.ones((scale, scale))
    assert np.array_equal(np.isnan(out), np.kron(lost, block).astype(bool))
    assert np.nanmax(np.abs(means(out[None], scale)[0] - scene)) <= 1e-4
    # between the extremes of the observed neighbourhood, and as far beyond them as those lie apart; agreement with
    # edges farther away rings by a few hundredths of them
    highest = maximum_filter(np.where(lost, -np.inf, scene), 5)
    lowest = minimum_filter(np.where(lost, np.inf, scene), 5)
    span = highest - lowest
    bounds = [np.kron(np.where(lost, np.nan, bound), block) for bound in (lowest - span, highest + span)]
    ringing = 0.02 * (np.nanmax(scene) - np.nanmin(scene))
    assert np.nanmax(bounds[0] - out) < ringing
    assert np.nanmax(out - bounds[1]) < ringing
    assert facts("out.tif")["valid_share"] == pytest.approx(1 - lost.mean(), abs=1e-6)


def test_what_stands_in_a_gap_changes_no_pixel(here):
    scene, lost = kelvin(), gaps(SIZE, 0.3)
    found = []
    for number, value in enumerate((0.0, -9999.0)):
        write(here / f"{number}.tif", np.where(lost, np.float32(value), scene), nodata=value)
        assert enlarge(f"{number}.tif", f"x2_{number}.tif") == 0
        found.append(np.where(np.kron(lost, np.ones((2, 2))), 1.0, read_tif(Path(f"x2_{number}.tif"))[0]))
    assert np.array_equal(*found)


def test_a_network_without_enough_gain_gives_way_and_the_papers_say_so(here):
    scene = kelvin()
    write(here / "scene.tif", scene)
    assert enlarge("scene.tif", "out.tif", "-s", "inference.margin=1", "--save", "sigma") == 0
    told = facts("out.tif")["zero_shot"]
    assert told["method"] == "bicubic, projected"
    assert told["share_of_network"] == 0
    assert {"rmse_bicubic", "rmse_network", "rmse_blend", "gain", "pixels"} == set(told["judged"])
    with rasterio.open("out.tif") as out:
        assert out.tags()["EORESTORE_ADAPTED"].startswith("bicubic, projected; 4 steps")
    assert enlarge("scene.tif", "none.tif", "-s", "inference.margin=1", "-s", "steps=0") == 0
    assert np.array_equal(read_tif(Path("out.tif")), read_tif(Path("none.tif")))
    assert np.abs(means(read_tif(Path("out.tif")), 2)[0] - scene).max() <= 1e-4


def test_the_outcome_is_told_in_words(here, capsys):
    write(here / "scene.tif", kelvin())
    assert run(["zero-shot", "scene.tif", "-o", "out.tif", *FAST, "-s", "margin=1"]) == 0
    said = capsys.readouterr()
    assert "out.tif: enlarged 2 times by bicubic, projected" in said.out
    assert "less than 100.00 %" in said.err


def request(out: str, *overrides: str, **more) -> Request:
    given = [word for word in FAST if word != "-s"]
    recipe = load_recipe("balanced", [*given, "margin=-1", *overrides])
    return Request(Path("scene.tif"), Path(out), mask="none", tile=16, zero_shot=SceneTask(recipe, 2), **more)


def interrupt_after(rows: int):
    def progress(done: int, _: int) -> None:
        if done >= rows:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("save", [(), ("sigma",)])
def test_an_interrupted_run_goes_on_to_the_very_same_pixels(here, save):
    scene = kelvin((120, 60))
    scene[30:50, 20:30] = np.nan
    write(here / "scene.tif", scene)
    restore_file(request("whole.tif", save=save))
    with pytest.raises(KeyboardInterrupt):
        restore_file(request("out.tif", save=save), progress=interrupt_after(14))
    assert not Path("out.tif").exists()
    assert Path("out.tif.partial", "learned.safetensors").is_file()

    def learning(*_):
        pytest.fail("what was learned is in the journal")

    report = restore_file(request("out.tif", save=save, resume=True), adapting=learning)
    assert report.facts["resumed_at_row"] > 0
    assert np.array_equal(read_tif(Path("out.tif")), read_tif(Path("whole.tif")), equal_nan=True)
    if save:
        assert np.array_equal(read_tif(Path("out.sigma.tif")), read_tif(Path("whole.sigma.tif")), equal_nan=True)
    assert not Path("out.tif.partial").exists()


def test_a_run_that_was_interrupted_while_learning_learns_again(here):
    write(here / "scene.tif", kelvin())
    restore_file(request("whole.tif"))
    with pytest.raises(KeyboardInterrupt):
        restore_file(request("out.tif"), adapting=interrupt_after(2))
    restore_file(request("out.tif", resume=True))
    assert np.array_equal(read_tif(Path("out.tif")), read_tif(Path("whole.tif")))


@pytest.mark.parametrize("other", ["steps=5", "seed=1", "sensor=gaussian:0.3"])
def test_a_run_by_another_recipe_is_not_continued(here, capsys, other):
    write(here / "scene.tif", kelvin())
    with pytest.raises(KeyboardInterrupt):
        restore_file(request("out.tif"), progress=interrupt_after(9))
    assert enlarge("scene.tif", "out.tif", "--tile", "16", *ALWAYS, "-s", other, "--resume") == 2
    assert "zero_shot" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_file_and_another_one_another(here):
    write(here / "scene.tif", kelvin())
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert enlarge("scene.tif", f"{name}.tif", "--seed", seed, *ALWAYS, "-s", "held_back=0") == 0
    first, again, other = (read_tif(Path(f"{name}.tif")) for name in "abc")
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("scale", [2, 4])
def test_tiles_are_the_whole_bit_by_bit(here, scale):
    """The network of one run is that of the other: it learns the scene, not a tile."""
    scene = kelvin((150, 131))
    scene[20:40, 50:70] = np.nan
    write(here / "scene.tif", scene)
    for tile in ("24", "256"):
        assert enlarge("scene.tif", f"{tile}.tif", "--scale", str(scale), "--tile", tile, *ALWAYS, "-s", "steps=2") == 0
    small, large = (read_tif(Path(f"{tile}.tif")) for tile in ("24", "256"))
    assert facts("24.tif")["tiles"]["count"] > 20
    assert np.array_equal(small, large, equal_nan=True)


def test_every_band_of_a_scene_is_enlarged_by_itself(here):
    scene = np.stack([kelvin(), kelvin(seed=1) + 20])
    write(here / "scene.tif", scene, names=("B10", "B11"))
    assert enlarge("scene.tif", "out.tif", *ALWAYS, "--save", "sigma") == 0
    with rasterio.open("out.tif") as out:
        assert out.descriptions == ("B10", "B11")
        raw = out.read()
    assert np.abs(means(raw, 2) - scene).max() <= 1e-4
    sigma = read_tif(Path("out.sigma.tif"))
    assert sigma.shape == raw.shape
    assert (sigma > 0).mean() > 0.5
    assert np.isfinite(sigma).all()


def test_integers_of_a_hundredth_of_a_kelvin_come_out_as_float_kelvin(here):
    counts = np.round(kelvin() * 100).astype(np.uint16)
    counts[:5, :7] = 0
    path = write(here / "scene.tif", counts, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales = (0.01,)
    assert enlarge("scene.tif", "out.tif", *ALWAYS) == 0
    with rasterio.open("out.tif") as out:
        assert (out.dtypes[0], out.scales) == ("float32", (1.0,))
        assert np.isnan(out.nodata)
        raw = out.read()
    assert np.isnan(raw[0, :10, :14]).all()
    apart = means(raw, 2)[0] - counts * 0.01
    assert np.abs(apart[counts > 0]).max() <= 1e-4


def test_a_scene_without_any_pixel_is_refused_in_one_line(here, capsys):
    write(here / "scene.tif", np.full(SIZE, np.nan, np.float32))
    assert enlarge("scene.tif", "out.tif") != 0
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "Traceback" not in said
    assert not Path("out.tif").exists()


def test_a_scene_that_is_too_small_to_learn_from_is_enlarged_all_the_same(here):
    write(here / "scene.tif", kelvin((12, 14)))
    assert enlarge("scene.tif", "out.tif") == 0
    told = facts("out.tif")["zero_shot"]
    assert told["method"] == "bicubic, projected"
    assert "too few" in told["learned"]["stopped"]


REFUSED = {
    "start weights that are not here": (["-s", "network.start=./absent"], "absent"),
    "a start without weights": (["-s", "network.start=bicubic"], "bicubic"),
    "an unknown preset": (["--preset", "balancd"], "balanced"),
    "an unknown setting": (["-s", "learning.stepz=3"], "steps"),
    "a scale": (["--scale", "5"], "2, 3, 4, 8, 16"),
    "a sensor": (["--psf", "gaussian:7"], "from 0.1 to below 1"),
    "a kernel that is not here": (["--psf", "absent.npy"], "absent.npy"),
}


@pytest.mark.parametrize(("options", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_said_in_one_line_with_a_way_out(here, capsys, options, told):
    write(here / "scene.tif", kelvin())
    assert enlarge("scene.tif", "out.tif", *options) in (2, 3, 4, 5)
    said = capsys.readouterr().err
    assert said.count("error: ") == said.count("fix: ") == 1
    assert told in said
    assert sorted(path.name for path in here.iterdir()) == ["scene.tif"]


def test_kelvin_bounds_clip_nothing(here):
    """Z4: most of a scene may lie outside the bounds."""
    scene = kelvin() - 120
    write(here / "scene.tif", scene)
    assert enlarge("scene.tif", "out.tif", "--normalize", "absolute", *ALWAYS) == 0
    assert np.abs(means(read_tif(Path("out.tif")), 2)[0] - scene).max() <= 2e-4


@pytest.mark.parametrize("options", [["--shifts", "2"], ["-s", "passes=overlapping"]])
def test_patches_agree_with_the_scene_too(here, options):
    scene = kelvin()
    write(here / "scene.tif", scene)
    assert enlarge("scene.tif", "out.tif", *options, "-s", "patch=32", *ALWAYS) == 0
    assert np.abs(means(read_tif(Path("out.tif")), 2)[0] - scene).max() <= 1e-4


@pytest.mark.parametrize("sensor", ["gaussian:0.3", "bicubic"])
def test_another_sensor_would_have_delivered_the_scene(here, sensor):
    write(here / "scene.tif", kelvin())
    assert enlarge("scene.tif", "out.tif", "--psf", sensor, *ALWAYS) == 0
    assert facts("out.tif")["enlargement"]["deviation"]["largest_of_range"] < 1e-3
    assert facts("out.tif")["zero_shot"]["sensor"] == sensor


def test_sharpening_changes_the_result_and_is_said_to_break_the_agreement(here):
    write(here / "scene.tif", kelvin())
    assert enlarge("scene.tif", "plain.tif", *ALWAYS) == 0
    assert enlarge("scene.tif", "sharp.tif", *ALWAYS, "--sharpen", "0.8") == 0
    assert not np.array_equal(read_tif(Path("plain.tif")), read_tif(Path("sharp.tif")))
    assert facts("sharp.tif")["zero_shot"]["consistent"] is False


def test_the_plan_can_be_carried_out(here):
    """Its network, blur and loss, made small; not projected, and said not to be."""
    write(here / "scene.tif", kelvin())
    small = ["--preset", "plan", "-s", "steps=2", "-s", "settings.blocks=2", "-s", "settings.channels=8"]
    assert run(["-q", "zero-shot", "scene.tif", "-o", "out.tif", "--scale", "4", *small]) == 0
    told = facts("out.tif")
    assert told["zero_shot"]["consistent"] is False
    assert told["zero_shot"]["recipe"]["learning"]["degradation"] == "plan"
    assert told["enlargement"]["deviation"]["largest"]["thermal"] > 1e-3


def test_a_picture_comes_out_as_a_picture(here):
    from PIL import Image

    assert here.is_dir()
    levels = np.clip((kelvin()[:40, :44] - 280) * 8, 0, 255).astype(np.uint8)
    Image.fromarray(np.stack([levels, levels // 2, 255 - levels], axis=-1)).save("scene.png")
    assert enlarge("scene.png", "out.png", *ALWAYS) == 0
    with Image.open("out.png") as out:
        assert (out.mode, out.size) == ("RGB", (88, 80))
        found = np.asarray(out).astype(float)[..., 0]
    apart = np.abs(means(found[None], 2)[0] - levels)
    inside = (levels > 20) & (levels < 235)
    assert np.quantile(apart[inside], 0.95) <= 1
    assert facts("out.png")["zero_shot"]["scale"] == 2
    told = facts("out.png")["enlargement"]["deviation"]["largest"]  # of what is written, not of what was worked out
    assert all(0.05 < value < 1 for value in told.values())
    assert enlarge("scene.png", "out.png", *ALWAYS) == 5
    assert enlarge("scene.png", "out2.png", *ALWAYS, "--save", "sigma") == 2
