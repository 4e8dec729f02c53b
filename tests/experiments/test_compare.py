from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from eorestore.errors import DataError
from eorestore.experiments.compare import compare_tables, join_tables, read_evaluations
from eorestore.experiments.evaluation_table import EvaluationRow, EvaluationTable
from eorestore.experiments.profile import ModelProfile, SizeProfile
from eorestore.experiments.record import make_record, write_record

DRAWS = np.random.default_rng(0)
SCENES = 12
BASE = DRAWS.normal(25, 3, size=(SCENES, 2))  # scene, seed
GAIN = DRAWS.normal(0.5, 1, size=(SCENES, 2))


def rows(model, psnr, *, place="p{}", cover=0.4):
    return [
        EvaluationRow(
            model, f"s{scene}", place.format(scene), cover, seed, 0.4,
            {"psnr": value + 5, "psnr_cloud": value, "mae_cloud": 1 / value, "mae": 0.5 / value},
        )
        for scene, values in enumerate(psnr)
        for seed, value in enumerate(values)
    ]  # fmt: skip


def table(*parts, metrics=("psnr", "mae"), **conditions):
    return EvaluationTable(
        "eorestore", metrics, {"Split": "test"} | conditions, tuple(row for part in parts for row in part)
    )


@pytest.fixture(scope="module")
def comparison():
    return compare_tables(table(rows("first", BASE), rows("second", BASE + GAIN)))


def of(comparison, model, score, cover=0.4):
    (found,) = [
        item for item in comparison.differences if (item.model, item.score, item.cover) == (model, score, cover)
    ]
    return found


def test_the_difference_is_paired_and_its_interval_that_of_scipy(comparison):
    found = of(comparison, "second", "psnr_cloud").interval
    by_scene = GAIN.mean(axis=1)
    wanted = stats.bootstrap(
        (by_scene,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    )
    low, high = wanted.confidence_interval
    assert found.mean == pytest.approx(by_scene.mean())
    assert found.low == pytest.approx(low, abs=0.1 * wanted.standard_error)
    assert found.high == pytest.approx(high, abs=0.1 * wanted.standard_error)
    assert found.count == SCENES


def test_a_smaller_error_is_a_positive_difference(comparison):
    found = of(comparison, "second", "mae_cloud")
    assert found.interval.mean == pytest.approx((1 / BASE - 1 / (BASE + GAIN)).mean())
    assert (found.mean, found.first) == (pytest.approx((1 / (BASE + GAIN)).mean()), pytest.approx((1 / BASE).mean()))


def test_the_first_model_is_not_compared_with_itself(comparison):
    assert of(comparison, "first", "psnr_cloud").interval is None


def test_scenes_of_one_place_are_one_place():
    two = [place for place in "ab" for _ in range(SCENES // 2)]
    parts = [
        [row for scene in range(SCENES) for row in rows(model, psnr[scene : scene + 1], place=two[scene])]
        for model, psnr in (("first", BASE), ("second", BASE + GAIN))
    ]
    named = [
        EvaluationRow(row.model, f"s{number // 2 % SCENES}", *list(vars(row).values())[2:])
        for part in parts
        for number, row in enumerate(part)
    ]
    found = of(compare_tables(table(named)), "second", "psnr_cloud").interval
    by_place = GAIN.mean(axis=1).reshape(2, -1).mean(axis=1)
    assert (found.places, found.count) == (2, SCENES)
    assert found.mean == pytest.approx(by_place.mean())


def test_every_cover_is_compared_and_all_of_them_together():
    parts = [
        part
        for cover, shift in ((0.2, 0.0), (0.6, 2.0))
        for part in (rows("first", BASE, cover=cover), rows("second", BASE + shift, cover=cover))
    ]
    found = compare_tables(table(*parts))
    means = [of(found, "second", "psnr_cloud", cover).interval.mean for cover in (None, 0.2, 0.6)]
    assert means == pytest.approx([1.0, 0.0, 2.0])


def test_real_pairs_are_compared_over_whole_scenes():
    whole = [
        EvaluationRow(
            row.model, row.scene, row.place, None, None, 0.0, {"psnr": row.scores["psnr"], "psnr_cloud": math.nan}
        )
        for row in rows("first", BASE[:, :1]) + rows("second", BASE[:, :1] + 1)
    ]
    found = compare_tables(table(whole, metrics=("psnr",)))
    assert of(found, "second", "psnr", None).interval.mean == pytest.approx(1.0)


def test_scenes_that_only_one_model_has_are_left_out():
    found = compare_tables(table(rows("first", BASE), rows("second", (BASE + GAIN)[:5])))
    interval = of(found, "second", "psnr_cloud").interval
    assert interval.count == 5
    assert interval.mean == pytest.approx(GAIN[:5].mean())


def test_text_and_json_say_what_was_compared(comparison):
    text = comparison.to_markdown()
    assert "| 40 % | second |" in text
    assert "10,000 resamples" in text
    assert json.loads(json.dumps(comparison.to_json(), allow_nan=False))["models"] == ["first", "second"]


def test_costs_stand_beside_the_scores():
    profile = ModelProfile("first", 300_000, (SizeProfile(128, 2_500_000_000, 40.0, 1.0, 0.41, None),))
    text = compare_tables(table(rows("first", BASE)), profiles=[profile]).to_markdown()
    assert "| 128 x 128 | first | 300,000 | 2.5 | 40.0 | 1.00 | 0.41 | n/a |" in text


def record_at(path: Path, part, **conditions) -> Path:
    scores = table(part, **conditions).to_json()
    write_record(path, make_record("evaluation", "x", config={}, scores=scores, seconds=1.0, data={}))
    return path


def test_records_are_compared_as_the_models_themselves(tmp_path, comparison):
    paths = [
        record_at(tmp_path / "a.json", rows("first", BASE)),
        record_at(tmp_path / "b.json", rows("second", BASE + GAIN)),
    ]
    found = compare_tables(read_evaluations(paths))
    assert of(found, "second", "psnr_cloud") == of(comparison, "second", "psnr_cloud")


def test_records_of_other_conditions_or_of_one_model_twice_are_refused(tmp_path):
    first = record_at(tmp_path / "a.json", rows("first", BASE))
    other = record_at(tmp_path / "b.json", rows("second", BASE), Split="validation")
    with pytest.raises(DataError, match="scored differently: Split"):
        read_evaluations([first, other])
    with pytest.raises(DataError, match="first is scored twice"):
        read_evaluations([first, first])
    write_record(tmp_path / "c.json", make_record("training", "x", config={}, scores={}, seconds=1.0, data={}))
    with pytest.raises(DataError, match="holds no rows"):
        read_evaluations([tmp_path / "c.json"])


def test_tables_without_a_common_metric_are_refused():
    with pytest.raises(DataError, match="no metric in common"):
        join_tables([table(rows("a", BASE), metrics=("psnr",)), table(rows("b", BASE), metrics=("mae",))])
