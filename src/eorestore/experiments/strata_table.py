"""Rows of strata and their table: mean scores by stratum, over scenes and seeds; scores nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eorestore.experiments.score_text import HEADINGS, format_score, header, line, plain
from eorestore.experiments.strata import LEAST_PIXELS, MEANINGS, metrics_of
from eorestore.metrics.collection import aggregate


@dataclass(frozen=True)
class StratumRow:
    """One model on one stratum of one case.

    kind, name: as in `strata.Stratum`. pixels: how many were scored. scores: by name of the metric; NaN where the
    stratum has fewer than `LEAST_PIXELS`.
    """

    model: str
    scene: str
    place: str
    cover: float | None
    seed: int | None
    kind: str
    name: str
    pixels: int
    scores: Mapping[str, float]


def strata_to_json(rows: Iterable[StratumRow]) -> list[dict[str, Any]]:
    """The rows as plain values; a score that does not exist is None."""
    return [plain(asdict(row)) for row in rows]


def strata_to_markdown(rows: Sequence[StratumRow], *, metrics: Sequence[str]) -> list[str]:
    """A table for every kind of stratum, means over all cases of all covers; no line where there is no row."""
    lines: list[str] = []
    for kind in dict.fromkeys(row.kind for row in rows):
        chosen = metrics_of(kind, metrics)
        found = [row for row in rows if row.kind == kind]
        lines += ["", f"Under cloud, by {MEANINGS[kind]} (mean over cases of {LEAST_PIXELS} pixels or more):", ""]
        lines += header([kind, "model", *(HEADINGS[name] for name in chosen), "pixels", "n"])
        for name in sorted(dict.fromkeys(row.name for row in found), key=_order):
            for model in dict.fromkeys(row.model for row in found):
                cases = [row for row in found if (row.name, row.model) == (name, model)]
                if cases:
                    lines.append(line([name, model, *_cells(cases, chosen)]))
    return lines


def _cells(cases: Sequence[StratumRow], metrics: Sequence[str]) -> list[str]:
    scores = aggregate(row.scores for row in cases)
    texts = [format_score(scores[name].mean, name) if name in scores else "n/a" for name in metrics]
    count = max((scores[name].count for name in metrics if name in scores), default=0)
    return [*texts, f"{sum(row.pixels for row in cases):,}", str(count)]


def _order(name: str) -> tuple[bool, int, str]:
    """Names with numbers by the first of them, the others as they stand."""
    digits = "".join(character if character.isdigit() else " " for character in name).split()
    return bool(digits), int(digits[0]) if digits else 0, name if digits else ""
