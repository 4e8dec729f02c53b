"""Scores of models on scenes as rows, their mean and spread, and the best baseline; scores nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from eorestore.errors import DataError, UnknownNameError
from eorestore.experiments.score_text import (
    HEADINGS,
    header,
    is_higher_better,
    line,
    metric_of,
    percent,
    plain,
    spread,
)
from eorestore.experiments.score_text import format_score as format_score
from eorestore.experiments.strata_table import StratumRow, strata_to_json, strata_to_markdown
from eorestore.metrics.collection import Aggregate, aggregate
from eorestore.metrics.regions import REGIONS

DETAILS = (
    "bias", "ndvi", "ndwi", "gradient_correlation", "edge_correlation", "coverage_90", "interval_width",
)  # fmt: skip
"""Scores that every case gets inside cloud, besides the metrics of the protocol; the last two need a sigma."""


@dataclass(frozen=True)
class EvaluationRow:
    """One model on one scene.

    cover, seed: of the simulated clouds, None on a real pair. cloud_share: of the valid pixels, as scored.
    scores: by names such as `psnr` and `psnr_cloud`; NaN where the scene has no such pixel.
    oracle: whether the model was shown the answer.
    by_band: inside cloud, by name and then by band: `bias`, and of a model with sigma `coverage_90`, `interval_width`.
    """

    model: str
    scene: str
    place: str
    cover: float | None
    seed: int | None
    cloud_share: float
    scores: Mapping[str, float]
    oracle: bool = False
    by_band: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


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
    """All rows, and the conditions under which they were scored (crop, clamp, mask, ...).

    strata: one row a model, case and stratum, where strata were asked for.
    """

    protocol: str
    metrics: tuple[str, ...]
    conditions: Mapping[str, str]
    rows: tuple[EvaluationRow, ...]
    strata: tuple[StratumRow, ...] = ()

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
        is_higher_better(score)
        for name in (model, *baselines):
            if name not in self.models:
                raise UnknownNameError("evaluated model", name, self.models)
        return tuple(self._compare(model, tuple(baselines), score, cover) for cover in self.covers)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is None, an infinite one the text `inf`."""
        groups = [
            {"model": model, "cover": cover, "scores": plain({name: asdict(value) for name, value in found.items()})}
            for cover in self.covers
            for model in self.models
            if (found := self.aggregates(model, cover=cover))
        ]
        return {
            "protocol": self.protocol,
            "metrics": list(self.metrics),
            "conditions": dict(self.conditions),
            "rows": [plain(asdict(row)) for row in self.rows],
            "aggregates": groups,
            "strata": strata_to_json(self.strata),
        }

    def to_markdown(self) -> str:
        """Conditions, means with standard deviations, what else is known inside cloud, strata, scenes."""
        lines = [f"Protocol {self.protocol}. " + " ".join(f"{k}: {v}." for k, v in self.conditions.items()), ""]
        lines += self._mean_table()
        lines += self._detail_table()
        lines += self._band_table()
        lines += strata_to_markdown(self.strata, metrics=self.metrics)
        lines += ["", f"By scene{', inside cloud' if self._has('cloud') else ''} (mean over seeds):", ""]
        lines += self._scene_table()
        return "\n".join(lines) + "\n"

    def _has(self, region: str) -> bool:
        return any(not math.isnan(row.scores.get(f"{self.metrics[0]}_{region}", math.nan)) for row in self.rows)

    def _mean_table(self) -> list[str]:
        simulated = self.covers != (None,)
        first = ["cover"] if simulated else []
        lines = header([*first, "model", "region", *(HEADINGS[name] for name in self.metrics), "n"])
        for cover in self.covers:
            for model in self.models:
                found = self.aggregates(model, cover=cover)
                for region in ("", *REGIONS):
                    names = [f"{name}_{region}" if region else name for name in self.metrics]
                    count = max((found[name].count for name in names if name in found), default=0)
                    if count == 0:
                        continue
                    cells = [spread(found[name], name) for name in names]
                    start = [percent(cover)] if simulated else []
                    lines.append(line([*start, self._label(model), region or "all", *cells, str(count)]))
        return lines

    def _detail_table(self) -> list[str]:
        """Colour, indices, edges and intervals inside cloud; nothing where no row has them."""
        names = [f"{name}_cloud" for name in DETAILS if name not in self.metrics]
        if not any(name in row.scores for row in self.rows for name in names):
            return []
        simulated = self.covers != (None,)
        lines = ["", "Inside cloud (mean over scenes and seeds):", ""]
        lines += header([*(["cover"] if simulated else []), "model", *(HEADINGS[metric_of(name)] for name in names)])
        for cover in self.covers:
            for model in self.models:
                found = self.aggregates(model, cover=cover)
                cells = [format_score(found[name].mean, name) if name in found else "n/a" for name in names]
                lines.append(line([*([percent(cover)] if simulated else []), self._label(model), *cells]))
        return lines

    def _band_table(self) -> list[str]:
        """Bias of every band inside cloud, and how often its interval holds the truth, over all covers."""
        lines: list[str] = []
        for name, title in (("bias", "Bias"), ("coverage_90", "Coverage of the 90 % interval")):
            rows = [row for row in self.rows if name in row.by_band]
            bands = tuple(dict.fromkeys(band for row in rows for band in row.by_band[name]))
            if not rows:
                continue
            lines += ["", f"{title} by band inside cloud (mean over all cases):", "", *header(["model", *bands])]
            for model in dict.fromkeys(row.model for row in rows):
                means = aggregate(row.by_band[name] for row in rows if row.model == model)
                cells = [format_score(means[band].mean, name) if band in means else "n/a" for band in bands]
                lines.append(line([self._label(model), *cells]))
        return lines

    def _scene_table(self) -> list[str]:
        region = "cloud" if self._has("cloud") else ""
        names = [f"{name}_{region}" if region else name for name in self.metrics]
        simulated = self.covers != (None,)
        start = ["cover"] if simulated else []
        lines = header(["scene", *start, "model", "cloud", *(HEADINGS[name] for name in self.metrics)])
        for scene in dict.fromkeys(row.scene for row in self.rows):
            for cover in self.covers:
                for model in self.models:
                    rows = [row for row in self.rows if (row.scene, row.cover, row.model) == (scene, cover, model)]
                    if not rows:
                        continue
                    found = aggregate(row.scores for row in rows)
                    share = sum(row.cloud_share for row in rows) / len(rows)
                    cells = [format_score(found[name].mean, name) for name in names]
                    middle = [percent(cover)] if simulated else []
                    lines.append(line([scene, *middle, self._label(model), percent(share), *cells]))
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
        sign = 1.0 if is_higher_better(score) else -1.0
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
    return [plain(asdict(item)) for item in comparisons]


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
