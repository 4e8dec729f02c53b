from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from eorestore.cli.train import train, watch
from eorestore.errors import ConfigError, TrainingError, UnknownNameError, UsageError, WriteError
from eorestore.experiments.record import read_record
from eorestore.models.checkpoint import check_checkpoint
from eorestore.training.log import read_log

PRESET = """
name: tiny
task: cloud-removal
model: {name: glf-cr, settings: {channels: 8, growth: 4, blocks: 1, layers: 1, heads: 2}}
data: {synthetic: 2, synthetic_size: 64, crop: 32, cloud_size_px: [4, 12], items_per_epoch: 8, validation_items: 2}
losses: {l1: 1.0, spectral_angle: 0.1}
training:
  {steps: 4, batch: 2, warmup: 1, ema: 0.5, log_every: 1, validate_every: 2, checkpoint_every: 2, learning_rate: 1e-3,
   best_by: psnr_cloud, best_is: highest}
tile: 32
overlap: 8
gpu: not needed
"""

app = typer.Typer()
app.command()(train)
app.command()(watch)


@pytest.fixture(name="world")
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(PRESET)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `train` was run once."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(PRESET)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = call("train", "-c", "tiny.yaml", "--name", "first")
    assert result.exit_code == 0, result.output
    (folder / "output.txt").write_text(result.output)
    return folder


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_training_leaves_a_checkpoint_that_reproduces_its_example(trained: Path) -> None:
    for name in ("best", "last"):
        report = check_checkpoint(trained / "runs" / "first" / name)
        assert report.example_error is not None
        assert report.example_error < 1e-5


def test_a_training_leaves_a_record_with_configuration_and_scores(trained: Path) -> None:
    record = read_record(trained / "runs" / "first" / "record.json")
    assert record.name == record.config["name"] == "first"
    assert record.scores["steps"] == 4
    scores = {
        row["step"]: row["psnr_cloud"]
        for row in read_log(trained / "runs" / "first" / "metrics.jsonl")
        if row["kind"] == "validation"
    }
    best = max(scores, key=scores.__getitem__)
    assert record.scores["best"] == [{"step": best, "psnr_cloud": pytest.approx(scores[best])}]
    provenance = json.loads((trained / "runs" / "first" / "best" / "config.json").read_text())["provenance"]
    assert provenance["config_hash"] == record.config_hash


def test_a_training_says_every_record_and_where_it_ended(trained: Path) -> None:
    lines = (trained / "output.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["train", "1/4"], ["train", "2/4"], ["validation", "2/4"]]
    assert "loss_spectral_angle" in lines[0]
    assert lines[-2].startswith("runs/first: 4 steps in ")
    assert lines[-1].startswith("best at step ")


@pytest.mark.parametrize("run", ["first", "runs/first"])
def test_watch_shows_a_finished_run_once(trained: Path, monkeypatch: pytest.MonkeyPatch, run: str) -> None:
    monkeypatch.chdir(trained)
    output = call("watch", run).output
    for words in ("4 of 4 (100%), finished", "loss_l1", "loss_spectral_angle", "best", "psnr_cloud"):
        assert words in output


def test_watch_shows_the_time_left_of_a_run_that_goes_on(world: Path) -> None:
    run = world / "runs" / "slow"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(PRESET.replace("steps: 4", "steps: 1000"))
    rows = [
        {"kind": "train", "step": step, "loss": 1 / step, "lr": 1e-3, "grad_norm": 1.0, "images_per_s": 4.0,
         "seconds": 3.0 * step}
        for step in (100, 200, 300)
    ]  # fmt: skip
    rows.append({"kind": "validation", "step": 300, "psnr_cloud": 21.5, "loss": 0.2, "seconds": 901.0})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run / "metrics.jsonl").write_text(text + '{"kind": "tra')  # the line that is being written
    output = call("watch", "slow", "--once").output
    assert "300 of 1000 (30%), time left 35 min 0 s" in output
    assert "psnr_cloud 21.5 at step 300" in output


