"""Speeds of models on this machine, which --dry-run tells a time from."""

import json

import pytest

from eorestore.cli.app import run
from eorestore.restorer import speeds
from eorestore.restorer.speeds import Work, recall, remember, speed_key, speeds_file
from small_scenes import make_world, write_world

WAY = {"bands": 13, "device": "cpu", "precision": "fp32", "tta": False, "share": None}


@pytest.fixture(autouse=True)
def _empty(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_last_speed_of_what_ran_alike_is_recalled():
    key = speed_key("cloud", "ab" * 32, **WAY)
    remember(key, Work(2_000_000, 3.0))
    assert recall(key) == 1.5
    remember(key, Work(1_000_000, 1.0))
    assert recall(key) == 1.0
    for other in ({"device": "cuda"}, {"precision": "bf16"}, {"tta": True}, {"share": 0.5}, {"bands": 4}):
        assert recall(speed_key("cloud", "ab" * 32, **WAY | other)) is None
    assert recall(speed_key("cloud", "cd" * 32, **WAY)) is None


@pytest.mark.parametrize("work", [Work(0, 9.0), Work(1_000_000, 0.1)])
def test_what_was_too_short_is_not_kept(work):
    remember("key", work)
    assert not speeds_file().exists()


@pytest.mark.parametrize("text", ["no json", "[1]", '{"key": "fast"}', '{"key": -1}'])
def test_a_damaged_file_is_no_speed_and_is_written_anew(text):
    speeds_file().parent.mkdir(parents=True)
    speeds_file().write_text(text, encoding="utf-8")
    assert recall("key") is None
    remember("key", Work(1_000_000, 2.0))
    assert recall("key") == 2.0


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    remember("key", Work(1_000_000, 2.0))
    assert recall("key") is None


def test_a_dry_run_tells_a_time_once_the_model_has_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speeds, "LEAST_SECONDS", 0.0)
    folder = write_world(tmp_path, make_world())
    command = ["restore", "-m", "sar-regression", str(folder / "s2.tif"), "--sar", str(folder / "s1.tif")]
    command += ["-o", str(tmp_path / "out.tif"), "--mask", str(folder / "mask.tif")]

    def estimate(*more):
        capsys.readouterr()
        assert run([*command, "--dry-run", "--overwrite", *more]) == 0
        return capsys.readouterr().out

    assert "unknown until this model has run here once" in estimate()
    assert json.loads(estimate("--json"))["seconds_if_all_is_restored"] is None
    assert run(command) == 0
    (key,) = json.loads(speeds_file().read_text(encoding="utf-8"))
    speeds_file().write_text(json.dumps({key: 1000.0}), encoding="utf-8")
    told = json.loads(estimate("--json"))
    assert told["seconds_if_all_is_restored"] == pytest.approx(1000.0 * 96 * 80 / 1e6, abs=0.1)
