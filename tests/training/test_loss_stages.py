"""Losses in stages: when they change, what the log says of it, and that a resumed run is in the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy_training import l1, l2, mae, train_toy

from eorestore.losses.weighted import WeightedSum
from eorestore.training.log import MetricsLog, read_log

# of ten updates: the first three, the next two, the last five
LOSSES = WeightedSum({"l1": l1, "l2": l2}, {"l1": 1.0}, later=((0.3, {"l1": 0.8, "l2": 0.1}), (0.5, {"l2": 2.0})))
WHAT_HOLDS = [{"l1": 1.0}] * 3 + [{"l1": 0.8, "l2": 0.1}] * 2 + [{"l2": 2.0}] * 5
OPTIONS: dict[str, Any] = {"losses": LOSSES, "log_every": 1, "checkpoint_every": 1, "best_by": "mae"}


class Broken(Exception):  # noqa: N818 - not an error: it breaks a training off, as a kill would
    pass


def mse(image: Tensor, batch: dict[str, Tensor]) -> Tensor:
    return (image - batch["target"]).square().flatten(1).mean(1)


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    return [row for row in read_log(run / "metrics.jsonl") if row["kind"] == kind]


def break_at(step: int, kind: str = "train"):
    def report(record: dict[str, Any]) -> None:
        if (record["kind"], record["step"]) == (kind, step):
            raise Broken

    return report


def test_every_update_goes_by_the_weights_of_its_stage(tmp_path: Path) -> None:
    train_toy(tmp_path / "run", **OPTIONS)
    rows = records(tmp_path / "run", "train")
    assert [row["step"] for row in rows] == list(range(1, 11))
    for row, weights in zip(rows, WHAT_HOLDS, strict=True):
        assert {name for name in row if name.startswith("loss_")} == {f"loss_{name}" for name in weights}
        assert row["loss"] == pytest.approx(sum(w * row[f"loss_{name}"] for name, w in weights.items()), rel=1e-5)


def test_the_log_names_the_first_update_of_each_stage_and_its_weights(tmp_path: Path) -> None:
    train_toy(tmp_path / "run", **OPTIONS)
    assert records(tmp_path / "run", "stage") == [
        {"kind": "stage", "step": 1, "stage": 1, "weight_l1": 1.0},
        {"kind": "stage", "step": 4, "stage": 2, "weight_l1": 0.8, "weight_l2": 0.1},
        {"kind": "stage", "step": 6, "stage": 3, "weight_l2": 2.0},
    ]


def test_a_run_without_stages_says_nothing_of_them(tmp_path: Path) -> None:
    train_toy(tmp_path / "run")
    assert records(tmp_path / "run", "stage") == []


def test_validation_goes_by_the_losses_of_the_last_update(tmp_path: Path) -> None:
    train_toy(tmp_path / "run", **OPTIONS, validate_every=3, metrics={"mae": mae, "mse": mse})
    first, *_, last = records(tmp_path / "run", "validation")
    assert (first["step"], last["step"]) == (3, 10)
    assert first["loss"] == pytest.approx(first["mae"], rel=1e-5)
    assert last["loss"] == pytest.approx(2 * last["mse"], rel=1e-5)


@pytest.mark.parametrize(("step", "kind"), [(3, "train"), (4, "stage"), (4, "train"), (6, "stage"), (7, "train")])
def test_a_resumed_run_is_in_the_right_stage_and_says_so_once(tmp_path: Path, step: int, kind: str) -> None:
    train_toy(tmp_path / "whole", **OPTIONS)
    with pytest.raises(Broken):
        train_toy(tmp_path / "broken", **OPTIONS, report=break_at(step, kind))
    train_toy(tmp_path / "broken", **OPTIONS, resume=True)
    assert records(tmp_path / "broken", "stage") == records(tmp_path / "whole", "stage")
    one, two = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_smoke_sees_every_stage(tmp_path: Path) -> None:
    train_toy(tmp_path / "run", **OPTIONS, smoke=True, steps=100_000)
    assert [row["stage"] for row in records(tmp_path / "run", "stage")] == [1, 2, 3]


def test_a_term_that_came_in_midway_is_averaged_over_its_own_steps(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", step=0, main=True, track=lambda *_: None)
    log.add({"loss": 1.0})
    log.add({"loss": 2.0, "loss_l2": 5.0})
    assert log.means() == {"loss": 1.5, "loss_l2": 5.0}
    log.add({"loss": 4.0})
    assert log.means() == {"loss": 4.0}
