"""Finished rows on their way from the model to files; knows neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """Full-width rows of the result from scene row `first` on.

    raw: (band, y, x) as stored. source: (y, x), see `tiling.compositing.Source`. maps: (band, y, x) float32, none of
    which is usual.
    """

    first: int
    raw: NDArray[Any]
    source: NDArray[np.uint8]
    maps: NDArray[np.float32]

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.source.shape[0])

    @property
    def end(self) -> int:
        """The scene row after the last."""
        return self.first + self.height


Sink = Callable[[Rows], None]
Progress = Callable[[int, int], None]