def test_watch_names_the_runs_there_are(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    error = call("watch", "frist").exception
    assert isinstance(error, UnknownNameError)
    assert "did you mean 'first'" in error.fix


def test_a_resumed_run_ends_where_it_was_asked_to(world: Path) -> None:
    assert call("train", "-c", "tiny.yaml", "-s", "training.steps=2", "-s", "training.schedule=constant").exit_code == 0
    assert call("train", "--name", "tiny", "--resume", "-s", "training.steps=3").exit_code == 0
    assert read_record(world / "runs" / "tiny" / "record.json").scores["steps"] == 3
    error = call("train", "--name", "tiny", "--resume", "-s", "seed=4").exception
    assert isinstance(error, TrainingError)
    assert "seed was 0, now 4" in error.message


@pytest.mark.usefixtures("world")
def test_two_steps_and_two_more_equal_four_with_the_real_network_and_simulated_clouds() -> None:
    constant = ("-s", "training.schedule=constant")
    call("train", "-c", "tiny.yaml", *constant, "--name", "whole")
    call("train", "-c", "tiny.yaml", *constant, "--name", "parts", "-s", "training.steps=2")
    call("train", "--name", "parts", "--resume", "-s", "training.steps=4")
    for file in ("weights", "averaged", "optimizer"):
        whole, parts = (Path(f"runs/{name}/state/step-00000004/{file}.safetensors") for name in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def test_a_finished_run_that_is_resumed_keeps_its_scores(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    before = read_record(trained / "runs" / "first" / "record.json")
    assert call("train", "--name", "first", "--resume").exit_code == 0
    after = read_record(trained / "runs" / "first" / "record.json")
    assert after.scores == before.scores


@pytest.mark.usefixtures("world")
def test_smoke_may_be_repeated_and_leaves_the_run_alone() -> None:
    for _ in range(2):
        result = call("train", "-c", "tiny.yaml", "--smoke")
        assert result.exit_code == 0, result.output
        assert "runs/tiny-smoke: 3 steps" in result.output
    assert not Path("runs/tiny").exists()


@pytest.mark.usefixtures("world")
def test_a_dry_run_says_the_plan_and_writes_nothing() -> None:
    result = call("train", "-c", "tiny.yaml", "--dry-run", "-s", "training.accumulate=2")
    assert result.exit_code == 0
    assert "4 steps of 2 x 2 crops of 32 pixels, 2.0 epochs, fp32" in result.output
    assert not Path("runs").exists()


@pytest.mark.usefixtures("world")
def test_a_dry_run_does_not_import_torch() -> None:
    script = (
        "import sys, typer; from eorestore.cli.train import train\n"
        "app = typer.Typer(); app.command()(train)\n"
        "app(['-c', 'tiny.yaml', '--dry-run'], standalone_mode=False)\n"
        "print([name for name in ('torch', 'rasterio', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ([], UsageError, "no preset is given"),
        (["-c", "none.yaml"], ConfigError, "no preset at none.yaml"),
        (["-c", "glf-rc-v0"], UnknownNameError, "no preset is called 'glf-rc-v0'"),
        (["--name", "x", "--resume"], UsageError, "no run at runs/x"),
        (["-c", "tiny.yaml", "-s", "task=cloud"], UnknownNameError, "no task is called 'cloud'"),
        (["-c", "tiny.yaml", "-s", "processor=glf"], UnknownNameError, "no processor is called 'glf'"),
        (["-c", "tiny.yaml", "-s", "model.name=glf"], UnknownNameError, "glf"),
        (["-c", "tiny.yaml", "-s", "model.settings.chanels=3"], ConfigError, "unknown key chanels"),
        (["-c", "tiny.yaml", "-s", "losses.l3=1"], UnknownNameError, "no loss is called 'l3'"),
        (["-c", "tiny.yaml", "-s", "data.crop=40"], ConfigError, "data.crop 40 does not divide by 16"),
        (["-c", "tiny.yaml", "-s", "training.best_by=psmr"], UnknownNameError, "psmr"),
        (["-c", "tiny.yaml", "-o", "tiny.yaml"], WriteError, "cannot be written"),
    ],
)
def test_a_call_that_cannot_work_is_refused_by_name(arguments: list[str], kind: type, words: str) -> None:
    error = call("train", *arguments).exception
    assert isinstance(error, kind)
    assert words in str(error)
    assert not list(Path().glob("runs/*"))
