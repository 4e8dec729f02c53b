"""A small picture of a result, gathered while its rows go by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.raster import Raster
from eorestore.raster.files import RasterFile

LONGEST = 1024


class Thumbnail:
    """Every n-th pixel of every n-th row, at most LONGEST a side."""

    def __init__(self, file: RasterFile) -> None:
        self._file = file
        self._every = -(-max(file.grid.size) // LONGEST)
        self._rows: list[NDArray[Any]] = []

    def add(self, first: int, raw: NDArray[Any]) -> None:
        """Finished raw rows (band, y, x) from scene row `first` on."""
        start = -first % self._every
        self._rows.append(raw[:, start :: self._every, :: self._every].copy())

    def raster(self) -> Raster:
        """What was gathered, in physical units."""
        raw = np.concatenate(self._rows, axis=1)
        encoding = self._file.encoding
        grid = self._file.grid.resize(*raw.shape[1:])
        return Raster(encoding.decode(raw), encoding.valid(raw), self._file.bands, grid)
