"""Scores of enlarged images as rows, means by set and over all, and paired differences; scores nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from eorestore.experiments.bootstrap import LEVEL, RESAMPLES, Interval, paired_interval
from eorestore.experiments.expert_images import WINDOW, ExpertGroup, closed_share
from eorestore.experiments.score_text import HEADINGS, header, line, plain
from eorestore.metrics.collection import Aggregate, aggregate
from eorestore.metrics.perceptual import PerceptualTerms, ntire_score

POOLED = "all"  # the row of all images of several sets together
BASELINE = "bicubic"
COMPARED = ("psnr", "ssim")
_DIGITS = {"psnr": 3, "ssim": 4, "sam": 2, "lr_psnr": 2, "mae": 4, "rmse": 4}  # as benchmarks print them
_TERMS = {
    "lpips": "LPIPS",
    "dists": "DISTS",
    "niqe": "NIQE",
    "maniqa": "MANIQA",
    "musiq": "MUSIQ",
    "clipiqa": "CLIP-IQA",
}


@dataclass(frozen=True)
class ImageRow:
    """One model on one image. place: as the manifest has it. oracle: whether it was shown the answer."""

    model: str
    set: str
    scene: str
    place: str
    scores: Mapping[str, float]
    oracle: bool = False


@dataclass(frozen=True)
class ImageComparison:
    """One score of a model against another row of the table, over the images of a set.

    role: of the other row: `bicubic`, `mean of experts` or `best expert`, which is the best on the images at hand.
    interval: of the paired difference, positive where the model is better; None where a score is not finite.
    closed_pixel, closed_window: share of the way from the mean of the experts to the oracles, for the mean alone.
    """

    set: str
    score: str
    model: str
    against: str
    role: str
    interval: Interval | None
    closed_pixel: float = math.nan
    closed_window: float = math.nan


@dataclass(frozen=True)
class ImageTable:
    """All rows, and the conditions under which they were scored.

    weights: SHA-256 by model. data: SHA-256 of what was read, by name. perceptual: terms by set and model, where they
    were asked for. absent: what a term lacks.
    """

    protocol: str
    metrics: tuple[str, ...]
    conditions: Mapping[str, str]
    rows: tuple[ImageRow, ...]
    groups: tuple[ExpertGroup, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    perceptual: Mapping[tuple[str, str], PerceptualTerms] | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of all rows in the order of their first one."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets in order, and `all` where there are several."""
        found = tuple(dict.fromkeys(row.set for row in self.rows))
        return found if len(found) == 1 else (*found, POOLED)

    def aggregates(self, model: str, *, set_name: str = POOLED) -> dict[str, Aggregate]:
        """Mean, standard deviation and count of every score of a model over the images of a set."""
        return aggregate(row.scores for row in self._of(model, set_name))

    def comparisons(self) -> tuple[ImageComparison, ...]:
        """Models against `bicubic`, and fused ones against the mean and the best of their experts, by set."""
        found: list[ImageComparison] = []
        fused = {name: group for group in self.groups for name in group.fused}
        beside = {name for group in self.groups for name in (*group.experts, group.mean, *group.oracles)}
        for set_name in self.sets:
            for model in self.models:
                if model in beside or model == BASELINE:
                    continue
                if BASELINE in self.models:
                    found += self._compared(set_name, model, BASELINE, BASELINE)
                if model in fused:
                    found += self._against_experts(set_name, model, fused[model])
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is None, an infinite one the text `inf`.

        `aggregates` are over all images, those by set stand in `sets`.
        """
        return {
            "task": "super-resolution",
            "protocol": self.protocol,
            "metrics": list(self.metrics),
            "conditions": dict(self.conditions),
            "rows": [plain({**asdict(row), "cover": None, "seed": None, "cloud_share": None}) for row in self.rows],
            "aggregates": [self._group(model, POOLED) for model in self.models],
            "sets": [self._group(model, name) | {"set": name} for name in self.sets for model in self.models],
            "experts": [asdict(group) for group in self.groups],
            "comparisons": [plain(asdict(item)) for item in self.comparisons()],
            "perceptual": self._perceptual(),
            "absent": dict(self.absent),
            "weights": dict(self.weights),
        }

    def to_markdown(self) -> str:
        """Conditions, means by set, paired differences, perceptual terms, images."""
        lines = [f"Protocol {self.protocol}. " + " ".join(f"{k}: {v}." for k, v in self.conditions.items()), ""]
        lines += self._mean_lines()
        lines += self._comparison_lines()
        lines += self._perceptual_lines()
        lines += ["", "By image:", "", *header(["image", "model", *(HEADINGS[name] for name in self.metrics)])]
        for scene in dict.fromkeys(row.scene for row in self.rows):
            for row in self.rows:
                if row.scene == scene:
                    lines.append(
                        line([scene, self._label(row.model), *(_text(row.scores[m], m) for m in self.metrics)])
                    )
        return "\n".join(lines) + "\n"

    def _of(self, model: str, set_name: str) -> list[ImageRow]:
        return [row for row in self.rows if row.model == model and set_name in (row.set, POOLED)]

    def _group(self, model: str, set_name: str) -> dict[str, Any]:
        found = self.aggregates(model, set_name=set_name)
        return {
            "model": model,
            "cover": None,
            "scores": plain({name: asdict(value) for name, value in found.items()}),
        }

    def _label(self, model: str) -> str:
        return f"{model} (oracle)" if any(model in group.oracles for group in self.groups) else model

    def _mean_lines(self) -> list[str]:
        lines = header(["set", "model", *(HEADINGS[name] for name in self.metrics), "images"])
        for set_name in self.sets:
            for model in self.models:
                found = self.aggregates(model, set_name=set_name)
                cells = [_text(found[name].mean, name) for name in self.metrics]
                lines.append(line([set_name, self._label(model), *cells, str(len(self._of(model, set_name)))]))
        return lines

    def _comparison_lines(self) -> list[str]:
        items = self.comparisons()
        if not items:
            return []
        scores = tuple(dict.fromkeys(item.score for item in items))
        closed = any(group.oracles for group in self.groups)
        heads = ["set", "model", "against", *(HEADINGS[score] for score in scores)]
        heads += ["gap closed, pixel", f"gap closed, {WINDOW} x {WINDOW}"] if closed else []
        lines = ["", "Paired differences, positive where the model is better:", "", *header(heads)]
        for first in (item for item in items if item.score == scores[0]):
            same = {
                item.score: item
                for item in items
                if (item.set, item.model, item.role) == (first.set, first.model, first.role)
            }
            against = first.role if first.against == first.role else f"{first.role}, {first.against}"
            cells = [_difference(same[score].interval, score) if score in same else "" for score in scores]
            cells += [_share(first.closed_pixel), _share(first.closed_window)] if closed else []
            lines.append(line([first.set, first.model, against, *cells]))
        note = f"In brackets the {100 * LEVEL:.0f} % bootstrap interval over images ({RESAMPLES:,} resamples)."
        if closed:
            note += " Gap closed: the share of the way from the mean of the experts to each oracle, in decibels."
        return [*lines, "", note]

    def _perceptual_lines(self) -> list[str]:
        if self.perceptual is None:
            return []
        lines = ["", "Perceptual, each term averaged over the images first:", ""]
        lines += header(["set", "model", *_TERMS.values(), "score"])
        for (set_name, model), terms in self.perceptual.items():
            cells = [_plain_text(getattr(terms, name)) for name in _TERMS]
            lines.append(line([set_name, self._label(model), *cells, _plain_text(ntire_score(terms))]))
        reasons = "; ".join(f"{_TERMS[name]}: {reason}" for name, reason in self.absent.items())
        return [*lines, "", f"Not here: {reasons}."] if reasons else lines

    def _perceptual(self) -> list[dict[str, Any]] | None:
        if self.perceptual is None:
            return None
        return [
            {"set": set_name, "model": model, **asdict(terms), "score": ntire_score(terms)}
            for (set_name, model), terms in self.perceptual.items()
        ]

    def _compared(self, set_name: str, model: str, against: str, role: str) -> list[ImageComparison]:
        found = []
        for score in COMPARED:
            if score in self.metrics:
                mine, other = (self._by_scene(name, set_name, score) for name in (model, against))
                differences = [value - other[scene] for scene, value in mine.items() if scene in other]
                known = bool(differences) and all(map(math.isfinite, differences))
                interval = paired_interval({set_name: differences}) if known else None
                found.append(ImageComparison(set_name, score, model, against, role, interval))
        return found

    def _against_experts(self, set_name: str, model: str, group: ExpertGroup) -> list[ImageComparison]:
        if "psnr" not in self.metrics:
            return []
        means = {
            name: self.aggregates(name, set_name=set_name)["psnr"].mean
            for name in (model, *group.experts, group.mean, *group.oracles)
        }
        best = max(group.experts, key=lambda name: means[name])
        pixel, window = (
            math.nan if name is None else closed_share(means[model], means[group.mean], means[name])
            for name in (group.by_pixel, group.by_window)
        )
        found = self._compared(set_name, model, group.mean, "mean of experts")
        found = [
            replace(item, closed_pixel=pixel, closed_window=window) if item.score == "psnr" else item for item in found
        ]
        return found + self._compared(set_name, model, best, "best expert")

    def _by_scene(self, model: str, set_name: str, score: str) -> dict[str, float]:
        return {row.scene: row.scores[score] for row in self._of(model, set_name)}


def pooled_terms(terms: Iterable[PerceptualTerms], counts: Sequence[int]) -> PerceptualTerms:
    """The terms over the images of several sets, of which each has so many."""
    found = list(terms)
    means: dict[str, float] = {}
    for name in _TERMS:
        values = [getattr(one, name) for one in found]
        if values and None not in values:
            means[name] = sum(n * value for n, value in zip(counts, values, strict=True)) / sum(counts)
    return PerceptualTerms(**means)


def _text(value: float, score: str) -> str:
    if math.isnan(value):
        return "n/a"
    return "inf" if math.isinf(value) else f"{value:.{_DIGITS[score]}f}"


def _difference(found: Interval | None, score: str) -> str:
    if found is None:
        return "n/a"
    digits = _DIGITS[score]
    return f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f} %"


def _plain_text(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"
