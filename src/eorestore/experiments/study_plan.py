"""What a study will do before it does it: what a step costs, how many steps the budget pays for, what decides a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from eorestore.config import RunConfig
from eorestore.errors import ConfigError, MissingError, UsageError
from eorestore.experiments.flops import TrainingCost, parameter_count, training_cost
from eorestore.experiments.study import Study, StudyRow
from eorestore.experiments.training_run import CHANGEABLE, weighted_sum
from eorestore.models.model import Model
from eorestore.models.table import build_model


@dataclass(frozen=True)
class Skipped:
    """Why a row is not trained."""

    reason: str


@dataclass(frozen=True)
class PlannedRow:
    """What a row would cost. steps, cost: None for a baseline and for a row that is skipped, with the reason.

    trials: short trainings that look for the learning rate. seconds: of one training, from one timed step, without
    data, validation and scoring.
    """

    row: StudyRow
    cost: TrainingCost | None = None
    steps: int | None = None
    trials: int = 0
    seconds: float = 0.0
    skipped: str | None = None


def plan(study: Study, *, only: Sequence[str] = ()) -> tuple[PlannedRow, ...]:
    """Parameters, FLOPs and steps of every row, from one step on made-up input; nothing is trained or read.

    Raises ConfigError for rows that do not build or have too few or too many parameters.
    """
    rows = chosen_rows(study, only)
    check_parameters(study, rows)
    planned = []
    for row in rows:
        if row.baseline is not None:
            planned.append(PlannedRow(row))
            continue
        cost = measure_or_skip(study, row)
        if isinstance(cost, Skipped):
            planned.append(PlannedRow(row, skipped=cost.reason))
            continue
        steps = with_budget(study, study.config(row), cost).training.steps
        trials = len(study.learning_rates) if study.is_tuned(row) and len(study.learning_rates) > 1 else 0
        seconds = steps * study.config(row).training.accumulate * cost.seconds
        planned.append(PlannedRow(row, cost, steps, trials, seconds))
    return tuple(planned)


def check_parameters(study: Study, rows: Sequence[StudyRow]) -> None:
    """Whether every row that trains builds and has as many parameters as the study wants.

    Raises ConfigError naming all rows whose size is wrong, and UnknownNameError for a network.
    """
    low, high = study.parameters
    counts = {row.name: parameter_count(_build(study.config(row))) for row in rows if row.baseline is None}
    wrong = [f"row {name} has {count:,} parameters" for name, count in counts.items() if not low <= count <= high]
    if wrong:
        raise ConfigError(
            f"study {study.name} wants {low:,} to {high:,} parameters: {'; '.join(wrong)}",
            fix="change the settings of these rows",
        )


def check_losses(study: Study, rows: Sequence[StudyRow]) -> None:
    """Whether every row can do a training step, tried on one item.

    Raises ConfigError for a loss that does not fit the model, UnknownNameError for a task or loss, and MissingError
    where weights are absent and the row does not say that it `needs` some.
    """
    for row in rows:
        if row.baseline is None:
            measure_or_skip(study, row, batch=1)


def run_name(row: StudyRow, seed: int) -> str:
    """`ROW-seedN`, the name of a run and of its record."""
    return f"{row.name}-seed{seed}"


def run_key(study: Study, row: StudyRow, seed: int) -> dict[str, Any]:
    """All that decides a run, as plain values: its record's configuration, by whose hash it is known as done."""
    wanted = asdict(study.evaluate)
    if study.evaluate.final is None:
        del wanted["final"]  # which runs recorded before there was one do not name
    return training_key(study, row, seed) | {"evaluate": _plain(wanted)}


def trial_key(study: Study, row: StudyRow, rate: float) -> dict[str, Any]:
    """All that decides a short training of a row at one learning rate."""
    return {"run": _decisive(study.config(row)), "budget": asdict(study.budget), "rate": rate}


def training_key(study: Study, row: StudyRow, seed: int) -> dict[str, Any]:
    """All that decides the training of a run; how it is scored is left out."""
    key: dict[str, Any] = {"row": row.name, "seed": seed, "main": row.main, "baseline": row.baseline}
    if row.baseline is not None:
        return key | {"data": _decisive(study.config(row))["data"]}
    key |= {"run": _decisive(study.config(row, seed=seed)), "budget": asdict(study.budget)}
    source = row if row.learning_rate_of is None else study.row(row.learning_rate_of)
    if study.is_tuned(source):
        tried = {"row": source.name, "tried": list(study.learning_rates)}
        key |= {"rates": tried if source is row else tried | {"run": _decisive(study.config(source))}}
    return key


def chosen_rows(study: Study, only: Sequence[str]) -> tuple[StudyRow, ...]:
    """The rows called `only`, or all. Raises UnknownNameError."""
    return tuple(study.row(name) for name in only) or study.rows


def measure_or_skip(study: Study, row: StudyRow, *, batch: int | None = None) -> TrainingCost | Skipped:
    """What a step of the row costs, or why the row is skipped: it `needs` weights that are absent."""
    try:
        return measure(study, row, batch=batch)
    except MissingError as error:
        if not row.needs:
            raise
        return Skipped(error.message)


def measure(study: Study, row: StudyRow, *, batch: int | None = None) -> TrainingCost:
    """What a step of the row costs, of the budget's batch by default. Raises MissingError where weights are absent.

    Of losses in stages, the mean over the training.
    """
    config = study.config(row)
    model, size = _build(config), batch or study.budget.batch
    stages = [
        (share, training_cost(model, losses, crop=study.budget.crop, batch=size))
        for share, losses in weighted_sum(config).stages()
    ]
    return TrainingCost(
        stages[0][1].parameters,
        flops=round(sum(share * cost.flops for share, cost in stages)),
        seconds=sum(share * cost.seconds for share, cost in stages),
    )


def with_budget(
    study: Study, config: RunConfig, cost: TrainingCost, *, rate: float | None = None, share: float = 1.0
) -> RunConfig:
    """`config` with as many steps as `share` of the budget pays for, and all that goes by steps scaled with them.

    Raises UsageError where that is no step.
    """
    settings, budget = config.training, study.budget
    steps = int(share * budget.train_flops / (cost.flops * settings.accumulate)) if cost.flops else 0
    if steps < 1:
        raise UsageError(
            f"{share * budget.train_flops:.3g} FLOPs pay for no step of {config.name}, which costs {cost.flops:.3g}",
            fix="raise budget.train_flops",
        )
    every = math.ceil(steps / budget.validations)
    training = replace(
        settings,
        steps=steps,
        learning_rate=rate or settings.learning_rate,
        warmup=min(round(share * settings.warmup), steps),
        validate_every=every,
        checkpoint_every=min(settings.checkpoint_every, every),
    )
    return replace(config, training=training)


def _build(config: RunConfig) -> Model:
    return build_model(config.model.name, config.model.settings, seed=config.seed)


def _decisive(config: RunConfig) -> dict[str, Any]:
    """The run as plain values without what may differ from machine to machine, and without what the budget decides."""
    values = config.to_dict()
    for key in CHANGEABLE:
        *parents, last = key.split(".")
        below = values
        for parent in parents:
            below = below[parent]
        below.pop(last, None)
    return values


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
