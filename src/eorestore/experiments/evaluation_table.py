"""Scores of models on scenes as rows, their mean and spread, and the best baseline; scores nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eorestore.errors import DataError, UnknownNameError
from eorestore.metrics.collection import BETTER, Aggregate, aggregate
from eorestore.metrics.regions import REGIONS

_DIGITS = {"psnr": 2, "ssim": 3, "ssim_paper": 3, "mae": 4, "rmse": 4, "sam": 2}
_HEADINGS = {
    "psnr": "PSNR dB", "ssim": "SSIM", "ssim_paper": "SSIM (zero-padded)", "mae": "MAE", "rmse": "RMSE",
    "sam": "SAM deg",
}  # fmt: skip


@dataclass(frozen=True)
class EvaluationRow:
    """One model on one scene.

    cover, seed: of the simulated clouds, None on a real pair. cloud_share: of the valid pixels, as scored.
    scores: by names such as `psnr` and `psnr_cloud`; NaN where the scene has no such pixel.
    oracle: whether the model was shown the answer.
    """

    model: str
    scene: str
    place: str
    cover: float | None
    seed: int | None
    cloud_share: float
    scores: Mapping[str, float]
    oracle: bool = False


@dataclass(frozen=True)
class Comparison:
    """A model against the best of several baselines at one cover.

    means: mean over places of each place's mean, by model. pairs: both scores on every scene and seed.
    difference: by how much the model is better than `best`, positive is better whatever the score.
    """

    cover: float | None
    score: str
    model: str
    best: str
    means: Mapping[str, float]
    difference: float
    pairs: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class EvaluationTable:
    """All rows, and the conditions under which they were scored (crop, clamp, mask, ...)."""

    protocol: str
    metrics: tuple[str, ...]
    conditions: Mapping[str, str]
    rows: tuple[EvaluationRow, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in the order of their first row."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def covers(self) -> tuple[float | None, ...]:
        """Covers in the order of their first row; (None,) for real pairs."""
        return tuple(dict.fromkeys(row.cover for row in self.rows))

    def aggregates(self, model: str, *, cover: float | None = None) -> dict[str, Aggregate]:
        """Mean, standard deviation and count of every score of a model at a cover. Raises UnknownNameError."""
        if model not in self.models:
            raise UnknownNameError("evaluated model", model, self.models)
        return aggregate(row.scores for row in self.rows if (row.model, row.cover) == (model, cover))

    def compare(self, model: str, baselines: Sequence[str], *, score: str = "psnr_cloud") -> tuple[Comparison, ...]:
        """`model` against the best of `baselines` at every cover. Raises UnknownNameError and DataError."""
        _metric_of(score)
        for name in (model, *baselines):
            if name not in self.models:
                raise UnknownNameError("evaluated model", name, self.models)
        return tuple(self._compare(model, tuple(baselines), score, cover) for cover in self.covers)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is None, an infinite one the text `inf`."""
        groups = [
            {"model": model, "cover": cover, "scores": _plain({name: asdict(value) for name, value in found.items()})}
            for cover in self.covers
            for model in self.models
            if (found := self.aggregates(model, cover=cover))
        ]
        return {
            "protocol": self.protocol,
            "metrics": list(self.metrics),
            "conditions": dict(self.conditions),
            "rows": [_plain(asdict(row)) for row in self.rows],
            "aggregates": groups,
        }

    def to_markdown(self) -> str:
        """Conditions, the table of means with standard deviations, and the table by scene."""
        lines = [f"Protocol {self.protocol}. " + " ".join(f"{k}: {v}." for k, v in self.conditions.items()), ""]
        lines += self._mean_table()
        lines += ["", f"By scene{', inside cloud' if self._has('cloud') else ''} (mean over seeds):", ""]
        lines += self._scene_table()
        return "\n".join(lines) + "\n"

    def _has(self, region: str) -> bool:
        return any(not math.isnan(row.scores.get(f"{self.metrics[0]}_{region}", math.nan)) for row in self.rows)

    def _mean_table(self) -> list[str]:
        simulated = self.covers != (None,)
        first = ["cover"] if simulated else []
        lines = _header([*first, "model", "region", *(_HEADINGS[name] for name in self.metrics), "n"])
        for cover in self.covers:
            for model in self.models:
                found = self.aggregates(model, cover=cover)
                for region in ("", *REGIONS):
                    names = [f"{name}_{region}" if region else name for name in self.metrics]
                    count = max((found[name].count for name in names if name in found), default=0)
                    if count == 0:
                        continue
                    cells = [_spread(found[name], name) for name in names]
                    start = [_percent(cover)] if simulated else []
                    lines.append(_line([*start, self._label(model), region or "all", *cells, str(count)]))
        return lines

    def _scene_table(self) -> list[str]:
        region = "cloud" if self._has("cloud") else ""
        names = [f"{name}_{region}" if region else name for name in self.metrics]
        simulated = self.covers != (None,)
        start = ["cover"] if simulated else []
        lines = _header(["scene", *start, "model", "cloud", *(_HEADINGS[name] for name in self.metrics)])
        for scene in dict.fromkeys(row.scene for row in self.rows):
            for cover in self.covers:
                for model in self.models:
                    rows = [row for row in self.rows if (row.scene, row.cover, row.model) == (scene, cover, model)]
                    if not rows:
                        continue
                    found = aggregate(row.scores for row in rows)
                    share = sum(row.cloud_share for row in rows) / len(rows)
                    cells = [format_score(found[name].mean, name) for name in names]
                    middle = [_percent(cover)] if simulated else []
                    lines.append(_line([scene, *middle, self._label(model), _percent(share), *cells]))
        return lines

    def _label(self, model: str) -> str:
        return f"{model} (oracle)" if any(row.oracle for row in self.rows if row.model == model) else model

    def _compare(self, model: str, baselines: tuple[str, ...], score: str, cover: float | None) -> Comparison:
        values = {name: self._by_case(name, score, cover) for name in (model, *baselines)}
        places = {(row.scene, row.seed): row.place for row in self.rows}
        common = [case for case in values[model] if all(case in found for found in values.values())]
        if not common:
            raise DataError(f"no scene has {score} for all models", fix="choose another score, or more scenes")
        means = {name: _mean_over_places(found, common, places) for name, found in values.items()}
        sign = 1.0 if BETTER[_metric_of(score)] == "higher" else -1.0
        best = max(baselines, key=lambda name: sign * means[name])
        pairs = tuple(
            {
                "scene": scene,
                "seed": seed,
                "model": values[model][scene, seed],
                "best": values[best][scene, seed],
                "difference": sign * (values[model][scene, seed] - values[best][scene, seed]),
            }
            for scene, seed in common
        )
        return Comparison(cover, score, model, best, means, sign * (means[model] - means[best]), pairs)

    def _by_case(self, model: str, score: str, cover: float | None) -> dict[tuple[str, int | None], float]:
        return {
            (row.scene, row.seed): row.scores[score]
            for row in self.rows
            if (row.model, row.cover) == (model, cover) and not math.isnan(row.scores.get(score, math.nan))
        }


