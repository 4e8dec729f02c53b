"""Pictures side by side under their names, as one drawing; knows no raster, no record and no score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eorestore.reports.drawing import INK, WIDTH, Drawing, encode, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORDS = 0.22  # inches of a line of words
_MOST = 260  # pixels of a tile's side: more is not seen at the width of a page


@dataclass(frozen=True)
class Picture:
    """A picture and the words above it. pixels: uint8 (y, x) or (y, x, 3)."""

    title: str
    pixels: NDArray[np.uint8]


def strips(pictures: Sequence[Picture], *, panels: Sequence[str] = ()) -> Drawing:
    """Wide pictures from top to bottom; `panels` name their parts of equal width, above the first one."""
    heights = [_WORDS + WIDTH * picture.pixels.shape[0] / picture.pixels.shape[1] for picture in pictures]
    figure = new_figure(sum(heights) + (_WORDS if panels else 0))
    frames = figure.subplots(len(pictures), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, picture in zip(frames, pictures, strict=True):
        _show(axes, picture.pixels)
        axes.set_title(picture.title, fontsize=8, color=INK, loc="left", pad=3)
    for number, name in enumerate(panels):
        place = (number + 0.5) / len(panels)
        frames[-1].text(
            place, -0.02, name, transform=frames[-1].transAxes, ha="center", va="top", fontsize=8, color=INK
        )
    return encode(figure)


def mosaic(pictures: Sequence[Picture], *, columns: int = 5) -> Drawing:
    """Pictures of one shape, row by row, each under its title and `columns` of them as wide as a page."""
    shown, width = min(columns, len(pictures)), WIDTH / columns
    rows = math.ceil(len(pictures) / shown)
    tallest = max(picture.pixels.shape[0] / picture.pixels.shape[1] for picture in pictures)
    figure = new_figure(rows * (width * tallest + _WORDS), width=width * shown)
    frames = figure.subplots(rows, shown, squeeze=False).ravel()
    for axes, picture in zip(frames[: len(pictures)], pictures, strict=True):
        step = max(math.ceil(max(picture.pixels.shape[:2]) / _MOST), 1)
        _show(axes, picture.pixels[::step, ::step])
        axes.set_title(picture.title, fontsize=7.5, color=INK, pad=3)
    for axes in frames[len(pictures) :]:
        axes.set_visible(False)
    return encode(figure)


def _show(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    axes.imshow(rgb, interpolation="none")
    axes.set_axis_off()
