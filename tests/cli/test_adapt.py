"""`eorestore restore --adapt`: the same for the same seed, told in the sidecar, kept on request."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eorestore.cli.app import run
from eorestore.errors import MaskError
from eorestore.models.checkpoint import load_checkpoint, save_checkpoint
from eorestore.models.table import build_model
from eorestore.processing.table import PROCESSORS
from eorestore.restorer import adaptation
from small_scenes import make_world, read_tif, write_world

SMALL = {"channels": [8, 12], "sar_channels": [4, 6], "head_channels": 4}


@pytest.fixture(autouse=True)
def few_skies(monkeypatch):
    for name, value in {"_SKIES": 4, "_HELD_BACK": 2, "_CROP": 32, "_BATCH": 4, "_LEARNING_RATE": 5e-3}.items():
        monkeypatch.setattr(adaptation, name, value)


@pytest.fixture(scope="module")
def world():
    return make_world((96, 96), seed=5)


@pytest.fixture
def scene(tmp_path, world):
    return write_world(tmp_path / "in", world)


@pytest.fixture
def checkpoint(tmp_path):
    # From the cloudy image, and with its last layer off zero: a network that has all to learn, so that it does.
    model = build_model("clearview", SMALL | {"start": "cloudy"}, seed=2)
    processor = PROCESSORS["glf-cr-optional-cirrus"]()
    return save_checkpoint(
        tmp_path / "model", model, processor, task="cloud-removal", provenance={"seed": 2}, tile=32, overlap=8
    )


def command(scene, checkpoint, out, *more):
    start = ["restore", str(scene / "s2.tif"), "--sar", str(scene / "s1.tif"), "--mask", str(scene / "mask.tif")]
    return [*start, "-m", str(checkpoint), "-o", str(out), *more]


def test_it_changes_the_clouded_pixels_alone_and_the_sidecar_says_how(tmp_path, scene, checkpoint):
    plain, adapted = tmp_path / "plain.tif", tmp_path / "adapted.tif"
    assert run(command(scene, checkpoint, plain)) == 0
    assert run(command(scene, checkpoint, adapted, "--adapt", "90", "--adapt-seed", "3")) == 0
    mask = read_tif(scene / "mask.tif")[0] == 1
    images = [read_tif(path) for path in (plain, adapted, scene / "s2.tif")]
    assert np.array_equal(images[1][:, ~mask], images[2][:, ~mask])
    assert not np.array_equal(images[0][:, mask], images[1][:, mask])
    facts = json.loads(Path(f"{adapted}.json").read_text())["adapted"]
    assert (facts["steps"], facts["seed"]) == (90, 3)
    assert facts["kept_step"] > 0
    assert facts["psnr_after"] > facts["psnr_before"]
    assert json.loads(Path(f"{plain}.json").read_text())["adapted"] is None


def test_the_same_seed_gives_the_same_pixels(tmp_path, scene, checkpoint):
    outs = [tmp_path / "first.tif", tmp_path / "again.tif"]
    for out in outs:
        assert run(command(scene, checkpoint, out, "--adapt", "6")) == 0
    assert np.array_equal(*(read_tif(out) for out in outs))


def test_the_adapted_weights_are_kept_on_request(tmp_path, scene, checkpoint):
    adapted, again = tmp_path / "adapted.tif", tmp_path / "again.tif"
    folder = tmp_path / "kept"
    assert run(command(scene, checkpoint, adapted, "--adapt", "12", "--save-adapted", str(folder))) == 0
    kept = load_checkpoint(folder)
    assert kept.config["provenance"]["adapted_from"] == load_checkpoint(checkpoint).sha256
    assert run(command(scene, folder, again)) == 0
    assert np.array_equal(read_tif(adapted), read_tif(again))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--save-adapted", "kept"], "no adapted weights"),
        (["--adapt", "2", "-m", "inpaint"], "no weights that could adapt"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, scene, checkpoint, capsys, more, message):
    out = tmp_path / "out.tif"
    assert run(command(scene, checkpoint, out, *more)) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_evaluate_scores_networks_a_second_time(tmp_path, checkpoint, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["data", "simulate", "-o", "world", "--size", "96", "--count", "3"]) == 0
    capsys.readouterr()
    line = ["evaluate", str(checkpoint), "inpaint", "--data", "world/manifest.csv"]
    assert run([*line, "--simulate", "0.3", "--seeds", "1", "--metrics", "psnr", "--adapt", "80", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    found = {row["model"]: row["scores"]["psnr_cloud"] for row in scores["rows"]}
    assert set(found) == {str(checkpoint), f"{checkpoint} (adapted)", "inpaint"}
    assert found[f"{checkpoint} (adapted)"] > found[str(checkpoint)]


def test_a_scene_that_cannot_be_adapted_to_is_scored_as_it_is(tmp_path, checkpoint, capsys, caplog, monkeypatch):
    def refuse(*_args, **_keywords):
        raise MaskError("too few clear pixels to adapt to", fix="leave out --adapt")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eorestore.restorer.memory.adapt_model", refuse)
    assert run(["data", "simulate", "-o", "world", "--size", "96", "--count", "3"]) == 0
    capsys.readouterr()
    line = ["evaluate", str(checkpoint), "--data", "world/manifest.csv", "--simulate", "0.3", "--metrics", "psnr"]
    assert run([*line, "--adapt", "4", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len({row["scores"]["psnr_cloud"] for row in rows}) == len(rows) / 2
    assert "is scored as it is, not adapted" in caplog.text
