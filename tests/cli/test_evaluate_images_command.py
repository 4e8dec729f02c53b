"""`eorestore evaluate` on images through the command line."""

import json

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from eorestore.cli.evaluate import evaluate
from eorestore.errors import UsageError, WriteError
from eorestore.experiments.compare import read_evaluations
from eorestore.experiments.record import hash_path, read_record
from eorestore.metrics import perceptual
from eorestore.metrics.perceptual import PerceptualTerms, ntire_score
from small_images import FUSION, LIGHT, save_model, write_experts, write_set

APP = typer.Typer()
APP.command()(evaluate)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name, count in (("Two", 2), ("Three", 3)):
        write_set(folder / name, count, seed=count)
        write_experts(folder / "outputs" / name, folder / name, noise={"a": 5, "b": 6, "c": 7})
    save_model(folder / "light", "light-sr", LIGHT)
    save_model(folder / "fusion", "expert-fusion", FUSION)
    return folder


def call(*arguments):
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_folder_gets_a_record_a_table_and_pictures(world, tmp_path):
    printed = call("bicubic", world / "light", "--data", world / "Two", "--data", world / "Three", "-o", tmp_path)
    assert (tmp_path / "evaluation.md").read_text().strip() == printed.strip()
    assert f"| all | {world / 'light'} |" in printed
    record = read_record(tmp_path / "evaluation.json")
    assert record.kind == "evaluation"
    assert record.data == {name: hash_path(world / name) for name in ("Two", "Three")}
    assert len(record.scores["rows"]) == 2 * 5
    assert record.scores["weights"].keys() == {str(world / "light")}
    pictures = record.scores["pictures"]
    assert [picture["name"] for picture in pictures] == ["worst", "median"]
    assert pictures[0]["value"] <= pictures[1]["value"]
    for picture in pictures:
        assert f"]({picture['path']})" in printed
        with Image.open(tmp_path / picture["path"]) as drawn:
            assert drawn.size == (3 * 88 + 2 * 4, 72)
    with pytest.raises(WriteError, match=r"evaluation\.json exists"):
        call("bicubic", "--data", world / "Two", "-o", tmp_path)
    assert read_evaluations([tmp_path / "evaluation.json"]).models == ("bicubic", str(world / "light"))


def test_sets_may_be_divided_by_commas_and_experts_come_from_files(world):
    sets = f"{world / 'Two'},{world / 'Three'}"
    options = ("--expert-outputs", world / "outputs", "--experts", "a,c,b", "--oracles", "--tta", "--json")
    scores = json.loads(call(world / "fusion", "--data", sets, *options))
    assert [group["model"] for group in scores["aggregates"]][1:4] == ["a", "c", "b"]
    assert {item["set"] for item in scores["comparisons"]} == {"Two", "Three", "all"}
    assert {item["role"] for item in scores["comparisons"]} == {"mean of experts", "best expert"}
    assert scores["conditions"]["Self-ensemble"] == "eight flips and turns"


def test_a_perceptual_score_without_its_weights_is_no_error(world):
    printed = call("bicubic", "--data", world / "Two", "--perceptual")
    assert "| Two | bicubic | n/a | n/a | n/a | n/a | n/a | n/a | n/a |" in printed
    assert "pyiqa" in printed.partition("Not here: ")[2]


def test_perceptual_terms_are_means_over_all_images_before_the_score(world, monkeypatch):
    values = iter([0.2, 0.4, 0.6, 0.6, 0.6])

    def scorer(term, _):
        return lambda *_: 12.0 if term == "niqe" else next(values) if term == "lpips" else 0.5

    monkeypatch.setattr("eorestore.experiments.image_perceptual.absent", lambda _: None)
    monkeypatch.setattr(perceptual, "absent", lambda _: None)
    monkeypatch.setattr(perceptual, "_scorer", scorer)
    data = ("--data", world / "Two", "--data", world / "Three")
    found = json.loads(call("bicubic", *data, "--perceptual", "--json"))["perceptual"]
    assert [(item["set"], round(item["lpips"], 6)) for item in found] == [("Two", 0.3), ("Three", 0.6), ("all", 0.48)]
    assert found[2]["score"] == pytest.approx(ntire_score(PerceptualTerms(0.48, 0.5, 0.5, 0.5, 0.5, 12.0)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--simulate", "0.3"), "super-resolution has no --simulate"),
        (("--mask", "auto", "--crop", "32"), "has no --crop, --mask"),
        (("--strata", "cloud"), "has no --strata"),
        (("--protocol", "y", "--perceptual"), "for the protocol rgb"),
        (("--protocol", "sen12ms-cr"), "no protocol of images"),
    ],
)
def test_options_that_mean_nothing_for_images_are_refused(world, arguments, message):
    with pytest.raises(UsageError, match=message):
        call("bicubic", "--data", world / "Two", *arguments)


@pytest.mark.parametrize("option", [("--tta",), ("--perceptual",), ("--scale", "2"), ("--data", "other.csv")])
def test_options_of_images_are_refused_for_clouds(tmp_path, option):
    (tmp_path / "scenes.csv").write_text("id,place,split,optical,sar\n")
    with pytest.raises(UsageError, match="cloud removal has no "):
        call("identity", "--data", tmp_path / "scenes.csv", *option)


def test_a_model_of_clouds_is_refused_on_images(world):
    with pytest.raises(UsageError, match="inpaint does not enlarge"):
        call("bicubic", "inpaint", "--data", world / "Two")
