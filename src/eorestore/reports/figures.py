"""Plots made from records: curves of trainings, scores by cloud cover; knows no image and no page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eorestore.reports.drawing import INK, Drawing, colours, dress, encode, new_figure


def training_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], *, score: str = "loss") -> Drawing:
    """A plot with the training loss (left) and a validation score (right) over the steps, a line a run.

    runs: name of a run -> the records of its metrics.jsonl; null values leave a gap.
    """
    figure = new_figure(3.0)
    left, right = figure.subplots(1, 2)
    for colour, (name, records) in zip(colours(len(runs)), runs.items(), strict=True):
        for axes, kind, key in ((left, "train", "loss"), (right, "validation", score)):
            steps, values = _curve(records, kind=kind, key=key)
            axes.plot(steps, values, color=colour, label=name, linewidth=1.5, marker="." if len(steps) < 30 else "")
    left.set_title("Training: loss")
    right.set_title(f"Validation: {score}")
    for axes in (left, right):
        axes.set_xlabel("step")
        dress(axes)
    if len(runs) > 1:
        right.legend(frameon=False)
    return encode(figure)


def scores_by_cover(record: Mapping[str, Any], *, score: str = "psnr_cloud") -> Drawing:
    """A plot with the mean score of every model at every cover as bars, the standard deviation as a whisker.

    record: the JSON of an evaluation. A score that does not exist has no bar.
    """
    groups = {(group["model"], group["cover"]): group["scores"].get(score, {}) for group in record["aggregates"]}
    models = list(dict.fromkeys(model for model, _ in groups))
    covers = list(dict.fromkeys(cover for _, cover in groups))
    figure = new_figure(3.0)
    axes = figure.subplots()
    width = 0.8 / max(len(models), 1)
    for number, (colour, model) in enumerate(zip(colours(len(models)), models, strict=True)):
        found = [groups.get((model, cover), {}) for cover in covers]
        places = [place - 0.4 + (number + 0.5) * width for place in range(len(covers))]
        means, spreads = ([_number(item.get(key)) for item in found] for key in ("mean", "std"))
        whiskers = [0.0 if math.isnan(spread) else spread for spread in spreads]
        axes.bar(places, means, width * 0.92, yerr=whiskers, color=colour, label=model, error_kw={"ecolor": INK})
    axes.set_xticks(
        range(len(covers)), ["real clouds" if cover is None else f"{100 * cover:.0f} %" for cover in covers]
    )
    axes.set_xlabel("cloud cover")
    axes.set_title(score.replace("_", ", "))
    dress(axes)
    axes.grid(visible=False, axis="x")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return encode(figure)


def _curve(records: Iterable[Mapping[str, Any]], *, kind: str, key: str) -> tuple[list[int], list[float]]:
    kept = [record for record in records if record["kind"] == kind and key in record]
    return [record["step"] for record in kept], [_number(record[key]) for record in kept]


def _number(value: object) -> float:
    """A JSON score as a float: NaN for null, and for infinity, which has no place on an axis."""
    number = math.nan if value is None else float(str(value))
    return number if math.isfinite(number) else math.nan
