"""Tables of a comparison of models, from the plain values of its record; compares nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eorestore.experiments.score_text import format_score
from eorestore.reports.costs import NOTE as COST_NOTE
from eorestore.reports.costs import cost_table, short_name
from eorestore.reports.score_cells import cover_name, difference, heading, number
from eorestore.reports.table import Cell, Table

Values = Mapping[str, Any]


def comparison_table(scores: Values) -> Table:
    """Every score of every model with its difference to the first, over all covers; costs where there are no scores."""
    if not scores["differences"]:
        return cost_table(scores["profiles"])
    names = list(dict.fromkeys(item["score"] for item in scores["differences"]))
    first = scores["differences"][0]["cover"]  # all covers together, or the only one
    found = {(item["model"], item["score"]): item for item in scores["differences"] if item["cover"] == first}
    rows: list[tuple[Cell, ...]] = []
    for model in scores["models"]:
        interval = found[model, names[0]]["interval"] or {}
        counts = [interval.get("count"), interval.get("places")] if interval else ["", ""]
        rows.append((short_name(model), *(_cell(found[model, name]) for name in names), *counts))
    return Table(("Model", *map(heading, names), "Scenes", "Places"), tuple(rows))


def comparison_by_cover(scores: Values, score: str) -> Table:
    """One score of every model with its difference to the first, a column a cover."""
    chosen = [item for item in scores["differences"] if item["score"] == score]
    covers = list(dict.fromkeys(item["cover"] for item in chosen))
    found = {(item["model"], item["cover"]): item for item in chosen}
    names = ["all covers" if cover is None and len(covers) > 1 else cover_name(cover) for cover in covers]
    rows = [(short_name(model), *(_cell(found[model, cover]) for cover in covers)) for model in scores["models"]]
    return Table((heading(score), *names), tuple(rows))


def comparison_note(scores: Values) -> str:
    """What the differences and costs of a comparison are."""
    notes = []
    if scores["differences"]:
        first = short_name(scores["models"][0])
        notes.append(
            f"Mean over places; in brackets the paired difference to {first}, positive where the model is better, "
            f"with its {100 * scores['level']:.0f} % bootstrap interval ({scores['resamples']:,} resamples of places, "
            "then of scenes)."
        )
    return " ".join(notes + ([COST_NOTE] if scores["profiles"] else []))


def _cell(item: Values) -> str:
    mean = format_score(number(item["mean"]), item["score"])
    return mean if item["interval"] is None else f"{mean} ({difference(item['interval'], item['score'])})"
