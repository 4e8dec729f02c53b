"""How every plot looks: one size, colours that colour-blind readers can tell apart, PNG and PDF; draws no data."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008) without their yellow, which is faint on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BETTER, WORSE, UNCLEAR = "#0072b2", "#d55e00", "#8b928e"
INK, LINE = "#3a443f", "#dfdcd2"
WIDTH = 7.6  # inches: fills a page of the report, and a page of print at nine tenths of its size


@dataclass(frozen=True)
class Drawing:
    """A plot as PNG, for pages, and as PDF, for print."""

    png: bytes
    pdf: bytes


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """An empty figure of `width` x `height` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def dress(axes: Axes) -> None:
    """Light grid, two spines, small words."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(which="both", colors=INK, labelsize=8.5, length=0)
    axes.grid(visible=True, color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
        text.set_fontsize(9)


def colours(count: int) -> list[str]:
    """`count` colours; after seven they come again, so lines need markers besides."""
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def marker(index: int) -> str:
    """A shape; colour and shape together come again after 49."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def encode(figure: Figure) -> Drawing:
    """The figure as PNG and PDF. Without dates and versions in them, equal records give equal bytes."""
    png, pdf = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    figure.savefig(pdf, format="pdf", metadata={"Creator": None, "Producer": None, "CreationDate": None})
    return Drawing(png.getvalue(), pdf.getvalue())