def comparisons_to_json(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Comparisons as plain values."""
    return [_plain(asdict(item)) for item in comparisons]


def format_score(value: float, name: str) -> str:
    """A score as text with the digits of its metric; `n/a` where there is none."""
    if math.isnan(value):
        return "n/a"
    return "inf" if math.isinf(value) else f"{value:.{_DIGITS[_metric_of(name)]}f}"


def _metric_of(score: str) -> str:
    """The metric behind a score's name: `psnr_cloud` -> `psnr`. Raises UnknownNameError."""
    base = score
    for region in REGIONS:
        base = base.removesuffix(f"_{region}")
    if base not in BETTER:
        raise UnknownNameError("score", score, BETTER)
    return base


def _mean_over_places(
    values: Mapping[tuple[str, int | None], float],
    cases: Sequence[tuple[str, int | None]],
    places: Mapping[tuple[str, int | None], str],
) -> float:
    by_place: dict[str, list[float]] = {}
    for case in cases:
        by_place.setdefault(places[case], []).append(values[case])
    means = [sum(found) / len(found) for found in by_place.values()]
    return sum(means) / len(means)


def _spread(value: Aggregate, name: str) -> str:
    mean = format_score(value.mean, name)
    return mean if math.isnan(value.std) else f"{mean} ± {format_score(value.std, name)}"


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.0f} %"


def _header(cells: list[str]) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any plain value in, the same kind out
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
