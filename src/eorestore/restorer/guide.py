"""The optical scene that guides an enlargement: what is asked of it, and its pixels on the fine grid; no torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from eorestore.errors import DataError, UnknownNameError, UsageError
from eorestore.processing.guide_features import needed_bands
from eorestore.raster import Grid, Raster, Unit, Window
from eorestore.raster.files import RasterFile, open_raster
from eorestore.raster.products import Declared
from eorestore.restorer.checks import check_values

logger = logging.getLogger(__name__)

GuidedMethod = Literal["auto", "network", "atprk", "tsharp"]
METHODS: tuple[GuidedMethod, ...] = ("auto", "network", "atprk", "tsharp")
MOST_PIXELS = 36_000_000
"""Of a guided result, which is made in memory: 6000 x 6000."""

_STRIP = 512
_FULL = 0.999


@dataclass(frozen=True)
class Guide:
    """An optical scene, the regressors that are made of it, and the method that uses them.

    regressors: see `processing.guide_features`. unit: of its bands where the file does not say.
    """

    path: Path
    regressors: tuple[str, ...] = ("ndvi",)
    method: GuidedMethod = "auto"
    unit: Unit | None = None


def parse_method(text: str) -> GuidedMethod:
    """The method called `text`. Raises UnknownNameError."""
    for known in METHODS:
        if text == known:
            return known
    raise UnknownNameError("method", text, METHODS)


def check_size(fine: Grid) -> None:
    """Raises UsageError for a grid that is too large to be sharpened in memory."""
    if fine.height * fine.width > MOST_PIXELS:
        raise UsageError(
            f"{fine.height} x {fine.width} pixels are too many to be sharpened with a guide in memory: "
            f"at most {MOST_PIXELS / 1e6:g} million",
            fix="cut a window with --bbox, or choose a smaller --scale",
        )


def read_guide(guide: Guide, fine: Grid, *, name: str) -> tuple[Raster, RasterFile, tuple[str, ...]]:
    """The bands that the regressors need on the grid of the result, the file that they come from, and warnings.

    Where its pixels are much smaller than the grid's they are averaged, otherwise interpolated linearly.

    Args:
        guide: what is asked for.
        fine: the grid of the result.
        name: of the scene that is enlarged, for messages.

    Raises:
        GridError: the guide does not overlap the scene. BandError, UnknownNameError: a regressor's band is missing.
        UnitError, DataError: its values cannot be what they are said to be, or none is valid there.
    """
    own = open_raster(guide.path, declared=Declared(unit=guide.unit))
    chosen = needed_bands(own.bands, guide.regressors)
    file = own.aligned(fine, name=name)
    warnings = check_values(own, option="--guide-unit")
    rows = [file.bands.index(band) for band in chosen]
    values = np.zeros((len(rows), *fine.size), np.float32)
    valid = np.zeros(fine.size, bool)
    for first in range(0, fine.height, _STRIP):
        window = Window(first, 0, min(_STRIP, fine.height - first), fine.width)
        strip = file.read(window)
        values[:, window.rows] = strip.values[rows]
        valid[window.rows] = strip.valid
    share = float(valid.mean())
    if share == 0:
        raise DataError(
            f"{guide.path.name} has no valid pixel over {name}", fix="give a guide of the same place without clouds"
        )
    if share < _FULL:
        warnings += (f"{guide.path.name} tells nothing about {1 - share:.1%} of {name}",)
    return Raster(values, valid, file.bands.select(chosen), fine), file, warnings
