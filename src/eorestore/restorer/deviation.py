"""By how much an enlarged scene, shrunk again, differs from what it was made of, on a sample; knows no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from eorestore.processing.resize import shrink
from eorestore.processing.taps import REACH
from eorestore.raster import Pixels, Window
from eorestore.restorer.rows import Rows
from eorestore.restorer.scene import spread

Observe = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Makes (band, y, x) coarser as the input is: by a sensor's operator."""

_SIDE, _COUNT = 64, 16
_BEYOND = 1e30  # no integer type holds it


@dataclass(frozen=True)
class Deviation:
    """By how much a result as it is written, shrunk again, differs from the input.

    largest: of all bands, as a share of the band's range in the sample. by_band: in the unit of the band. Both are
    taken where no value stands at an end of an integer type, which cannot hold what overshoots. saturated: share of
    values where one does. rounding: half a step of an integer type as a share of the smallest range, which no result
    can come below for certain. pixels: of the input that were looked at; largest is None where none could be.
    """

    largest: float | None
    by_band: dict[str, float]
    saturated: float
    rounding: float
    pixels: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {
            "largest_of_range": self.largest,
            "largest": self.by_band,
            "saturated_share": self.saturated,
            "rounding_of_range": self.rounding,
            "pixels": self.pixels,
        }


class DeviationSample:
    """Gathers windows of a result as its rows go by, as they are written, and compares them with the input."""

    def __init__(self, pixels: Pixels, scale: int, *, observe: Observe | None = None) -> None:
        """observe: None shrinks as `processing.resize` does."""
        self.pixels, self.scale = pixels, scale
        self._observe: Observe = observe or partial(shrink, factor=scale)
        self.windows = spread(pixels.grid.size, _COUNT, _SIDE)
        shapes = [(len(pixels.bands), window.height * scale, window.width * scale) for window in self.windows]
        self._gathered = [np.zeros(shape, pixels.encoding.dtype) for shape in shapes]

    def add(self, rows: Rows) -> None:
        """Finished rows of the result."""
        for window, gathered in zip(self.windows, self._gathered, strict=True):
            top = window.row * self.scale
            first, last = max(rows.first, top), min(rows.end, top + gathered.shape[1])
            if first < last:
                columns = slice(window.column * self.scale, (window.column + window.width) * self.scale)
                gathered[:, first - top : last - top] = rows.raw[:, first - rows.first : last - rows.first, columns]

    def result(self) -> Deviation:
        """The largest deviation over all windows, away from nodata."""
        names = self.pixels.bands.names
        apart, low, high = (np.full(len(names), value) for value in (0.0, np.inf, -np.inf))
        count = saturated = 0
        for window, gathered in zip(self.windows, self._gathered, strict=True):
            raw = self.pixels.read_raw(window)
            judged = self._judged(window, self.pixels.encoding.valid(raw))
            if not judged.any():
                continue
            encoding = self.pixels.encoding
            exact = judged & ~_near(self._at_an_end(gathered))
            saturated += len(names) * int(judged.sum()) - int(exact.sum())
            count += int(judged.sum())
            small = self._observe(encoding.decode(gathered).astype(np.float64))
            given = encoding.decode(raw).astype(np.float64)
            apart = np.maximum(apart, np.abs(small - given).max(axis=(1, 2), where=exact, initial=0.0))
            low = np.minimum(low, given[:, judged].min(axis=1))
            high = np.maximum(high, given[:, judged].max(axis=1))
        if count * len(names) == saturated:
            return Deviation(None, {}, float(count > 0), 0.0, count)
        span = np.where(high > low, high - low, 1.0)
        by_band = {name: _short(value) for name, value in zip(names, apart, strict=True)}
        step = self.pixels.encoding.scale if self.pixels.encoding.is_integer else 0.0
        rounding = _short(0.5 * step / span.min())
        return Deviation(
            _short((apart / span).max()), by_band, _short(saturated / (count * len(names))), rounding, count
        )

    def _at_an_end(self, gathered: NDArray[Any]) -> NDArray[np.bool_]:
        """Input pixels (band, y, x) in which a value of the result is the least or the largest that can be written."""
        bands, height, width = len(gathered), *(side // self.scale for side in gathered.shape[1:])
        if not self.pixels.encoding.is_integer:
            return np.zeros((bands, height, width), dtype=bool)
        least, largest = self.pixels.encoding.encode(np.array([-_BEYOND, _BEYOND], np.float32))
        ends = (gathered <= least) | (gathered >= largest)
        return np.asarray(ends.reshape(bands, height, self.scale, width, self.scale).any(axis=(2, 4)))

    def _judged(self, window: Window, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Pixels whose shrunk value hangs on no pixel outside the window and on no nodata."""
        judged = ~_near(~valid)
        height, width = self.pixels.grid.size
        top, left = (REACH if start else 0 for start in (window.row, window.column))
        bottom = window.height - (REACH if window.row + window.height < height else 0)
        right = window.width - (REACH if window.column + window.width < width else 0)
        inside = np.zeros_like(judged)
        inside[top:bottom, left:right] = True
        return np.asarray(judged & inside)


def _near(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose shrunk value hangs on one of `pixels`."""
    side = 2 * REACH + 1
    return np.asarray(binary_dilation(pixels, structure=np.ones((1,) * (pixels.ndim - 2) + (side, side), bool)))


def _short(value: float) -> float:
    return float(f"{value:.3g}")
