"""Runs that are killed or interrupted, and what continues them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from eorestore.api import restore
from eorestore.cli.app import run
from small_scenes import make_world, read_tif, tiny_checkpoint, write_world

SLOW = """
import signal, sys, time
from eorestore.restorer import stream
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
from eorestore.cli.app import run
real = stream.run_model
def slow(*arguments, **keywords):
    time.sleep(0.15)
    return real(*arguments, **keywords)
stream.run_model = slow
sys.exit(run(sys.argv[1:]))
"""
"""The command line with a model that takes its time."""


@pytest.fixture(scope="module")
def world():
    return make_world((256, 96), seed=9, cover=0.5)


@pytest.fixture
def scene(tmp_path, world):
    return write_world(tmp_path / "in", world)


def arguments(scene: Path, out: Path, model: str, *more: str) -> list[str]:
    return [
        "restore", str(scene / "s2.tif"), "--sar", str(scene / "s1.tif"), "--mask", str(scene / "mask.tif"),
        "-m", model, "-o", str(out), "--tile", "32", "--overlap", "8", "--batch", "2", *more,
    ]  # fmt: skip


def stop_after_rows(command: list[str], partial: Path, how: signal.Signals) -> int:
    """Start the slow command line, send it a signal once a few strips are on disk, return its exit code."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen([sys.executable, "-c", SLOW, *command], stderr=subprocess.DEVNULL, env=environment)
    lines = partial / "journal.jsonl"
    deadline = time.monotonic() + 60
    try:
        while not (lines.is_file() and len(lines.read_text().splitlines()) >= 2):
            assert process.poll() is None, "ended before it could be stopped"
            assert time.monotonic() < deadline, "wrote no row within a minute"
            time.sleep(0.02)
        process.send_signal(how)
        return process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"in", "tiny"}


@pytest.mark.parametrize("model", ["network", "sar-regression", "inpaint"])
def test_a_killed_run_goes_on_to_the_very_same_pixels(tmp_path, scene, world, model):
    if model == "network":
        model = str(tiny_checkpoint(tmp_path / "tiny", start="estimate"))
    whole = tmp_path / "in" / "whole.tif"
    assert run(arguments(scene, whole, model, "--save", "source")) == 0
    out = tmp_path / "out.tif"
    code = stop_after_rows(arguments(scene, out, model), tmp_path / "out.tif.partial", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not out.exists()
    assert leftovers(tmp_path) == {"out.tif.partial"}
    assert run(arguments(scene, out, model, "--resume", "--save", "source")) == 0
    assert np.array_equal(read_tif(out), read_tif(whole))
    assert np.array_equal(read_tif(tmp_path / "out.source.tif"), read_tif(tmp_path / "in" / "whole.source.tif"))
    assert leftovers(tmp_path) == {"out.tif", "out.tif.json", "out.tif.preview.png", "out.source.tif"}
    assert '"resumed_at_row": 0' not in (tmp_path / "out.tif.json").read_text()
    assert not np.array_equal(read_tif(out), world.dn)


def test_an_interrupted_run_says_so_and_can_be_resumed(tmp_path, scene):
    out = tmp_path / "out.tif"
    code = stop_after_rows(arguments(scene, out, "inpaint"), tmp_path / "out.tif.partial", signal.SIGINT)
    assert code == 130
    assert leftovers(tmp_path) == {"out.tif.partial"}
    assert run(arguments(scene, out, "inpaint", "--resume")) == 0
    assert leftovers(tmp_path) == {"out.tif", "out.tif.json", "out.tif.preview.png"}


@pytest.fixture
def interrupted(tmp_path, scene, monkeypatch):
    """A run that was interrupted in this process, after half of its strips."""
    from eorestore.restorer.journal import Journal

    real = Journal.write

    def write(journal, rows):
        if rows.first >= 64:
            raise KeyboardInterrupt
        real(journal, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", write)
        assert run(arguments(scene, tmp_path / "out.tif", "inpaint")) == 130
    return tmp_path / "out.tif"


@pytest.mark.usefixtures("interrupted")
def test_nothing_stands_under_the_name_of_an_interrupted_run(tmp_path):
    assert leftovers(tmp_path) == {"out.tif.partial"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("--tile", "64"), "tile"),
        (("-m", "band-mean"), "model"),
        (("--mask", "auto"), "mask"),
        (("--precision", "bf16"), "precision"),
        (("--tta",), "tta"),
    ],
)
def test_a_resume_with_other_settings_is_refused_and_loses_nothing(interrupted, scene, tmp_path, change, word, capsys):
    assert run(arguments(scene, interrupted, "inpaint", "--resume", *change)) == 2
    message = capsys.readouterr().err
    assert "differs in" in message
    assert word in message
    assert leftovers(tmp_path) == {"out.tif.partial"}
    assert run(arguments(scene, interrupted, "inpaint", "--resume")) == 0


def test_a_resume_on_a_changed_input_is_refused(interrupted, scene, capsys):
    path = scene / "s2.tif"
    os.utime(path, ns=(1, 1))
    assert run(arguments(scene, interrupted, "inpaint", "--resume")) == 2
    assert "differs in: optical" in capsys.readouterr().err


def test_without_resume_an_interrupted_run_starts_again(interrupted, scene, tmp_path):
    assert run(arguments(scene, interrupted, "inpaint")) == 0
    assert leftovers(tmp_path) == {"out.tif", "out.tif.json", "out.tif.preview.png"}


def test_resume_with_nothing_to_resume_is_a_plain_run(scene, tmp_path):
    assert run(arguments(scene, tmp_path / "out.tif", "inpaint", "--resume")) == 0
    assert (tmp_path / "out.tif").is_file()


def test_a_run_without_a_journal_gives_the_same_pixels(scene, tmp_path):
    options = {"model": "sar-regression", "sar": scene / "s1.tif", "mask": str(scene / "mask.tif"), "tile": 32}
    one, two = (
        restore(scene / "s2.tif", out=tmp_path / f"{journal}.tif", journal=journal, **options)
        for journal in (True, False)
    )
    assert np.array_equal(read_tif(one), read_tif(two))
