from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from eorestore.cli.compare import compare
from eorestore.cli.evaluate import evaluate
from eorestore.errors import UsageError, WriteError
from eorestore.experiments.record import read_record
from small_scenes import make_world, write_world

app = typer.Typer()
app.command()(compare)
app.command()(evaluate)
SCORED = ("--data", "scenes.csv", "--simulate", "0.3", "--seeds", "0,1", "--cloud-size", "8,24")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    lines = ["id,place,split,optical,sar,s2_offset"]
    for number in range(2):
        write_world(folder / f"place{number}", make_world((64, 64), seed=number))
        lines.append(f"scene{number},place{number},test,place{number}/clear.tif,place{number}/s1.tif,0")
    (folder / "scenes.csv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def compared(world: Path) -> tuple[Path, Result]:
    result = call(
        "compare", "identity", "inpaint", *SCORED, "--sizes", "32", "--rounds", "2", "--resamples", "200", "-o", "both"
    )
    assert result.exit_code == 0, result.output
    return world / "both", result


def test_scores_and_costs_are_printed_and_kept(compared):
    folder, result = compared
    text = (folder / "comparison.md").read_text()
    assert text.strip() == result.output.strip()
    assert "| 30 % | inpaint |" in text
    assert "| 32 x 32 | inpaint |" in text
    record = read_record(folder / "comparison.json")
    assert record.kind == "comparison"
    assert record.config["seeds"] == [0, 1]
    assert "scenes.csv" in record.data
    better = {item["score"]: item["interval"] for item in record.scores["differences"] if item["model"] == "inpaint"}
    assert set(better) == {"psnr_cloud", "ssim_cloud", "mae_cloud", "sam_cloud"}
    assert better["psnr_cloud"]["low"] > 0
    assert [profile["sizes"][0]["side"] for profile in record.scores["profiles"]] == [32, 32]


@pytest.mark.usefixtures("compared")
def test_a_comparison_is_not_overwritten():
    assert isinstance(call("compare", "identity", "--no-cost", *SCORED, "-o", "both").exception, WriteError)


@pytest.mark.usefixtures("compared")
def test_records_of_evaluate_give_the_same_differences(world):
    for name in ("identity", "inpaint"):
        assert call("evaluate", name, *SCORED, "-o", name).exit_code == 0
    result = call(
        "compare", "identity/evaluation.json", "inpaint/evaluation.json", "--resamples", "200", "-o", "records"
    )
    assert result.exit_code == 0, result.output
    found, wanted = (
        read_record(world / name / "comparison.json").scores["differences"] for name in ("records", "both")
    )
    assert json.dumps(found) == json.dumps(wanted)


@pytest.mark.usefixtures("world")
def test_models_join_records_where_they_are_scored_alike():
    assert call("evaluate", "identity", *SCORED, "-o", "joined").exit_code == 0
    result = call("compare", "inpaint", "joined/evaluation.json", "--no-cost", *SCORED)
    assert result.exit_code == 0, result.output
    assert "| 30 % | identity |" in result.output


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["identity", "--no-cost"], "nothing to compare by"),
        (["identity", "joined.json", "--no-cost"], "the models have no scores"),
        (["identity", "--sizes", "many"], "--sizes 'many'"),
        (["identity", "--sizes", "0"], "names no size"),
        (["identity", "--cloud-size", "20"], "is not two numbers"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments, message):
    if "joined.json" in arguments:
        assert call("evaluate", "inpaint", *SCORED, "-o", "one").exit_code == 0
        arguments = ["one/evaluation.json" if name == "joined.json" else name for name in arguments]
    error = call("compare", *arguments).exception
    assert isinstance(error, UsageError)
    assert message in error.message
