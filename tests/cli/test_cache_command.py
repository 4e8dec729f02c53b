"""`eorestore cache`: fills, goes on, and says what is wrong in one line."""

import pytest
import torch

from eorestore.cli.app import run
from eorestore.plain_values import write_yaml
from small_images import LIGHT, save_model, write_set


@pytest.fixture
def preset(tmp_path):
    """A fusion of two small experts over pictures, as a file."""
    images = tmp_path / "images"
    write_set(images / "train_HR", 2)
    write_set(images / "val_HR", 1, seed=7)
    experts = [save_model(tmp_path / name, "light-sr", LIGHT) for name in ("one", "two")]
    values = {
        "name": "small-fusion",
        "task": "super-resolution",
        "processor": "rgb-x4",
        "model": {"name": "expert-fusion", "settings": {"experts": 2}},
        "experts": [{"source": str(folder)} for folder in experts],
        "data": {"manifest": str(images), "crop": 8},
        "losses": {"mse": 1.0},
        "gpu": "not needed",
    }
    path = tmp_path / "small-fusion.yaml"
    path.write_text(write_yaml(values))
    return path


def test_a_cache_is_filled_and_told_of(preset, tmp_path, capsys):
    assert run(["cache", "-c", str(preset), "-o", str(tmp_path / "cache")]) == 0
    told = capsys.readouterr().out
    assert "3 pictures by 2 experts" in told
    assert "one: " in told
    before = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*"))
    assert run(["cache", "-c", str(preset), "-o", str(tmp_path / "cache")]) == 0
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*")) == before


def test_training_from_the_cache_runs_from_the_command_line(preset, tmp_path, capsys):
    torch.set_num_threads(1)
    assert run(["cache", "-c", str(preset), "-o", str(tmp_path / "cache"), "--precision", "fp32"]) == 0
    arguments = ["train", "-c", str(preset), "-o", str(tmp_path / "runs"), "--smoke"]
    assert run([*arguments, "-s", f"data.cache={tmp_path / 'cache'}", "-s", "tile=64"]) == 0
    assert "3 steps" in capsys.readouterr().out
    found = ["evaluate", str(tmp_path / "runs" / "small-fusion-smoke"), "--data", str(tmp_path / "images" / "val_HR")]
    assert run([*found, "--expert-outputs", str(tmp_path / "cache"), "-o", str(tmp_path / "scores")]) == 0
    assert "mean of experts" in (tmp_path / "scores" / "evaluation.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "fp8"], "precision fp8"),
        (["--turns", "3"], "turns 3"),
        (["--splits", "test"], "no picture is marked test"),
        (["-s", "processor=rgb-x5"], "rgb-x5"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(preset, tmp_path, capsys, arguments, message):
    assert run(["cache", "-c", str(preset), "-o", str(tmp_path / "cache"), *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "fix: " in told
    assert not (tmp_path / "cache").exists()


def test_a_preset_without_experts_has_nothing_to_cache(tmp_path, capsys):
    assert run(["cache", "-c", "sr-x4-light", "-o", str(tmp_path / "cache")]) == 2
    assert "names no experts" in capsys.readouterr().err
