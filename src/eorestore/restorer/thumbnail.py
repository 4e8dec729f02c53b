"""A small picture of a result, gathered while its rows go by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.raster import Raster
from eorestore.raster.files import RasterFile

LONGEST = 1024
TRUE_COLOUR = ("B04", "B03", "B02")


class Thumbnail:
    """Every n-th pixel of every n-th row, at most LONGEST a side; of Sentinel-2 the bands of true colour alone.

    scale: rows of the result per row of the file.
    """

    def __init__(self, file: RasterFile, *, scale: int = 1) -> None:
        self._file = file
        self._every = -(-max(file.grid.size) * scale // LONGEST)
        names = [name for name in TRUE_COLOUR if name in file.bands]
        self._names = tuple(names) if len(names) == len(TRUE_COLOUR) else file.bands.names
        self._bands = [file.bands.index(name) for name in self._names]
        self._rows: list[NDArray[Any]] = []

    def add(self, first: int, raw: NDArray[Any]) -> None:
        """Finished raw rows (band, y, x) from scene row `first` on."""
        start = -first % self._every
        self._rows.append(raw[self._bands, start :: self._every, :: self._every])

    def raster(self) -> Raster:
        """What was gathered, in physical units."""
        raw = np.concatenate(self._rows, axis=1)
        encoding = self._file.encoding
        grid = self._file.grid.resize(*raw.shape[1:])
        return Raster(encoding.decode(raw), encoding.valid(raw), self._file.bands.select(self._names), grid)
