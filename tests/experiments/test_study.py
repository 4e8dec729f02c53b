from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from eorestore.errors import ConfigError, UnknownNameError
from eorestore.experiments.study import load_study, study_names
from small_study import BASE, WIDER, small_study, small_study_values, write_study

AXES = {
    "attention": {"none": {}, "v1": {"model.settings.blocks": 2}},
    "width": {"none": {}, "wide": WIDER, "wider": {"model.settings.growth": 8}},
}


def with_changes(**changes) -> dict:
    return small_study_values() | changes


def test_overrides_are_laid_over_the_base_and_leave_other_rows_alone(tmp_path: Path):
    study = small_study(tmp_path)
    plain, wider = (study.config(study.row(name)) for name in ("plain", "wider"))
    assert (plain.model.settings["growth"], wider.model.settings["growth"]) == (4, 6)
    assert wider.model.settings["channels"] == BASE["model"]["settings"]["channels"]
    assert study.base == BASE


def test_every_row_trains_on_the_crop_and_batch_of_the_budget(tmp_path: Path):
    study = small_study(tmp_path)
    for row in study.rows:
        config = study.config(row)
        assert (config.data.crop, config.training.batch, config.name) == (32, 2, row.name)


def test_a_value_can_be_changed_for_one_run(tmp_path: Path):
    path = write_study(tmp_path, small_study_values())
    assert load_study(path, ["budget.train_flops=1e12", "seeds.main=5"]).budget.train_flops == 1e12
    assert load_study(path, ["seeds.main=5"]).seeds.main == 5
    with pytest.raises(ConfigError, match="train_flop"):
        load_study(path, ["budget.train_flop=1e12"])


def test_seeds_of_a_study_count_from_the_seed_of_its_base(tmp_path: Path):
    study = small_study(tmp_path, with_changes(base=BASE | {"seed": 40}))
    assert [study.config(study.rows[0], seed=seed).seed for seed in (0, 1)] == [40, 41]


def test_first_seeds_come_first_and_main_rows_before_others(tmp_path: Path):
    rows = [{"name": "cell"}, {"name": "plain", "main": True}, {"name": "second", "main": True}]
    study = small_study(tmp_path, with_changes(rows=rows))
    runs = [(row.name, seed) for row, seed in study.runs()]
    assert runs == [("plain", 0), ("second", 0), ("cell", 0), ("plain", 1), ("second", 1)]


def test_a_grid_has_every_combination_of_one_level_of_each_axis(tmp_path: Path):
    grid = {"name": "grid", "axes": AXES, "overrides": {"losses": {"charbonnier": 1.0}}, "learning_rate_of": "plain"}
    study = small_study(tmp_path, with_changes(grids=[grid]))
    names = [row.name for row in study.rows][3:]
    assert names == ["grid-none", "grid-wide", "grid-wider", "grid-v1", "grid-v1+wide", "grid-v1+wider"]
    config = study.config(study.row("grid-v1+wider"))
    assert (config.model.settings["blocks"], config.model.settings["growth"]) == (2, 8)
    assert config.losses == {"charbonnier": 1.0}
    assert study.row("grid-wide").learning_rate_of == "plain"


def test_the_plain_cell_of_a_grid_may_be_a_row_that_is_there(tmp_path: Path):
    grid = {"name": "grid", "axes": AXES, "plain": "plain"}
    names = [row.name for row in small_study(tmp_path, with_changes(grids=[grid])).rows]
    assert "grid-none" not in names
    assert "grid-wide" in names
    with pytest.raises(ConfigError, match="row wider is not the cell grid-none"):
        small_study(tmp_path, with_changes(grids=[grid | {"plain": "wider"}]))


def test_only_rows_that_tune_names_try_learning_rates(tmp_path: Path):
    study = small_study(tmp_path)
    assert [study.is_tuned(row) for row in study.rows] == [True, False, False]
    rows = [{"name": "plain"}, {"name": "other", "learning_rate_of": "plain"}]
    everything = small_study(tmp_path, with_changes(tune="rows", rows=rows))
    assert [everything.is_tuned(row) for row in everything.rows] == [True, False]


def test_the_base_may_be_a_preset_beside_the_study_or_in_the_package(tmp_path: Path):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(BASE))
    assert small_study(tmp_path, with_changes(base="own.yaml")).base == BASE
    shipped = small_study(tmp_path, with_changes(base="glf-cr-compact"))
    assert shipped.config(shipped.rows[0]).model.settings["start"] == "estimate"


def row_named(**changes) -> list[dict]:
    rows = copy.deepcopy(small_study_values()["rows"])
    rows[1] |= changes
    return rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "unknown key colour"),
        ({"budget": {"train_flop": 1.0}}, r"did you mean train_flops\?"),
        ({"rows": row_named(override={})}, r"row wider: unknown key override \(did you mean overrides"),
        ({"rows": row_named(name="plain")}, "row plain stands there twice"),
        ({"rows": row_named(name="a/b")}, "cannot name a file"),
        ({"rows": row_named(learning_rate_of="inpaint")}, "inpaint, which is not tuned"),
        ({"rows": row_named(learning_rate_of="nobody")}, "nobody, which is not tuned"),
        ({"rows": row_named(baseline="identity")}, "trains nothing"),
        ({"rows": row_named(overrides={"model.colour.x": 1})}, "unknown key model.colour"),
        ({"rows": row_named(overrides={"data.crop": "large"})}, "data.crop"),
        ({"rows": {"plain": {}}}, "rows is no list"),
        ({"rows": []}, "rows"),
        ({"grids": [{"name": "g", "axis": {}}]}, "grid g: unknown key axis"),
        ({"reference": "nobody"}, "reference nobody is no row"),
        ({"evaluate": {"split": "train"}}, "evaluate.split"),
        ({"base": BASE | {"data": {"synthetic": 1}}}, "no data.manifest"),
    ],
)
def test_what_is_wrong_with_a_study_is_named(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        load_study(write_study(tmp_path, with_changes(**changes)))


def test_a_study_is_found_by_path_or_by_name():
    with pytest.raises(ConfigError, match="no study at"):
        load_study("nowhere.yaml")
    with pytest.raises(UnknownNameError):
        load_study("nowhere")


@pytest.mark.parametrize("name", sorted(study_names()))
def test_every_shipped_study_reads(name: str):
    study = load_study(name)
    assert study.name == name
    assert study.evaluate.split == "validation"
    assert all(study.config(row).losses for row in study.rows)
