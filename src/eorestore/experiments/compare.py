"""Models side by side: paired differences of scores with intervals, and costs; scores and measures nothing itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from eorestore.errors import DataError
from eorestore.experiments.bootstrap import LEVEL, RESAMPLES, Interval, paired_interval
from eorestore.experiments.evaluation_table import EvaluationRow, EvaluationTable
from eorestore.experiments.profile import ModelProfile
from eorestore.experiments.record import read_record
from eorestore.experiments.score_text import HEADINGS, format_score, header, is_higher_better, line, percent, plain

METRICS = ("psnr", "ssim", "mae", "sam")


@dataclass(frozen=True)
class Difference:
    """One score of a model against the first model.

    cover: of the simulated clouds; None for all of them, or a real pair. mean, first: mean over places of both.
    interval: of the paired difference, positive where the model is better; None for the first model itself, and
    where the two have no scene in common.
    """

    model: str
    score: str
    cover: float | None
    mean: float
    first: float
    interval: Interval | None


@dataclass(frozen=True)
class ModelComparison:
    """All differences and profiles, and how the scores came about; a part that was not asked for is empty."""

    models: tuple[str, ...]
    conditions: Mapping[str, str]
    differences: tuple[Difference, ...]
    profiles: tuple[ModelProfile, ...]
    resamples: int

    def to_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is None."""
        return {
            "models": list(self.models),
            "conditions": dict(self.conditions),
            "level": LEVEL,
            "resamples": self.resamples,
            "differences": [plain(asdict(item)) for item in self.differences],
            "profiles": [asdict(item) for item in self.profiles],
        }

    def to_markdown(self) -> str:
        """A table of scores with differences, and a table of costs."""
        return "\n".join([*self._score_lines(), *self._cost_lines()]) + "\n"

    def _score_lines(self) -> list[str]:
        if not self.differences:
            return []
        scores = tuple(dict.fromkeys(item.score for item in self.differences))
        lines = [" ".join(f"{key}: {value}." for key, value in self.conditions.items()), ""]
        lines += header(["cover", "model", *(_heading(score) for score in scores), "scenes", "places"])
        found = {(item.cover, item.model, item.score): item for item in self.differences}
        for cover in dict.fromkeys(item.cover for item in self.differences):
            for model in self.models:
                items = [found[cover, model, score] for score in scores]
                interval = items[0].interval
                counts = ["", ""] if interval is None else [str(interval.count), str(interval.places)]
                covered = "all" if cover is None else percent(cover)
                lines.append(line([covered, model, *(_cell(item) for item in items), *counts]))
        note = (
            f"Mean over places; behind it the paired difference to {self.models[0]}, positive where the model is "
            f"better, with its {100 * LEVEL:.0f} % bootstrap interval ({self.resamples:,} resamples of places, then of "
            "scenes)."
        )
        return [*lines, "", note, ""]

    def _cost_lines(self) -> list[str]:
        if not self.profiles:
            return []
        lines = header(["pixels", "model", "parameters", "GFLOPs", "ms", "times the first", "MP/s", "peak MB"])
        by_size = [(size, profile) for profile in self.profiles for size in profile.sizes]
        for side in sorted({size.side for size, _ in by_size}):
            for size, profile in by_size:
                if size.side == side:
                    memory = "n/a" if size.memory_bytes is None else f"{size.memory_bytes / 1e6:.0f}"
                    cells = [f"{size.flops / 1e9:.3g}", f"{size.milliseconds:.1f}", f"{size.ratio:.2f}"]
                    cells += [f"{size.megapixels_per_second:.3g}", memory]
                    lines.append(line([f"{side} x {side}", profile.model, f"{profile.parameters:,}", *cells]))
        note = (
            "One image a pass. GFLOPs are 2 x MAC of convolutions and matrix products. Times are medians of rounds in "
            "which the models take turns. Peak memory is of weights and pass, in a process of its own."
        )
        return [*lines, "", note]


def compare_tables(
    table: EvaluationTable, *, profiles: Sequence[ModelProfile] = (), resamples: int = RESAMPLES, seed: int = 0
) -> ModelComparison:
    """Every model of a table against its first, by every metric, inside cloud where there is any.

    A scene's difference is the mean over its cloud seeds, and over covers in the line for all covers; places and
    then scenes are resampled. Raises DataError where no score is known for any scene.
    """
    region = "_cloud" if any(not math.isnan(_value(row, f"{table.metrics[0]}_cloud")) for row in table.rows) else ""
    scores = [f"{metric}{region}" for metric in table.metrics if metric in METRICS]
    covers: list[float | None] = [None, *(cover for cover in table.covers if cover is not None)]
    if len(covers) == 2:
        covers = covers[1:]
    differences = [
        _difference(table, model, score, cover, resamples=resamples, seed=seed)
        for cover in covers
        for model in table.models
        for score in scores
    ]
    return ModelComparison(table.models, table.conditions, tuple(differences), tuple(profiles), resamples)


