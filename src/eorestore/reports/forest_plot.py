"""A forest plot: the difference of every row to a reference with its interval; knows no record and no metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eorestore.reports.drawing import BETTER, INK, LINE, UNCLEAR, WORSE, Drawing, dress, encode, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.21  # inches
_AROUND = 0.75  # inches for the axis and its label
_FAR = 3.0  # spans of the near rows at which another one counts as out of the picture


@dataclass(frozen=True)
class Effect:
    """One row. mean, low, high: positive where it is better. text: what stands at the right."""

    name: str
    mean: float
    low: float
    high: float
    text: str


def forest(effects: Sequence[Effect], *, label: str) -> Drawing:
    """The effects from top to bottom around a line at zero; blue is clearly better, orange clearly worse.

    Rows far away from the others are arrows at the edge, so that they do not squeeze the rest into one line.
    """
    figure = new_figure(_AROUND + _ROW * len(effects))
    axes = figure.subplots()
    low, high = _limits(effects)
    axes.axvline(0, color=INK, linewidth=0.9)
    for place, effect in enumerate(effects):
        colour, shape = _look(effect)
        if low <= effect.mean <= high:
            ends = [max(effect.low, low), min(effect.high, high)]
            axes.plot(ends, [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([effect.mean], [place], shape, color=colour, markersize=5, markeredgecolor="white")
        else:
            inset = 0.012 * (high - low)
            edge, arrow = (low + inset, "<") if effect.mean < low else (high - inset, ">")
            axes.plot([edge], [place], arrow, color=colour, markersize=6)
        axes.text(1.02, place, effect.text, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5, color=INK)
    axes.set_xlim(low, high)
    axes.set_ylim(len(effects) - 0.4, -0.6)
    axes.set_yticks(range(len(effects)), [effect.name for effect in effects])
    axes.set_xlabel(label)
    _dress_rows(axes)
    return encode(figure)


def _look(effect: Effect) -> tuple[str, str]:
    """Colour and shape: clearly better, clearly worse, or neither."""
    if effect.low > 0:
        return BETTER, "o"
    return (WORSE, "s") if effect.high < 0 else (UNCLEAR, "D")


def _limits(effects: Sequence[Effect]) -> tuple[float, float]:
    """The axis: all rows but those that are far from the middle half of them."""
    means = sorted(effect.mean for effect in effects)
    quarter = len(means) // 4
    middle = means[quarter : len(means) - quarter]
    spread = max(middle[-1] - middle[0], *(effect.high - effect.low for effect in effects), 1e-6)
    near = [effect for effect in effects if middle[0] - _FAR * spread <= effect.mean <= middle[-1] + _FAR * spread]
    low, high = min(0.0, *(one.low for one in near)), max(0.0, *(one.high for one in near))
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _dress_rows(axes: Axes) -> None:
    dress(axes)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", labelsize=8)
    for place in range(0, len(axes.get_yticks()), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=LINE, alpha=0.25, linewidth=0)
