"""Pixels by windows: what a file and a Raster in memory have in common; knows no use of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eorestore.raster.bands import BandSet
from eorestore.raster.encoding import Encoding
from eorestore.raster.grid import Grid, Window
from eorestore.raster.raster import Raster


class Pixels(Protocol):
    """Whatever gives raw values by window: a RasterFile or a Raster in memory."""

    @property
    def bands(self) -> BandSet:
        """Bands in the order of the values."""

    @property
    def encoding(self) -> Encoding:
        """What raw values mean."""

    @property
    def grid(self) -> Grid:
        """Where the pixels lie."""

    def read_raw(self, window: Window | None = None) -> NDArray[Any]:
        """Raw values (band, y, x) of a window."""


@dataclass(frozen=True)
class MemoryPixels:
    """A Raster in memory in the form of a file: float32 physical values, NaN where not valid."""

    raster: Raster

    @property
    def bands(self) -> BandSet:
        """Bands of the raster."""
        return self.raster.bands

    @property
    def encoding(self) -> Encoding:
        """float32 with NaN as nodata."""
        return Encoding("float32", nodata=float("nan"))

    @property
    def grid(self) -> Grid:
        """Grid of the raster."""
        return self.raster.grid

    def read_raw(self, window: Window | None = None) -> NDArray[np.float32]:
        """Values of a window; NaN where not valid."""
        piece = self.raster if window is None else self.raster.crop(window)
        return np.where(piece.valid, piece.values, np.float32(np.nan))