def read_evaluations(paths: Sequence[Path]) -> EvaluationTable:
    """The rows of records of `evaluate` or `ablate` as one table; see `join_tables`.

    Raises DataError for a record without rows.
    """
    return join_tables([_read_table(path) for path in paths])


def join_tables(tables: Sequence[EvaluationTable]) -> EvaluationTable:
    """The rows of all tables, by the metrics that all have.

    Raises DataError for tables made under different conditions, without a metric in common, or with one model twice.
    """
    first, *others = tables
    for table in others:
        keys = [
            key for key in {**first.conditions, **table.conditions} if _condition(first, key) != _condition(table, key)
        ]
        keys += ["protocol"] if table.protocol != first.protocol else []
        if keys:
            raise DataError(
                f"{', '.join(table.models)} and {', '.join(first.models)} were scored differently: {', '.join(keys)}",
                fix="evaluate all models in the same way",
            )
    names = [name for table in tables for name in table.models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{', '.join(twice)} is scored twice", fix="give each model once")
    metrics = tuple(name for name in first.metrics if all(name in table.metrics for table in others))
    if not metrics:
        raise DataError("the evaluations have no metric in common", fix="evaluate all models by the same metrics")
    return replace(first, metrics=metrics, rows=tuple(row for table in tables for row in table.rows))


def _read_table(path: Path) -> EvaluationTable:
    scores = read_record(path).scores
    if not {"rows", "metrics", "conditions", "protocol"} <= set(scores):
        raise DataError(f"{path} holds no rows of an evaluation", fix="give records of evaluate or ablate")
    known = {item.name for item in fields(EvaluationRow)}
    rows = []
    for row in scores["rows"]:
        values = {name: _number(value) for name, value in row["scores"].items()}
        rows.append(EvaluationRow(**{key: value for key, value in row.items() if key in known} | {"scores": values}))
    return EvaluationTable(scores["protocol"], tuple(scores["metrics"]), scores["conditions"], tuple(rows))


def _condition(table: EvaluationTable, key: str) -> str | None:
    return table.conditions.get(key)


def _number(value: float | str | None) -> float:
    """A score as JSON holds it: None for NaN, a text for infinity."""
    return math.nan if value is None else float(value)


def _difference(
    table: EvaluationTable, model: str, score: str, cover: float | None, *, resamples: int, seed: int
) -> Difference:
    mine, first = (_by_scene(table, name, score, cover) for name in (model, table.models[0]))
    sign = 1.0 if is_higher_better(score) else -1.0
    pairs: dict[str, list[float]] = {}
    for (place, scene), values in mine.items():
        other = first.get((place, scene), {})
        common = [sign * (value - other[case]) for case, value in values.items() if case in other]
        if common:
            pairs.setdefault(place, []).append(math.fsum(common) / len(common))
    itself = model == table.models[0]
    interval = None if itself or not pairs else paired_interval(pairs, resamples=resamples, seed=seed)
    return Difference(model, score, cover, _over_places(mine), _over_places(first), interval)


def _by_scene(
    table: EvaluationTable, model: str, score: str, cover: float | None
) -> dict[tuple[str, str], dict[tuple[float | None, int | None], float]]:
    """Finite scores by (place, scene), then by (cover, seed)."""
    found: dict[tuple[str, str], dict[tuple[float | None, int | None], float]] = {}
    for row in table.rows:
        value = _value(row, score)
        if row.model == model and cover in (None, row.cover) and math.isfinite(value):
            found.setdefault((row.place, row.scene), {})[row.cover, row.seed] = value
    return found


def _over_places(scenes: Mapping[tuple[str, str], Mapping[Any, float]]) -> float:
    places: dict[str, list[float]] = {}
    for (place, _), values in scenes.items():
        places.setdefault(place, []).append(math.fsum(values.values()) / len(values))
    means = [math.fsum(values) / len(values) for values in places.values()]
    return math.fsum(means) / len(means) if means else math.nan


def _value(row: EvaluationRow, score: str) -> float:
    return row.scores.get(score, math.nan)


def _heading(score: str) -> str:
    metric, _, region = score.partition("_")
    return f"{HEADINGS[metric]}{f' in {region}' if region else ''}"


def _cell(item: Difference) -> str:
    text = format_score(item.mean, item.score)
    if item.interval is None:
        return text
    mean, low, high = (
        format_score(value, item.score) for value in (item.interval.mean, item.interval.low, item.interval.high)
    )
    return f"{text} ({'+' if item.interval.mean >= 0 else ''}{mean} [{low}, {high}])"
