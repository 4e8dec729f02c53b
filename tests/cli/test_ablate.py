from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner, Result

from eorestore.cli.ablate import ablate
from eorestore.errors import EXIT_DATA, WriteError
from eorestore.experiments.record import read_record
from small_study import small_study_values, write_places, write_study

app = typer.Typer()
app.command()(ablate)
app.command(hidden=True)(lambda: None)
BASELINES = [{"name": name, "baseline": name} for name in ("identity", "inpaint")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablated")
    write_places(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["ablate", *arguments])


def test_a_dry_run_lists_rows_with_what_they_cost_and_writes_nothing(world):
    path = write_study(world, small_study_values())
    result = call(str(path), "--dry-run", "-o", "dry")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split() for line in result.output.splitlines()}
    assert lines["plain"][1:6] == ["48,581", "0.21", "3", "2", "2"]
    assert lines["wider"][3:6] == ["3", "0", "1"]
    assert "scored as it is" in result.output
    assert "3 rows, 4 runs" in result.output
    assert not (world / "dry").exists()


def test_a_study_runs_in_slices(world):
    path = str(write_study(world, small_study_values() | {"rows": BASELINES, "reference": "identity"}))
    first = call(path, "-o", "sliced", "--limit", "1")
    assert first.exit_code == 0, first.output
    assert "1 done, 0 failed, 0 skipped, 1 left" in first.output
    assert f"go on with: eorestore ablate {path} -o sliced --resume" in first.output
    assert isinstance(call(path, "-o", "sliced").exception, WriteError)
    last = call(path, "-o", "sliced", "--resume")
    assert "2 done, 0 failed, 0 skipped, 0 left" in last.output
    assert (world / "sliced" / "study.md").read_text().strip() in last.output
    assert read_record(world / "sliced" / "study.json").kind == "study"


def test_only_the_rows_that_are_named_run(world):
    path = str(write_study(world, small_study_values() | {"rows": BASELINES, "reference": "identity"}))
    assert "1 done" in call(path, "-o", "named", "--only", "inpaint").output
    assert not (world / "named" / "identity-seed0.json").exists()


def test_a_failed_run_ends_with_its_own_exit_code_and_can_be_tried_again(world):
    diverging = {"training.learning_rate": 1e30, "training.gradient_clip": 0.0, "training.warmup": 0}
    rows = [{"name": "odd", "overrides": diverging}, *BASELINES]
    path = str(write_study(world, small_study_values() | {"rows": rows, "reference": "identity"}))
    result = call(path, "-o", "failing")
    assert result.exit_code == EXIT_DATA
    assert "2 done, 1 failed" in result.output
    assert "failed: odd-seed0" in result.output
    before = (world / "failing" / "odd-seed0.json").read_bytes()
    assert call(path, "-o", "failing", "--resume").exit_code == EXIT_DATA
    assert (world / "failing" / "odd-seed0.json").read_bytes() == before
    assert call(path, "-o", "failing", "--resume", "--retry-failed").exit_code == EXIT_DATA
    assert (world / "failing" / "odd-seed0.json").read_bytes() != before
