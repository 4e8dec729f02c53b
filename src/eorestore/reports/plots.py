"""Plots of a study: scores against cloud cover, cost against score, scores by stratum; knows no record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eorestore.reports.drawing import (
    INK,
    PALETTE,
    UNCLEAR,
    Drawing,
    colours,
    dress,
    encode,
    marker,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_OFFSETS = (
    (7, 0), (-7, 0), (0, 8), (0, -8), (7, 8), (-7, 8), (7, -8), (-7, -8), (7, 16), (-7, 16), (7, -16), (-7, -16),
)  # fmt: skip
"""Where a name may stand, in points from its point, the best first."""


@dataclass(frozen=True)
class Point:
    """One model. x: cost. y: score, with its standard deviation, None where there is none. plain: no network."""

    name: str
    x: float
    y: float
    deviation: float | None = None


def against_cover(curves: Mapping[str, Mapping[float, float]], *, score: str, dashed: Sequence[str] = ()) -> Drawing:
    """A score over the share of cloud, a line a model; those of `dashed` are baselines, grey and dashed.

    A baseline far below the models is left to the table, so that it does not squeeze them into one line.
    """
    figure = new_figure(0.6 + max(3.2, 0.2 * len(curves)))
    axes = figure.subplots()
    curves = _near(curves, dashed)
    solid = [name for name in curves if name not in dashed]
    looks = dict(zip(solid, colours(len(solid)), strict=True))
    for number, (name, values) in enumerate(curves.items()):
        style = "--" if name in dashed else "-"
        axes.plot(
            [100 * cover for cover in values],
            list(values.values()),
            style,
            color=looks.get(name, UNCLEAR),
            marker=marker(number),
            markersize=5,
            markeredgecolor="white",
            markeredgewidth=0.6,
            linewidth=1.5,
            label=name,
        )
    covers = sorted({100 * cover for values in curves.values() for cover in values})
    axes.set_xticks(covers, [f"{cover:.0f} %" for cover in covers])
    axes.set_xlabel("cloud cover")
    axes.set_ylabel(score)
    dress(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return encode(figure)


def cost_against_score(points: Sequence[Point], *, cost: str, score: str) -> Drawing:
    """Every model as a point with its name, the cost on a logarithmic axis."""
    figure = new_figure(3.9)
    axes = figure.subplots()
    for point in points:
        axes.errorbar(
            [point.x],
            [point.y],
            yerr=None if point.deviation is None else [point.deviation],
            fmt="o",
            color=PALETTE[0],
            ecolor=UNCLEAR,
            elinewidth=1.2,
            markersize=6,
            markeredgecolor="white",
        )
    _log_axis(axes, points)
    axes.set_xlabel(cost)
    axes.set_ylabel(score)
    dress(axes)
    axes.grid(visible=False, which="minor")
    _label(figure, axes, points)
    return encode(figure)


def by_stratum(values: Mapping[str, Mapping[str, Mapping[str, float]]], *, score: str) -> Drawing:
    """A panel a kind of stratum, a line a model over the parts.

    values: kind -> model -> part -> mean score; a part without a score leaves a gap.
    """
    rows = -(-len(values) // 2)
    figure = new_figure(2.5 * rows + 0.5)
    panels = figure.subplots(rows, 2 if len(values) > 1 else 1, squeeze=False).ravel()
    models = list(dict.fromkeys(model for found in values.values() for model in found))
    for axes, (kind, found) in zip(panels[: len(values)], values.items(), strict=True):
        parts = list(dict.fromkeys(part for scores in found.values() for part in scores))
        for number, (colour, model) in enumerate(zip(colours(len(models)), models, strict=True)):
            heights = [found.get(model, {}).get(part, float("nan")) for part in parts]
            axes.plot(
                range(len(parts)), heights, marker=marker(number), color=colour, linewidth=1.2, markersize=5,
                markeredgecolor="white", label=model,
            )  # fmt: skip
        axes.set_xticks(range(len(parts)), parts)
        axes.set_xlim(-0.4, len(parts) - 0.6)
        axes.set_title(kind)
        axes.set_ylabel(score)
        dress(axes)
    for axes in panels[len(values) :]:
        axes.set_visible(False)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )
    return encode(figure)


def _near(curves: Mapping[str, Mapping[float, float]], dashed: Sequence[str]) -> dict[str, Mapping[float, float]]:
    """The curves without the baselines that lie farther away from the models than the models from one another."""
    values = [value for name, found in curves.items() if name not in dashed for value in found.values()]
    if not values:
        return dict(curves)
    low, high = min(values), max(values)
    reach = max(high - low, 0.5)
    return {
        name: found
        for name, found in curves.items()
        if name not in dashed or all(low - reach <= value <= high + reach for value in found.values())
    }


def _log_axis(axes: Axes, points: Sequence[Point]) -> None:
    """Costs in plain numbers, with room for the names at both sides."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    costs = [point.x for point in points]
    span = max(max(costs) / min(costs), 3.0) ** 0.25
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / span, max(costs) * span)
    axes.xaxis.set_major_locator(LogLocator(subs=range(1, 10) if max(costs) < 5 * min(costs) else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.14)


def _label(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write every name beside its point, where it covers the fewest points and names that stand already."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # the layout has to be final before places are compared
    taken = [_around(axes, point) for point in points]
    inside = axes.get_window_extent()
    for point in sorted(points, key=lambda one: (one.y, one.x)):
        found = []
        for number, (right, up) in enumerate(_OFFSETS):
            text = axes.annotate(
                point.name, (point.x, point.y), (right, up), textcoords="offset points", fontsize=8, color=INK,
                ha="left" if right > 0 else "right" if right < 0 else "center",
                va="center" if not up else "bottom" if up > 0 else "top",
            )  # fmt: skip
            box: Bbox = text.get_window_extent()
            crossed = sum(_shared(box, other) for other in taken) + (box.width * box.height - _shared(box, inside))
            found.append((crossed + 0.1 * number, text, box))
        best = min(found, key=lambda one: one[0])
        for _, text, _ in found:
            if text is not best[1]:
                text.remove()
        taken.append(Bbox(best[2].get_points()))


def _around(axes: Axes, point: Point) -> Bbox:
    """The pixels that a point's mark covers."""
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform((point.x, point.y))
    return Bbox([[x - 6, y - 6], [x + 6, y + 6]])


def _shared(one: Bbox, other: Bbox) -> float:
    """The area that two boxes share."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))
