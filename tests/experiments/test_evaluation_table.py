"""Tables of scores written by hand."""

import json
import math

import pytest

from eorestore.errors import DataError, UnknownNameError
from eorestore.experiments.evaluation_table import EvaluationRow, EvaluationTable, comparisons_to_json, format_score


def row(model: str, scene: str, psnr: float, psnr_cloud: float, **options) -> EvaluationRow:
    settings = {"place": scene, "cover": None, "seed": None, "cloud_share": 0.5} | options
    return EvaluationRow(model, scene, scores={"psnr": psnr, "psnr_cloud": psnr_cloud}, **settings)


def table(*rows: EvaluationRow) -> EvaluationTable:
    return EvaluationTable("eorestore", ("psnr",), {"Crop": "none"}, rows)


def test_a_scene_without_cloud_is_n_a_and_not_in_the_mean():
    found = table(row("m", "a", 20.0, math.nan), row("m", "b", 30.0, 12.0))
    assert found.aggregates("m")["psnr_cloud"].mean == 12.0
    assert found.aggregates("m")["psnr_cloud"].count == 1
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["rows"][0]["scores"]["psnr_cloud"] is None
    lines = found.to_markdown().splitlines()
    assert "| m | all | 25.00 ± 7.07 | 2 |" in lines
    assert "| m | cloud | 12.00 | 1 |" in lines
    assert "| a | m | 50 % | n/a |" in lines
    assert not any("shadow" in line for line in lines)


def test_the_whole_markdown_of_two_models_under_simulated_clouds():
    found = table(
        row("m", "a", 30.0, 20.0, cover=0.2, seed=1),
        row("n", "a", 31.0, 21.0, cover=0.2, seed=1, oracle=True),
    )
    assert found.to_markdown() == (
        "Protocol eorestore. Crop: none.\n\n"
        "| cover | model | region | PSNR dB | n |\n| --- | --- | --- | --- | --- |\n"
        "| 20 % | m | all | 30.00 | 1 |\n| 20 % | m | cloud | 20.00 | 1 |\n"
        "| 20 % | n (oracle) | all | 31.00 | 1 |\n| 20 % | n (oracle) | cloud | 21.00 | 1 |\n\n"
        "By scene, inside cloud (mean over seeds):\n\n"
        "| scene | cover | model | cloud | PSNR dB |\n| --- | --- | --- | --- | --- |\n"
        "| a | 20 % | m | 50 % | 20.00 |\n| a | 20 % | n (oracle) | 50 % | 21.00 |\n"
    )


def test_each_cover_has_its_own_best_baseline():
    rows = [
        row(model, "a", 0.0, value, cover=cover, seed=0)
        for cover, values in ((0.2, (25.0, 24.0, 20.0)), (0.7, (22.0, 15.0, 21.0)))
        for model, value in zip(("m", "inpaint", "regression"), values, strict=True)
    ]
    found = table(*rows).compare("m", ["inpaint", "regression"])
    assert [(item.cover, item.best, item.difference) for item in found] == [
        (0.2, "inpaint", 1.0),
        (0.7, "regression", 1.0),
    ]
    plain = json.loads(json.dumps(comparisons_to_json(found), allow_nan=False))
    assert plain[0]["pairs"] == [{"scene": "a", "seed": 0, "model": 25.0, "best": 24.0, "difference": 1.0}]


def test_a_case_without_a_score_is_left_out_for_all_models():
    rows = [row("m", "a", 0.0, 25.0), row("b", "a", 0.0, 20.0), row("m", "c", 0.0, 99.0), row("b", "c", 0.0, math.nan)]
    (found,) = table(*rows).compare("m", ["b"])
    assert found.difference == 5.0
    with pytest.raises(DataError, match="no scene has psnr_cloud"):
        table(*rows[2:]).compare("m", ["b"])


def test_unknown_models_and_scores_are_refused():
    found = table(row("m", "a", 1.0, 1.0))
    with pytest.raises(UnknownNameError, match="evaluated model"):
        found.aggregates("n")
    with pytest.raises(UnknownNameError, match="evaluated model"):
        found.compare("m", ["n"])
    with pytest.raises(UnknownNameError, match="score"):
        found.compare("m", ["m"], score="beauty")


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (20.4007, "psnr_cloud", "20.40"),
        (0.72884, "ssim_paper", "0.729"),
        (math.nan, "sam", "n/a"),
        (math.inf, "psnr", "inf"),
    ],
)
def test_a_score_is_written_with_the_digits_of_its_metric(value, name, text):
    assert format_score(value, name) == text


def test_the_coverage_of_intervals_has_no_better_way_and_is_not_compared():
    found = table(row("m", "a", 1.0, 1.0))
    with pytest.raises(UnknownNameError, match="score"):
        found.compare("m", ["m"], score="coverage_90_cloud")
    assert format_score(0.9, "coverage_90_cloud") == "0.900"
