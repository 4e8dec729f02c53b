"""Runs a study row by row: measures what a step costs, trains, scores, writes one record a run; draws no table.

```
OUT/  ROW-seedN.json   study.json  study.md   runs/ROW-seedN-HASH/ ...
```
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eorestore.config import RunConfig, config_hash
from eorestore.errors import DataError, TrainingError, WriteError
from eorestore.experiments.record import Record, make_record, read_record, write_record
from eorestore.experiments.scoring import scoring_of
from eorestore.experiments.study import Study, StudyRow
from eorestore.experiments.study_plan import (
    Skipped,
    check_losses,
    check_parameters,
    chosen_rows,
    measure,
    measure_or_skip,
    run_key,
    run_name,
    training_key,
    trial_key,
    with_budget,
)
from eorestore.experiments.study_summary import write_summary
from eorestore.experiments.training_run import data_hashes, train

_log = logging.getLogger(__name__)

RUNS = "runs"
Report = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class AblationResult:
    """How many runs ended how, by `done`, `failed`, `skipped` and `left`, and the names of those that failed."""

    folder: Path
    counts: Mapping[str, int]
    failed: tuple[str, ...]


def ablate(
    study: Study,
    *,
    out: Path,
    resume: bool = False,
    only: Sequence[str] = (),
    limit: int | None = None,
    max_minutes: float | None = None,
    retry_failed: bool = False,
    report: Report | None = None,
) -> AblationResult:
    """Train and score every run of a study that has no record yet; the summary is rewritten after each.

    A run whose training stops at a value that is not finite is trained at the next best learning rate that was
    tried. One for which none is left, or whose result cannot be scored, is recorded as failed, one that lacks the
    weights it `needs` as skipped, and the study goes on. Anything else ends it. A skipped run is tried again each
    time, a failed one only with `retry_failed`; an interrupted training goes on from its last state.

    Args:
        study: what to run.
        out: folder of records; must be without any unless `resume`.
        resume: go on with the study that stands there.
        only: names of rows; all of them by default.
        limit: runs to do at most.
        max_minutes: no run is begun after so many minutes.
        retry_failed: train failed runs anew.
        report: is given the run's name and every record of a training's log, and `{"kind": status}` at its end.

    Raises:
        ConfigError, UnknownNameError: a row that does not build, before anything is trained.
        WriteError: a study stands there already, or the disk is full.
    """
    began = time.monotonic()
    rows = {row.name for row in chosen_rows(study, only)}
    runs = [(row, seed) for row, seed in study.runs() if row.name in rows]
    check_parameters(study, [row for row in study.rows if row.name in rows])
    check_losses(study, [row for row in study.rows if row.name in rows])
    config = study.config(study.rows[0])
    # before a baseline could take a missing scene for its own failure
    for split in study.evaluate.splits:
        scoring_of(config).check(config.data, replace(study.evaluate, split=split))
    _prepare_folder(out, resume=resume)
    bench = _Bench(study, out, report)
    counts = dict.fromkeys(("done", "failed", "skipped", "left"), 0)
    failed = []
    worked = 0
    for row, seed in runs:
        status = bench.status(row, seed)
        final = {"done"} if retry_failed else {"done", "failed"}
        if status not in final:
            late = max_minutes is not None and time.monotonic() - began > 60 * max_minutes
            if late or (limit is not None and worked >= limit):
                counts["left"] += 1
                continue
            status = bench.run(row, seed, anew=status == "failed")
            worked += status != "skipped"
        counts[status] += 1
        if status == "failed":
            failed.append(run_name(row, seed))
    write_summary(study, out, bench.records())
    return AblationResult(out, counts, tuple(failed))


class _Bench:
    """One study in one folder: which runs have ended, and how one is done."""

    def __init__(self, study: Study, out: Path, report: Report | None) -> None:
        self._study, self._out, self._report = study, out, report

    def records(self) -> dict[str, Record]:
        """The records of all ended runs by name, in the order of the study."""
        found = {run_name(row, seed): self._record(row, seed) for row, seed in self._study.runs()}
        return {name: record for name, record in found.items() if record is not None}

    def status(self, row: StudyRow, seed: int) -> str | None:
        """How the run ended; None where it has no record, or one of another configuration."""
        record = self._record(row, seed)
        return None if record is None else str(record.scores["status"])

    def run(self, row: StudyRow, seed: int, *, anew: bool) -> str:
        """Do one run and write its record; what became of it."""
        name = run_name(row, seed)
        if anew:
            for folder in (self._out / RUNS).glob(f"{name}-*"):
                shutil.rmtree(folder)
        began = time.monotonic()
        data: dict[str, str] = {}
        try:
            scores, data = self._do(row, seed)
        except TrainingError as error:
            scores = {"status": "failed", "reason": error.message}
        seconds = scores.get("train_seconds", 0.0) + scores.get("evaluate_seconds", 0.0)
        seconds = seconds or time.monotonic() - began
        key = run_key(self._study, row, seed)
        record = make_record("ablation", name, config=key, scores=scores, seconds=seconds, data=data)
        write_record(self._out / f"{name}.json", record)
        write_summary(self._study, self._out, self.records())
        if self._report is not None:
            self._report(name, {"kind": scores["status"], "reason": scores.get("reason")})
        return str(scores["status"])

    def _record(self, row: StudyRow, seed: int) -> Record | None:
        path = self._out / f"{run_name(row, seed)}.json"
        if not path.is_file():
            return None
        record = read_record(path)
        return record if record.config_hash == config_hash(run_key(self._study, row, seed)) else None

    def _do(self, row: StudyRow, seed: int) -> tuple[dict[str, Any], dict[str, str]]:
        """Scores and data hashes of a run."""
        name = run_name(row, seed)
        if row.baseline is not None:
            return {"status": "done", **self._scored(row.baseline, name, row)}, data_hashes(self._study.config(row))
        cost = measure_or_skip(self._study, row)
        if isinstance(cost, Skipped):
            return {"status": "skipped", "reason": cost.reason}, {}
        rates, tried = self._learning_rates(row)
        key = training_key(self._study, row, seed)
        diverged: list[float] = []
        for rate in rates:
            config = with_budget(self._study, self._study.config(row, seed=seed), cost, rate=rate)
            try:
                record, folder = self._trained(config, name, key | ({"rate": rate} if diverged else {}))
                break
            except TrainingError as error:
                if rate == rates[-1]:
                    raise
                _log.warning("%s: diverges at learning rate %g, the next best is taken: %s", name, rate, error.message)
                diverged.append(rate)
        step = cost.flops * config.training.accumulate
        facts = {
            "status": "done",
            "parameters": cost.parameters,
            "gflops_step": step / 1e9,
            "train_flops": float(step * config.training.steps),
            "steps": config.training.steps,
            "learning_rate": rate,
            "tried": tried,
            "diverged": diverged,
            "train_seconds": record.seconds,
            "validation": record.scores["last"],
            "best": record.scores["best"],
        }
        return facts | self._scored(str(folder / "best"), name, row), record.data

    def _learning_rates(self, row: StudyRow) -> tuple[list[float], dict[str, float | None]]:
        """The row's learning rates, best first, and the validation score of each tried; None where one diverged."""
        source = row if row.learning_rate_of is None else self._study.row(row.learning_rate_of)
        if not self._study.is_tuned(source):
            return [self._study.config(row).training.learning_rate], {}
        study = self._study
        if len(study.learning_rates) == 1:
            return [study.learning_rates[0]], {}
        tried = self._recorded_trials(source) or self._trials(source)
        known = {rate: score for rate, score in tried.items() if score is not None}
        if not known:
            raise TrainingError(
                f"row {source.name} diverges at every learning rate", fix="name lower ones in learning_rates"
            )
        falling = study.config(source).training.best_is == "highest"
        ranked = sorted(known, key=lambda rate: known[rate], reverse=falling)
        return ranked, {f"{rate:g}": score for rate, score in tried.items()}

    def _recorded_trials(self, source: StudyRow) -> dict[float, float | None] | None:
        """What the record of a run that took its rate from the same row says of them, so that records are enough."""
        for row, seed in self._study.runs():
            if source.name in (row.name, row.learning_rate_of):
                record = self._record(row, seed)
                found = {} if record is None else record.scores.get("tried", {})
                if found:
                    return {rate: found[f"{rate:g}"] for rate in self._study.learning_rates}
        return None

    def _trials(self, source: StudyRow) -> dict[float, float | None]:
        """The validation score of the row at each learning rate, each trained for a share of the budget."""
        study = self._study
        cost = measure(study, source)
        tried: dict[float, float | None] = {}
        for rate in study.learning_rates:
            config = with_budget(study, study.config(source), cost, rate=rate, share=study.budget.tune_share)
            try:
                record, _ = self._trained(config, f"{source.name}-rate{rate:g}", trial_key(study, source, rate))
                tried[rate] = record.scores["best"][0][config.training.best_by]
            except TrainingError as error:
                _log.warning("%s: learning rate %g is out: %s", source.name, rate, error.message)
                tried[rate] = None
        return tried

    def _trained(self, config: RunConfig, name: str, key: Mapping[str, Any]) -> tuple[Record, Path]:
        """The record and folder of a training, which is begun, continued, or found complete."""
        folder = self._out / RUNS / f"{name}-{config_hash(key)[:8]}"
        if (folder / "record.json").is_file():
            return read_record(folder / "record.json"), folder
        report = self._report
        run = train(
            config,
            name=folder.name,
            out=folder.parent,
            resume=(folder / "config.yaml").is_file(),
            report=None if report is None else lambda record: report(name, record),
        )
        shutil.rmtree(folder / "state")  # only an unfinished training needs it, and it is the largest part
        return run.record, folder

    def _scored(self, model: str, name: str, row: StudyRow) -> dict[str, Any]:
        """The evaluation of a model as plain values, its rows called `name`, and the seconds that it took.

        Raises TrainingError where the model cannot be scored, because it restores to values that are not finite.
        """
        began = time.monotonic()
        config = self._study.config(row)
        try:
            first, *final = (
                scoring_of(config).score(model, config.data, replace(self._study.evaluate, split=split))
                for split in self._study.evaluate.splits
            )
        except DataError as error:
            raise TrainingError(error.message, fix=error.fix) from error
        for found in (first, *final):
            for item in (*found["rows"], *found.get("strata", ()), *found.get("aggregates", ())):
                item["model"] = name
        more = {"final": final[0]} if final else {}
        return {"evaluate_seconds": round(time.monotonic() - began, 3), **first, **more}


def _prepare_folder(out: Path, *, resume: bool) -> None:
    if not resume and (any(out.glob("*-seed*.json")) or (out / RUNS).exists()):
        raise WriteError(f"{out} holds a study already", fix="go on with --resume, or choose another folder with -o")
    try:
        (out / RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{out} cannot be written: {error.strerror or error}", fix="choose another folder") from None
