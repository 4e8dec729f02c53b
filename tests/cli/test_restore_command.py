"""`eorestore restore` on a 64-pixel world, from simulating it to scoring the result."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from eorestore.cli.app import run
from small_scenes import make_world, read_tif, tiny_checkpoint, write_tif, write_world

PRESET = """
name: tiny
task: cloud-removal
processor: glf-cr-optional-cirrus
model: {name: glf-cr, settings: {channels: 8, growth: 4, blocks: 1, layers: 1, heads: 2, start: estimate}}
data: {manifest: world/manifest.csv, crop: 64, cover: [0.1, 0.3], cloud_size_px: [4, 12],
  items_per_epoch: 8, validation_items: 1}
losses: {l1: 1.0}
training: {steps: 4, batch: 2, warmup: 1, ema: 0.5, validate_every: 2, checkpoint_every: 2, best_by: psnr_cloud,
  best_is: highest}
tile: 32
overlap: 8
gpu: not needed
"""


@pytest.fixture(scope="module")
def world():
    return make_world((64, 72), seed=11)


@pytest.fixture
def scene(tmp_path, world):
    return write_world(tmp_path / "in", world, tags={"DATETIME": "2021-05-10"})


def sidecar(out: Path) -> dict:
    return json.loads(Path(f"{out}.json").read_text())


def test_simulate_train_restore_evaluate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(PRESET)
    assert run(["data", "simulate", "-o", "world", "--size", "64", "--count", "3"]) == 0
    assert run(["train", "-c", "tiny.yaml", "--name", "first"]) == 0
    place = Path("world/place_002")
    command = ["restore", str(place / "s2_cloudy.tif"), "--sar", str(place / "s1.tif"), "-m", "first", "-o", "out.tif"]
    assert run([*command, "--mask", str(place / "mask.tif"), "--reference", str(place / "s2_clear.tif")]) == 0
    facts = sidecar(Path("out.tif"))
    assert facts["model"] == "first"
    assert facts["weights_sha256"] == json.loads(Path("runs/first/best/config.json").read_text())["sha256"]
    cloudy, clear, out = (read_tif(path) for path in (place / "s2_cloudy.tif", place / "s2_clear.tif", "out.tif"))
    mask = read_tif(place / "mask.tif")[0] == 1
    assert np.array_equal(out[:, ~mask], cloudy[:, ~mask])
    errors = [np.abs(image.astype(float) - clear)[:, mask].mean() for image in (cloudy, out)]
    assert errors[1] < 0.5 * errors[0]
    error = np.square((np.clip(out * 1e-4, 0, 1) - np.clip(clear * 1e-4, 0, 1)).astype(np.float64)).mean()
    assert facts["metrics"]["psnr"] == pytest.approx(-10 * np.log10(error), abs=0.01)
    capsys.readouterr()
    assert run(["evaluate", "first", "identity", "--data", "world/manifest.csv", "--mask", "auto", "--json"]) == 0
    assert '"first"' in capsys.readouterr().out


def test_the_sidecar_says_what_was_done_with_what(tmp_path, scene, world):
    checkpoint = tiny_checkpoint(tmp_path / "tiny", tile=32, overlap=16)
    out = tmp_path / "out.tif"
    command = ["restore", str(scene / "s2.tif"), "--sar", str(scene / "s1.tif"), "-m", str(checkpoint), "-o", str(out)]
    assert run([*command, "--mask", str(scene / "mask.tif"), "--batch", "2"]) == 0
    facts = sidecar(out)
    digest = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    assert facts["weights_sha256"] == digest
    assert facts["input"]["files"] == {"s2.tif": hashlib.sha256((scene / "s2.tif").read_bytes()).hexdigest()}
    assert facts["sar"]["files"] == {"s1.tif": hashlib.sha256((scene / "s1.tif").read_bytes()).hexdigest()}
    assert facts["masked_share"] == pytest.approx(world.mask.mean())
    assert facts["pixels"] == {
        "nodata": 0, "observed": int((~world.mask).sum()), "restored": int(world.mask.sum()),
    }  # fmt: skip
    assert facts["tiles"] == {
        "count": 12, "mode": "blend", "tile": 32, "overlap": 16, "batch": 2, "precision": "fp32", "device": "cpu",
        "self_ensemble": False,
    }  # fmt: skip
    assert facts["eorestore"]
    assert facts["seconds"] > 0
    assert any("offset by rule" in note for note in facts["notes"])
    with rasterio.open(out) as file:
        tags = file.tags()
    assert tags["EORESTORE_WEIGHTS"] == digest
    assert tags["EORESTORE_TILES"] == "32 overlap 16"
    assert tags["DATETIME"] == "2021-05-10"


@pytest.mark.parametrize(("date", "days", "warns"), [("2021-05-12", 2, False), ("2021:05:21 10:00:00", 11, True)])
def test_the_sidecar_gives_the_date_gap_and_warns_beyond_six_days(tmp_path, scene, world, date, days, warns, capfd):
    write_tif(scene / "s1.tif", world.place.sar.values, world.cloudy.grid, names=("VV", "VH"), tags={"DATETIME": date})
    out = tmp_path / "out.tif"
    command = ["restore", str(scene / "s2.tif"), "--sar", str(scene / "s1.tif"), "-m", "sar-regression", "-o", str(out)]
    assert run([*command, "--mask", str(scene / "mask.tif")]) == 0
    facts = sidecar(out)
    assert facts["date_gap_days"] == days
    assert any(f"{days} days apart" in text for text in facts["warnings"]) == warns
    assert (f"{days} days apart" in capfd.readouterr().err) == warns


def test_without_dates_there_is_no_gap(tmp_path, scene):
    out = tmp_path / "out.tif"
    command = ["restore", str(scene / "s2.tif"), "--sar", str(scene / "s1.tif"), "-m", "sar-regression", "-o", str(out)]
    assert run([*command, "--mask", str(scene / "mask.tif")]) == 0
    assert sidecar(out)["date_gap_days"] is None


def test_the_preview_is_a_picture_of_the_result(tmp_path, scene):
    from PIL import Image

    out = tmp_path / "out.tif"
    assert run(["restore", str(scene / "s2.tif"), "-m", "identity", "--mask", "none", "-o", str(out)]) == 0
    with Image.open(f"{out}.preview.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(float)
    assert pixels.shape[0] / pixels.shape[1] == pytest.approx(64 / 72, rel=0.02)
    assert pixels.std() > 10


def test_the_share_of_the_automatic_mask_is_printed(tmp_path, scene, capfd):
    out = tmp_path / "out.tif"
    assert run(["restore", str(scene / "s2.tif"), "-m", "inpaint", "-o", str(out)]) == 0
    text = capfd.readouterr()
    share = sidecar(out)["masked_share"]
    assert 0.05 < share < 0.95
    assert f"mask auto marks {100 * share:.1f} % of the valid pixels" in text.err
    assert f"{share:.1%} of the valid pixels restored by inpaint" in text.out


def test_quiet_says_nothing(tmp_path, scene, capfd):
    out = tmp_path / "out.tif"
    assert run(["-q", "restore", str(scene / "s2.tif"), "-m", "inpaint", "-o", str(out)]) == 0
    assert capfd.readouterr() == ("", "")


def test_json_is_all_that_stands_on_the_output(tmp_path, scene, capfd):
    out = tmp_path / "out.tif"
    assert run(["restore", str(scene / "s2.tif"), "-m", "inpaint", "-o", str(out), "--save", "source", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["output"] == str(out)
    assert facts["model"] == "inpaint"
    assert set(np.unique(read_tif(tmp_path / "out.source.tif"))) == {1, 2}


def test_bands_may_be_named_on_the_command_line(tmp_path, scene, world):
    write_tif(scene / "s2.tif", world.dn[[3, 2, 1]], world.cloudy.grid)
    out = tmp_path / "out.tif"
    command = ["restore", str(scene / "s2.tif"), "-m", "inpaint", "--mask", str(scene / "mask.tif"), "-o", str(out)]
    assert run([*command, "--bands", "B4,b3,B02"]) == 0
    assert sidecar(out)["input"]["bands"] == ["B04", "B03", "B02"]
    assert np.array_equal(read_tif(out)[:, ~world.mask], world.dn[[3, 2, 1]][:, ~world.mask])


def test_a_budget_chooses_a_smaller_tile(tmp_path, scene, capsys):
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny", tile=64, overlap=8))
    command = [
        "restore",
        str(scene / "s2.tif"),
        "--sar",
        str(scene / "s1.tif"),
        "-m",
        checkpoint,
        "-o",
        str(tmp_path / "out.tif"),
        "--dry-run",
        "--json",
    ]
    facts = []
    for budget in ((), ("--budget", "458")):
        assert run([*command, *budget]) == 0
        facts.append(json.loads(capsys.readouterr().out))
    assert facts[1]["tile"] < facts[0]["tile"] == 64
    assert facts[1]["memory_mb"] <= 458
    assert facts[1]["tiles"] > facts[0]["tiles"]


IMPORTED = "import sys; print([name for name in ('torch', 'rasterio', 'matplotlib', 'rich') if name in sys.modules])"


def modules_after(code: str) -> str:
    command = [sys.executable, "-c", f"{code}\n{IMPORTED}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


def test_help_and_import_load_nothing_heavy():
    assert modules_after("import eorestore") == "[]"
    assert modules_after("from eorestore.cli.app import run; run(['--help'])") == "[]"
    assert modules_after("from eorestore.cli.app import run; run(['--version'])") == "[]"


def test_a_dry_run_imports_no_torch_and_writes_nothing(tmp_path, scene):
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    before = sorted(tmp_path.rglob("*"))
    for model in ("inpaint", str(checkpoint)):
        command = ["restore", str(scene / "s2.tif"), "--sar", str(scene / "s1.tif"), "-m", model, "--dry-run"]
        code = f"from eorestore.cli.app import run; assert run({[*command, '-o', str(tmp_path / 'out.tif')]!r}) == 0"
        assert modules_after(code) == "['rasterio']"
    assert sorted(tmp_path.rglob("*")) == before


def seconds_of_work(code: str) -> float:
    """Of a processor, which a busy machine does not lengthen as it does the time on the clock."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_help_and_import_take_a_quarter_of_a_second_more_than_numpy():
    codes = {
        "numpy": "import numpy",
        "import": "import eorestore",
        "help": "import sys; sys.argv = ['eorestore', '--help']; from eorestore.__main__ import main; main()",
    }
    best = dict.fromkeys(codes, float("inf"))
    for _ in range(6):
        for name, code in codes.items():
            best[name] = min(best[name], seconds_of_work(code))
    assert best["import"] <= best["numpy"] + 0.25
    assert best["help"] <= best["numpy"] + 0.25
