"""`eorestore evaluate` through the command line, with the baselines of the package."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from eorestore.cli.evaluate import evaluate
from eorestore.data.scene_arrays import save_scene
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import UnknownNameError, UsageError, WriteError
from eorestore.experiments.record import hash_path, read_record

APP = typer.Typer()
APP.command()(evaluate)
CLOUDS = ("--simulate", "0.3", "--seeds", "1,2", "--cloud-size", "10,30", "--metrics", "psnr,sam")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    scene = synthetic_scene((64, 64), generator=np.random.default_rng(5))
    save_scene(folder / "a.npz", optical=scene.optical, sar=scene.sar)
    (folder / "scenes.csv").write_text("id,place,split,optical,sar\na,p,test,a.npz,a.npz\n")
    return folder / "scenes.csv"


def call(*arguments):
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_baselines_are_scored_side_by_side_under_the_same_clouds(manifest):
    scores = json.loads(call("identity", "inpaint", "--data", manifest, *CLOUDS, "--json"))
    rows = scores["rows"]
    assert [(row["model"], row["seed"]) for row in rows] == [
        ("identity", 1), ("inpaint", 1), ("identity", 2), ("inpaint", 2)
    ]  # fmt: skip
    assert rows[0]["cloud_share"] == rows[1]["cloud_share"]
    assert rows[1]["scores"]["psnr_cloud"] > rows[0]["scores"]["psnr_cloud"] + 5
    assert scores["comparisons"] == []


def test_the_folder_gets_a_record_and_the_table_that_is_printed(manifest, tmp_path):
    printed = call("identity", "--data", manifest, *CLOUDS, "-o", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["cases", "evaluation.json", "evaluation.md"]
    assert (tmp_path / "out" / "evaluation.md").read_text().strip() == printed.strip()
    record = read_record(tmp_path / "out" / "evaluation.json")
    assert record.kind == "evaluation"
    assert record.config["seeds"] == [1, 2]
    assert record.data["a.npz"] == hash_path(manifest.parent / "a.npz")
    assert len(record.scores["rows"]) == 2
    assert record.scores["strata"] == []


def test_worst_and_best_cases_stand_beside_the_table_as_pictures(manifest, tmp_path):
    printed = call("identity", "inpaint", "--data", manifest, *CLOUDS, "-o", tmp_path)
    cases = read_record(tmp_path / "evaluation.json").scores["cases"]
    assert [case["name"] for case in cases] == ["worst", "best"]  # of two cases
    assert cases[0]["value"] <= cases[1]["value"]
    for case in cases:
        assert (tmp_path / case["path"]).stat().st_size < 300_000
        assert f"]({case['path']})" in printed


def test_strata_are_printed_and_recorded(manifest, tmp_path):
    printed = call(
        "identity", "inpaint", "--data", manifest, *CLOUDS, "--strata", "cloud,thickness,distance, texture",
        "-o", tmp_path,
    )  # fmt: skip
    rows = read_record(tmp_path / "evaluation.json").scores["strata"]
    assert {row["kind"] for row in rows} == {"cloud", "thickness", "distance", "texture"}
    assert {row["model"] for row in rows} == {"identity", "inpaint"}
    assert "| 20-40 % | inpaint |" in printed
    assert "| textured | identity |" in printed


def test_indices_and_edges_can_be_asked_for_as_metrics(manifest):
    scores = json.loads(call("identity", "--data", manifest, *CLOUDS[:-1], "ndvi,edge_correlation", "--json"))
    found = scores["rows"][0]["scores"]
    assert found["ndvi_clear"] < found["ndvi"] < found["ndvi_cloud"]
    assert found["edge_correlation_clear"] > found["edge_correlation_cloud"]


def test_an_evaluation_is_not_replaced_unasked(manifest, tmp_path):
    (tmp_path / "evaluation.md").write_text("mine")
    with pytest.raises(WriteError, match=r"evaluation\.md exists"):
        call("identity", "--data", manifest, *CLOUDS, "-o", tmp_path)
    assert (tmp_path / "evaluation.md").read_text() == "mine"
    call("identity", "--data", manifest, *CLOUDS, "-o", tmp_path, "--overwrite")
    assert "identity" in (tmp_path / "evaluation.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("--simulate", "much"), UsageError, "no list of numbers"),
        (("--simulate", "0.2", "--seeds", "1.5"), UsageError, "no list of numbers"),
        (("--cloud-size", "20"), UsageError, "not two numbers"),
        (("--mask", "perhaps"), UsageError, "not known here"),
        (("--metrics", "psnr,beauty"), UnknownNameError, "beauty"),
        (("--strata", "cloud,weather"), UnknownNameError, "weather"),
        (("--strata", "thickness"), UsageError, "how thick"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_any_work(manifest, arguments, kind, message):
    with pytest.raises(kind, match=message):
        call("identity", "--data", manifest, *arguments)


def test_what_learns_from_clear_pixels_is_refused_where_every_pixel_is_restored(manifest):
    with pytest.raises(UsageError, match="sar-regression would learn") as caught:
        call("identity", "sar-regression", "--data", manifest)
    assert "--mask auto" in caught.value.fix


@pytest.mark.real
def test_identity_on_winter_112_prints_the_golden_scores(real_data, tmp_path):
    # Source: SEN12MS-CR sample ROIs2017_winter_112_p797, scored by the definitions of GLF-CR (Xu et al. 2022).
    folder = "cloud/sen12mscr/ROIs2017_winter_112_p797"
    path = tmp_path / "real.csv"
    path.write_text(
        "id,place,split,optical,sar,reference\n"
        f"w,w,test,{folder}/s2_cloudy.tif,{folder}/s1.tif,{folder}/s2_cloudfree.tif\n"
    )
    printed = call("identity", "--data", path, "--root", real_data, "--protocol", "sen12ms-cr")
    assert "| identity | all | 20.40 | 0.729 | 0.0705 | 21.39 | 1 |" in printed.splitlines()
