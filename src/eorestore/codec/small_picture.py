"""Every n-th pixel of a scene gathered while its strips go by, for a preview; knows no file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.raster import BandSet, Grid, Raster
from eorestore.raster.encoding import Encoding

LONGEST = 1024


class SmallPicture:
    """At most LONGEST pixels a side of a scene on `grid`, whose stored values `encoding` explains."""

    def __init__(self, grid: Grid, bands: BandSet, encoding: Encoding) -> None:
        self._grid, self._bands, self._encoding = grid, bands, encoding
        self._every = -(-max(grid.size) // LONGEST)
        self._rows: list[NDArray[Any]] = []

    def add(self, first: int, raw: NDArray[Any]) -> None:
        """Stored values (band, y, x) of full rows from row `first` on."""
        self._rows.append(raw[:, -first % self._every :: self._every, :: self._every])

    def raster(self) -> Raster:
        """What was gathered, in physical units."""
        raw = np.concatenate(self._rows, axis=1)
        grid = self._grid.resize(*raw.shape[1:])
        return Raster(self._encoding.decode(raw), self._encoding.valid(raw), self._bands, grid)
