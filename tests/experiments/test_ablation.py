"""Studies that train for seconds, on one small place; a run is interrupted, resumed, skipped and made to fail."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eorestore.config import config_hash
from eorestore.errors import ConfigError, DataError, MissingError, TrainingError, UnknownNameError, WriteError
from eorestore.experiments import ablation
from eorestore.experiments.ablation import ablate
from eorestore.experiments.record import read_record
from eorestore.experiments.study import StudyEvaluation
from eorestore.experiments.study_plan import plan, run_key
from eorestore.experiments.training_run import train
from eorestore.tasks.cloud_removal import LOSSES
from eorestore.training.log import read_log
from small_study import STEPS, small_study, small_study_values, write_places

BASELINES = [{"name": name, "baseline": name} for name in ("identity", "inpaint")]
FLOPS = 206_307_328  # of a step of row `plain`: 2 items of 32 x 32 pixels


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    write_places(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def study(places):
    return small_study(places)


@pytest.fixture(scope="module")
def world(study, tmp_path_factory):
    """A study that was stopped inside its first training, gone on with for one run, then ended."""
    out = tmp_path_factory.mktemp("world") / "out"
    said = []

    def stop(name, record):
        said.append((name, record["kind"]))
        if name == "plain-seed0" and record["kind"] == "validation":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate(study, out=out, report=stop)
    first = ablate(study, out=out, resume=True, limit=1)
    last = ablate(study, out=out, resume=True)
    return out, said, first, last


@pytest.fixture
def baselines(places, tmp_path):
    """A study without training, and where its records go."""
    values = small_study_values() | {"rows": BASELINES, "reference": "identity"}
    return small_study(places, values), tmp_path / "out"


def record_of(out: Path, name: str):
    return read_record(out / f"{name}.json")


def test_steps_spend_the_budget_and_no_more(study):
    planned = {item.row.name: item for item in plan(study)}
    assert planned["plain"].cost.flops == FLOPS
    for name in ("plain", "wider"):
        item = planned[name]
        assert item.steps * item.cost.flops <= study.budget.train_flops < (item.steps + 1) * item.cost.flops
    assert planned["plain"].steps == STEPS
    assert (planned["plain"].trials, planned["wider"].trials) == (2, 0)
    assert planned["inpaint"].cost is None


def test_an_interrupted_study_goes_on_inside_the_training_that_it_left(world):
    out, said, first, last = world
    assert ("plain-seed0", "validation") in said
    assert first.counts == {"done": 1, "failed": 0, "skipped": 0, "left": 3}
    assert last.counts == {"done": 4, "failed": 0, "skipped": 0, "left": 0}
    (folder,) = (out / "runs").glob("plain-seed0-*")
    steps = [row["step"] for row in read_log(folder / "metrics.jsonl") if row["kind"] == "train"]
    assert steps == [1, 2, 3]


def test_a_run_leaves_a_record_of_configuration_cost_and_scores(world, study):
    out, *_ = world
    record = record_of(out, "plain-seed1")
    assert record.kind == "ablation"
    assert record.config == json.loads(json.dumps(run_key(study, study.row("plain"), 1)))
    assert record.config["run"]["seed"] == 1
    assert record.scores["status"] == "done"
    assert record.scores["train_flops"] == STEPS * FLOPS <= study.budget.train_flops
    assert record.scores["steps"] == STEPS
    assert record.scores["gflops_step"] == pytest.approx(FLOPS / 1e9)
    assert record.seconds == pytest.approx(record.scores["train_seconds"] + record.scores["evaluate_seconds"])
    assert "scenes.csv" in record.data
    cases = {(row["scene"], row["cover"], row["seed"]) for row in record.scores["rows"]}
    assert cases == {(f"scene{place}", 0.3, seed) for place in (1, 2) for seed in (0, 1)}
    assert {row["model"] for part in ("rows", "strata") for row in record.scores[part]} == {"plain-seed1"}


def test_the_learning_rate_is_the_one_with_the_best_validation(world, study):
    out, *_ = world
    tried = {}
    for rate in study.learning_rates:
        (folder,) = (out / "runs").glob(f"plain-rate{rate:g}-*")
        trial = read_record(folder / "record.json")
        assert trial.scores["steps"] == STEPS // 2
        tried[rate] = trial.scores["best"][0]["psnr_cloud"]
    record = record_of(out, "plain-seed0")
    assert record.scores["tried"] == {f"{rate:g}": pytest.approx(score) for rate, score in tried.items()}
    assert record.scores["learning_rate"] == max(tried, key=tried.__getitem__)


def test_a_row_that_names_another_takes_its_learning_rate(world):
    out, *_ = world
    assert (
        record_of(out, "wider-seed0").scores["learning_rate"] == record_of(out, "plain-seed0").scores["learning_rate"]
    )
    assert not list((out / "runs").glob("wider-rate*"))


def test_records_alone_are_enough_to_go_on_without_their_trials(world, study, tmp_path):
    out, *_ = world
    for name in ("study", "plain-seed0"):
        shutil.copy(out / f"{name}.json", tmp_path)
    ablate(study, out=tmp_path, resume=True, only=["wider"])
    assert [folder.name.split("-seed")[0] for folder in (tmp_path / "runs").iterdir()] == ["wider"]
    found, first = record_of(tmp_path, "wider-seed0"), record_of(out, "plain-seed0")
    assert (found.scores["learning_rate"], found.scores["tried"]) == (
        first.scores["learning_rate"],
        first.scores["tried"],
    )


def test_what_only_an_unfinished_training_needs_is_gone(world):
    out, *_ = world
    assert list((out / "runs").glob("*/best/model.safetensors"))
    assert not list((out / "runs").glob("*/state"))


def test_the_summary_holds_means_over_seeds_and_paired_differences(world):
    out, *_ = world
    results = {row["row"]: row for row in read_record(out / "study.json").scores["results"]}

    def scores(name):
        return np.array([row["scores"]["mae_cloud"] for row in record_of(out, name).scores["rows"]])

    plain = np.stack([scores("plain-seed0"), scores("plain-seed1")])
    found = results["plain"]["scores"]["mae_cloud"]
    assert found["mean"] == pytest.approx(plain.mean())
    assert found["std"] == pytest.approx(plain.mean(axis=1).std(ddof=1))
    assert results["plain"]["difference"] == {}
    difference = plain.mean(axis=0) - scores("inpaint-seed0")  # a smaller error is better
    interval = results["inpaint"]["difference"]["mae_cloud"]
    assert interval["mean"] == pytest.approx(difference.mean())
    assert difference.min() <= interval["low"] <= interval["mean"] <= interval["high"] <= difference.max()
    assert interval["count"] == 4
    page = (out / "study.md").read_text()
    assert "| wider | 1 |" in page
    assert "psnr_cloud against plain" in page


def test_a_study_does_not_begin_over_another(baselines):
    study, out = baselines
    ablate(study, out=out, only=["identity"])
    with pytest.raises(WriteError, match="holds a study already"):
        ablate(study, out=out)


def test_runs_that_are_done_are_not_done_again(baselines):
    study, out = baselines
    said = []
    assert ablate(study, out=out, only=["identity"]).counts["done"] == 1
    before = (out / "identity-seed0.json").read_bytes()
    found = ablate(study, out=out, resume=True, report=lambda name, _: said.append(name))
    assert (found.counts["done"], said) == (2, ["inpaint-seed0"])
    assert (out / "identity-seed0.json").read_bytes() == before


def test_a_run_of_another_configuration_is_done_again(baselines):
    study, out = baselines
    ablate(study, out=out)
    other = replace(study, evaluate=replace(study.evaluate, seeds=(7,)))
    assert ablate(other, out=out, resume=True, limit=1).counts == {"done": 1, "failed": 0, "skipped": 0, "left": 1}
    seeds = {row["seed"] for row in record_of(out, "identity-seed0").scores["rows"]}
    assert seeds == {7}
    assert config_hash(run_key(other, study.rows[0], 0)) == record_of(out, "identity-seed0").config_hash
    rows = [row["row"] for row in read_record(out / "study.json").scores["results"] if row["scores"]]
    assert rows == ["identity"]  # the other record is of another evaluation


def test_another_machine_does_not_make_another_run(study):
    moved = replace(study, base=study.base | {"data": study.base["data"] | {"root": "elsewhere", "workers": 3}})
    for row in study.rows:
        assert run_key(moved, row, 0) == run_key(study, row, 0)
    faster = replace(study, base=study.base | {"training": study.base["training"] | {"ema": 0.5}})
    assert run_key(faster, study.rows[0], 0) != run_key(study, study.rows[0], 0)


def test_a_result_that_cannot_be_scored_is_a_failure(baselines, monkeypatch):
    def unscorable(_model, **_):
        raise DataError("values that are not finite", fix="train longer")

    monkeypatch.setattr("eorestore.experiments.scoring.evaluate", unscorable)
    study, out = baselines
    assert ablate(study, out=out).failed == ("identity-seed0", "inpaint-seed0")
    assert record_of(out, "inpaint-seed0").scores["reason"] == "values that are not finite"


def test_no_run_is_begun_after_the_time_is_over(baselines):
    study, out = baselines
    assert ablate(study, out=out, max_minutes=0.0).counts == {"done": 0, "failed": 0, "skipped": 0, "left": 2}


def test_a_row_is_named_by_its_name(baselines):
    study, out = baselines
    with pytest.raises(UnknownNameError):
        ablate(study, out=out, only=["identiti"])


def rows_with(**changes):
    return [{"name": "odd", **changes}, *BASELINES]


def test_a_training_that_diverges_is_recorded_and_the_study_goes_on(places, tmp_path):
    rows = rows_with(overrides={"training.learning_rate": 1e30, "training.gradient_clip": 0.0, "training.warmup": 0})
    study = small_study(places, small_study_values() | {"rows": rows, "reference": "identity"})
    found = ablate(study, out=tmp_path / "out")
    assert found.counts == {"done": 2, "failed": 1, "skipped": 0, "left": 0}
    assert found.failed == ("odd-seed0",)
    record = record_of(tmp_path / "out", "odd-seed0")
    assert record.scores["status"] == "failed"
    assert "step" in record.scores["reason"]
    said = []
    again = ablate(study, out=tmp_path / "out", resume=True, report=lambda name, _: said.append(name))
    assert (again.counts["failed"], said) == (1, [])
    assert "odd: failed." in (tmp_path / "out" / "study.md").read_text()


def test_a_row_that_diverges_at_its_best_rate_takes_the_next_best(places, tmp_path, monkeypatch):
    best = []

    def fails_at_the_best_rate(config, **keywords):
        if "-rate" not in keywords["name"] and config.training.learning_rate == best[0]:
            raise TrainingError("the gradient norm is inf", fix="lower it")
        return train(config, **keywords)

    rows = [row for row in small_study_values()["rows"] if row["name"] == "plain"]
    study = small_study(places, small_study_values() | {"rows": rows, "seeds": {"main": 1}})
    ablate(study, out=tmp_path / "first")
    kept = record_of(tmp_path / "first", "plain-seed0").scores
    best.append(kept["learning_rate"])
    monkeypatch.setattr(ablation, "train", fails_at_the_best_rate)
    ablate(study, out=tmp_path / "second")
    scores = record_of(tmp_path / "second", "plain-seed0").scores
    assert scores["diverged"] == best
    assert kept["diverged"] == []
    others = {float(rate): score for rate, score in scores["tried"].items() if float(rate) != best[0]}
    assert scores["learning_rate"] == max(others, key=others.__getitem__)


def test_only_a_row_that_says_so_is_skipped_for_lack_of_weights(places, tmp_path, monkeypatch):
    def absent(_output, _batch):
        raise MissingError("the weights are not here", fix="bring them")

    monkeypatch.setitem(LOSSES, "perceptual_odd", absent)
    losses = {"losses.perceptual_odd": 0.1}
    values = small_study_values() | {"reference": "identity"}
    study = small_study(places, values | {"rows": rows_with(overrides=losses, needs=["odd"])})
    assert plan(study)[0].skipped == "the weights are not here"
    found = ablate(study, out=tmp_path / "out")
    assert found.counts == {"done": 2, "failed": 0, "skipped": 1, "left": 0}
    assert record_of(tmp_path / "out", "odd-seed0").scores == {
        "status": "skipped",
        "reason": "the weights are not here",
    }
    with pytest.raises(MissingError):
        ablate(small_study(places, values | {"rows": rows_with(overrides=losses)}), out=tmp_path / "other")
    assert not (tmp_path / "other").exists()
    said = []
    ablate(study, out=tmp_path / "out", resume=True, report=lambda name, _: said.append(name))
    assert said == ["odd-seed0"]  # the weights may be there by now


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"parameters": [1, 2]}, ConfigError, "row plain has 48,581 parameters; row wider has 49,517"),
        ({"budget": {"train_flops": 10.0, "crop": 32, "batch": 2}}, Exception, "pay for no step of plain"),
        ({"rows": [{"name": "plain", "overrides": {"losses.nothing": 1.0}}]}, UnknownNameError, "nothing"),
        ({"rows": [{"name": "plain", "overrides": {"model.name": "nothing"}}]}, UnknownNameError, "nothing"),
        ({"rows": [{"name": "plain", "overrides": {"task": "nothing"}}]}, UnknownNameError, "nothing"),
        ({"evaluate": {"split": "test"}}, DataError, "no test scene"),
    ],
)
def test_what_cannot_run_ends_before_anything_is_trained(places, tmp_path, values, error, message):
    study = small_study(places, small_study_values() | values)
    with pytest.raises(error, match=message):
        ablate(study, out=tmp_path / "out")
    assert not list(tmp_path.glob("out/*.json"))


def test_covers_and_seeds_of_a_study_have_defaults():
    wanted = StudyEvaluation()
    assert len(wanted.covers) * len(wanted.seeds) == 9
    assert not math.isclose(wanted.covers[0], wanted.covers[1])
