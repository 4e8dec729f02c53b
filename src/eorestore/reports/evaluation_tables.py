"""Tables of an evaluation, from the plain values of its record: means, details, strata, intervals; scores nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eorestore.experiments.evaluation_table import DETAILS
from eorestore.experiments.score_text import format_score
from eorestore.experiments.strata import LEAST_PIXELS, MEANINGS, metrics_of
from eorestore.metrics.collection import aggregate
from eorestore.reports.score_cells import cover_name, heading, number, spread
from eorestore.reports.table import Table

Values = Mapping[str, Any]
COVERAGE, WIDTH = "coverage_90_cloud", "interval_width_cloud"
STRATA_NOTE = f"Pixels under cloud, mean over the cases in which the stratum has {LEAST_PIXELS} of them or more."


def mean_scores(scores: Values) -> Table:
    """All metrics over whole scenes, models by covers."""
    groups = scores["aggregates"]
    covered = any(group["cover"] is not None for group in groups)
    columns = (*(["Cover"] if covered else []), "Model", *map(heading, scores["metrics"]), "Scenes")
    rows = []
    for group in groups:
        found = [group["scores"].get(name, {}) for name in scores["metrics"]]
        cells = [spread(value, name) for value, name in zip(found, scores["metrics"], strict=True)]
        start = [cover_name(group["cover"])] if covered else []
        rows.append((*start, group["model"], *cells, max((value.get("count", 0) for value in found), default=0)))
    return Table(columns, tuple(rows))


def models_by_covers(scores: Values, score: str) -> Table:
    """One score of every model, a column a cover."""
    groups = {(group["model"], group["cover"]): group["scores"].get(score, {}) for group in scores["aggregates"]}
    models, covers = (tuple(dict.fromkeys(keys)) for keys in zip(*groups, strict=True)) if groups else ((), ())
    rows = [(model, *(spread(groups.get((model, cover), {}), score) for cover in covers)) for model in models]
    return Table((heading(score), *map(cover_name, covers)), tuple(rows))


def detail_table(rows_by_model: Mapping[str, Sequence[Values]]) -> Table | None:
    """Colour, indices, edges and intervals inside cloud, mean over cases; None where no row has any of them."""
    names = [f"{name}_cloud" for name in DETAILS]
    means = {model: means_of(rows) for model, rows in rows_by_model.items()}
    names = [name for name in names if any(not math.isnan(found.get(name, math.nan)) for found in means.values())]
    if not names:
        return None
    cells = [
        (model, *(format_score(found.get(name, math.nan), name) for name in names)) for model, found in means.items()
    ]
    return Table(("Model", *(heading(name, region=False) for name in names)), tuple(cells))


def interval_table(rows_by_model: Mapping[str, Sequence[Values]]) -> Table | None:
    """Share of the pixels under cloud inside the 90 % interval: pooled over all cases, and by place.

    None where no model has a sigma.
    """
    known = {model: [row for row in rows if _has(row, COVERAGE)] for model, rows in rows_by_model.items()}
    known = {model: rows for model, rows in known.items() if rows}
    if not known:
        return None
    places = list(dict.fromkeys(row["place"] for rows in known.values() for row in rows))
    table = []
    for model, rows in known.items():
        cells = [means_of([row for row in rows if row["place"] == place]).get(COVERAGE, math.nan) for place in places]
        whole = means_of(rows)
        texts = [format_score(value, COVERAGE) for value in (whole[COVERAGE], *cells)]
        table.append((model, *texts, format_score(whole.get(WIDTH, math.nan), WIDTH)))
    return Table(("Model", "All places", *places, "Width"), tuple(table))


def strata_tables(scores: Values) -> dict[str, Table]:
    """A table of mean scores by kind of stratum; empty where none was asked for."""
    found = {}
    for kind in dict.fromkeys(row["kind"] for row in scores.get("strata", ())):
        metrics = metrics_of(kind, scores["metrics"])
        rows = [row for row in scores["strata"] if row["kind"] == kind]
        table = []
        for name in stratum_names(rows):
            for model in dict.fromkeys(row["model"] for row in rows):
                cases = [row for row in rows if (row["name"], row["model"]) == (name, model)]
                if cases:
                    means = means_of(cases)
                    cells = [format_score(means.get(metric, math.nan), metric) for metric in metrics]
                    table.append((name, model, *cells, sum(case["pixels"] for case in cases)))
        columns = (kind.capitalize(), "Model", *(heading(metric) for metric in metrics), "Pixels")
        found[kind] = Table(columns, tuple(table))
    return found


def stratum_note(kind: str) -> str:
    """What the strata of a kind are."""
    return f"{MEANINGS.get(kind, kind).capitalize()}. {STRATA_NOTE}"


def stratum_names(rows: Iterable[Values]) -> list[str]:
    """Names of strata, those with a number by the first of them."""

    def order(name: str) -> tuple[bool, int, str]:
        found = re.search(r"\d+", name)
        return found is not None, int(found[0]) if found else 0, name if found else ""

    return sorted(dict.fromkeys(row["name"] for row in rows), key=order)


def means_of(rows: Iterable[Values]) -> dict[str, float]:
    """The mean of every finite score of rows; NaN where there is none."""
    values = ({name: number(value) for name, value in row["scores"].items()} for row in rows)
    finite = ({name: value for name, value in one.items() if math.isfinite(value)} for one in values)
    return {name: found.mean for name, found in aggregate(finite).items()}


def by_model(rows: Iterable[Values]) -> dict[str, list[Values]]:
    """Rows of an evaluation by their model, an oracle marked as one."""
    found: dict[str, list[Values]] = {}
    for row in rows:
        name = f"{row['model']} (oracle)" if row.get("oracle") else row["model"]
        found.setdefault(name, []).append(row)
    return found


def _has(row: Values, score: str) -> bool:
    return not math.isnan(number(row["scores"].get(score)))
