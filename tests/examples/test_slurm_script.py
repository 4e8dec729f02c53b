"""The array job of examples/: its body runs under bash as SLURM would run it, one scene a task."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from enlarged_thermal import TOY, write_thermal

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "zero_shot.sbatch"
TOY_CELL = "+".join(f"{key}={value}" for key, value in TOY.items())
MANIFEST = f"""in,out,scale,preset,save,settings
scenes/a.tif,enlarged/a_x2.tif,2,,sigma+turbo,{TOY_CELL}
scenes/b b.tif,enlarged/b b_x4.tif,4,fast,,{TOY_CELL}+seed=5
,enlarged/c.tif,2,,,
"""

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or shutil.which("awk") is None, reason="there is no bash, or no awk"
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    write_thermal(tmp_path / "scenes" / "a.tif")
    write_thermal(tmp_path / "scenes" / "b b.tif")
    (tmp_path / "scenes.csv").write_text(MANIFEST)
    command = tmp_path / "bin" / "eorestore"
    command.parent.mkdir()
    command.write_text(f'#!/bin/bash\necho "threads $OMP_NUM_THREADS $*"\nexec "{sys.executable}" -m eorestore "$@"\n')
    command.chmod(0o755)
    return tmp_path


def submit(folder: Path, task: int | None, *, manifest: str = "scenes.csv") -> subprocess.CompletedProcess[str]:
    """One task of the array."""
    found = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    found |= {"PATH": f"{folder / 'bin'}:{found['PATH']}", "PYTHONPATH": str(ROOT / "src"), "SLURM_CPUS_PER_TASK": "1"}
    if task is not None:
        found["SLURM_ARRAY_TASK_ID"] = str(task)
    words = ["bash", str(SCRIPT), manifest]
    return subprocess.run(words, cwd=folder, env=found, capture_output=True, text=True, timeout=120, check=False)


def test_each_task_enlarges_its_own_scene_once(here):
    done = submit(here, 1)
    assert done.returncode == 0, done.stderr
    assert "threads 1 zero-shot scenes/a.tif" in done.stdout
    assert {path.name for path in (here / "enlarged").iterdir()} == {
        "a_x2.tif", "a_x2.tif.json", "a_x2.tif.preview.png", "a_x2.sigma.tif", "a_x2.turbo.png",
    }  # fmt: skip
    assert json.loads((here / "enlarged" / "a_x2.tif.json").read_text())["zero_shot"]["recipe"]["name"] == "balanced"
    again = submit(here, 1)
    assert (again.returncode, again.stdout) == (0, "enlarged/a_x2.tif is there\n")


def test_columns_choose_scale_preset_and_settings(here):
    done = submit(here, 2)
    assert done.returncode == 0, done.stderr
    told = json.loads((here / "enlarged" / "b b_x4.tif.json").read_text())["zero_shot"]
    assert (told["scale"], told["recipe"]["name"], told["recipe"]["seed"]) == (4, "fast", 5)
    assert told["recipe"]["learning"]["steps"] == TOY["learning.steps"]


@pytest.mark.parametrize(
    ("task", "message"), [(3, "needs in, out and scale"), (4, "has no scene 4"), (None, "is set by sbatch --array")]
)
def test_a_task_without_a_scene_fails_and_says_why(here, task, message):
    done = submit(here, task)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (here / "enlarged").exists()


def test_an_interrupted_scene_is_gone_on_with(here):
    assert "--resume)" in SCRIPT.read_text()
    (here / "enlarged").mkdir()
    partial = here / "enlarged" / "a_x2.tif.partial"
    partial.mkdir()
    (partial / "image.raw").write_bytes(b"half")  # of a run that was killed before its first row was whole
    done = submit(here, 1)
    assert done.returncode == 0, done.stderr
    assert not partial.exists()
