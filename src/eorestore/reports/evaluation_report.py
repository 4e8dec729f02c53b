"""The sections of a report on evaluations and comparisons, from their records alone; scores nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eorestore.reports.comparison_tables import comparison_note, comparison_table
from eorestore.reports.costs import SIDE, at_size, cost_table, short_name
from eorestore.reports.evaluation_tables import (
    by_model,
    detail_table,
    interval_table,
    mean_scores,
    means_of,
    models_by_covers,
    strata_tables,
    stratum_names,
    stratum_note,
)
from eorestore.reports.figures import scores_by_cover
from eorestore.reports.page import Section
from eorestore.reports.plots import Point, against_cover, by_stratum, cost_against_score
from eorestore.reports.provenance import provenance
from eorestore.reports.score_cells import heading, number
from eorestore.reports.sources import RecordSource
from eorestore.reports.study_tables import condition_note

Values = Mapping[str, Any]


def evaluation_sections(source: RecordSource) -> list[Section]:
    """Means, scores by cover, details, intervals, strata; what the record does not hold has no section."""
    scores, where = source.record.scores, provenance([source.record])
    note = f"{condition_note({'conditions': scores.get('conditions', {})})} {where}".strip()
    title = f"Evaluation {source.name}"
    found = {key for group in scores["aggregates"] for key in group["scores"]}
    first = next((score for score in ("psnr_cloud", "psnr") if score in found), None)
    curves = _curves(scores, first) if first else {}
    several = max(map(len, curves.values()), default=0) > 1
    bars = scores_by_cover(scores, score=first) if first and not several else None
    sections = [Section(title, mean_scores(scores), bars, note)]
    if first and several:
        figure = against_cover(curves, score=heading(first))
        sections.append(Section(f"{title}: by cloud cover", models_by_covers(scores, first), figure, where))
    rows = by_model(scores.get("rows", ()))
    details, intervals = detail_table(rows), interval_table(rows)
    if details is not None:
        text = f"Inside cloud, mean over all cases. {where}"
        sections.append(Section(f"{title}: colour, indices, edges", table=details, note=text))
    if intervals is not None:
        text = f"Share of the pixels under cloud inside image ± 1.645 sigma; 0.9 is right. {where}"
        sections.append(Section(f"{title}: intervals by place", table=intervals, note=text))
    return sections + _strata(title, scores, where)


def comparison_sections(source: RecordSource) -> list[Section]:
    """Differences to the first model, costs by size, and both in one plot where both are there."""
    scores, where = source.record.scores, provenance([source.record])
    title = f"Comparison {source.name}"
    sections = []
    if scores["differences"]:
        text = f"{comparison_note({**scores, 'profiles': []})} {condition_note(scores)} {where}"
        sections.append(Section(title, table=comparison_table(scores), note=text))
    if scores["profiles"]:
        text = f"{comparison_note({**scores, 'differences': []})} {where}"
        sections.append(Section(f"{title}: costs", table=cost_table(scores["profiles"]), note=text))
    points = _points(scores)
    if len(points) > 1:
        first = scores["differences"][0]["score"]
        figure = cost_against_score(points, cost=f"GFLOPs of a pass, {SIDE} x {SIDE} pixels", score=heading(first))
        sections.append(Section(f"{title}: cost and score", figure=figure, note=where))
    return sections


def _curves(scores: Values, score: str) -> dict[str, dict[float, float]]:
    found: dict[str, dict[float, float]] = {}
    for group in scores["aggregates"]:
        value = number(group["scores"].get(score, {}).get("mean"))
        if group["cover"] is not None and math.isfinite(value):
            found.setdefault(group["model"], {})[group["cover"]] = value
    return found


def _strata(title: str, scores: Values, where: str) -> list[Section]:
    tables = strata_tables(scores)
    sections = [
        Section(f"{title}: by {kind}", table=table, note=f"{stratum_note(kind)} {where}")
        for kind, table in tables.items()
    ]
    if sections:
        metric = scores["metrics"][0]
        figure = by_stratum(_stratum_means(scores["strata"], metric), score=heading(metric))
        sections.append(Section(f"{title}: strata", figure=figure, note=where))
    return sections


def _stratum_means(rows: Sequence[Values], metric: str) -> dict[str, dict[str, dict[str, float]]]:
    """The mean of a metric by kind, model and part of a stratum."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        parts = [row for row in rows if row["kind"] == kind]
        for model in dict.fromkeys(row["model"] for row in parts):
            mine = [row for row in parts if row["model"] == model]
            found.setdefault(kind, {})[model] = {
                name: means_of(row for row in mine if row["name"] == name).get(metric, math.nan)
                for name in stratum_names(parts)
            }
    return found


def _points(scores: Values) -> list[Point]:
    """Every model with a cost and the first score, over all covers."""
    if not scores["differences"]:
        return []
    score, cover = scores["differences"][0]["score"], scores["differences"][0]["cover"]
    sizes = {profile["model"]: at_size(profile) for profile in scores["profiles"]}
    found = []
    for item in scores["differences"]:
        size = sizes.get(item["model"])
        if (item["score"], item["cover"]) == (score, cover) and size is not None and size["flops"]:
            found.append(Point(short_name(item["model"]), size["flops"] / 1e9, number(item["mean"])))
    return [point for point in found if math.isfinite(point.y)]
