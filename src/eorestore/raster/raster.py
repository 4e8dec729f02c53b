"""A Raster: values, valid mask, bands and grid; the only form in which pixels travel outside a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError
from eorestore.raster.bands import BandSet
from eorestore.raster.grid import Grid, Window


@dataclass(frozen=True)
class Raster:
    """Physical values of bands on a grid.

    values: float32 (band, y, x), in the unit that `bands` states.
    valid: bool (y, x), False where the sensor saw nothing; values there mean nothing.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    bands: BandSet
    grid: Grid

    def __post_init__(self) -> None:
        expected = (len(self.bands), *self.grid.size)
        if self.values.shape != expected or self.valid.shape != self.grid.size:
            raise DataError(
                f"values {self.values.shape} and valid {self.valid.shape} do not fit bands x grid {expected}",
                fix="give values as (band, y, x) and valid as (y, x)",
            )

    def select(self, names: Iterable[str]) -> Raster:
        """The named bands in the order asked for. Raises BandError."""
        names = tuple(names)
        if names == self.bands.names:
            return self
        rows = [self.bands.index(name) for name in names]
        return replace(self, values=self.values[rows], bands=self.bands.select(names))

    def crop(self, window: Window) -> Raster:
        """The pixels of a window."""
        return Raster(
            self.values[:, window.rows, window.columns],
            self.valid[window.rows, window.columns],
            self.bands,
            self.grid.crop(window),
        )
