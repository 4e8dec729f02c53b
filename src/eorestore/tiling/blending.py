"""Puts restored tiles together row by row and frees what is finished; knows no model and no file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.tiling.tiles import Tile, TilePlan

_NO_WEIGHT = np.float32(1e-30)  # pixels of tiles that were never added: zero, not NaN


class Mosaic:
    """Collects tiles of one row of the plan after the other; holds one strip of tiles, not the scene.

    bands: bands of the image, kept as `dtype` (in crop mode any; blending needs floats). scale: output pixels per
    input pixel along an axis. begin: row of the plan at which tiles start to arrive (a resumed run); scene rows
    that an earlier row of tiles also touches are incomplete then and must not be used.
    """

    def __init__(self, plan: TilePlan, *, bands: int, scale: int = 1, begin: int = 0, dtype: str = "float32") -> None:
        self.plan, self.scale = plan, scale
        self.top = plan.rows[begin][0].core.row
        self._bands = bands
        self._image = np.zeros((bands, 0, plan.size[1] * scale), dtype=dtype)
        self._weight = np.zeros((0, plan.size[1] * scale), dtype=np.float32)

    def add(self, tile: Tile, image: NDArray[Any], *, position: tuple[int, int]) -> None:
        """One tile's restored window (band, y, x), at `position` (row, column) in the plan."""
        scale = self.scale
        self._extend(tile.core.row + tile.core.height - self.top)
        inner = tile.core.relative_to(tile.window)
        image = image[:, inner.row * scale : (inner.row + inner.height) * scale]
        image = image[:, :, inner.column * scale : (inner.column + inner.width) * scale]
        row, column = (tile.core.row - self.top) * scale, tile.core.column * scale
        rows = slice(row, row + tile.core.height * scale)
        columns = slice(column, column + tile.core.width * scale)
        if self.plan.mode == "crop":
            self._image[:, rows, columns] = image
            return
        weight = self._window_weight(position)
        self._image[:, rows, columns] += image * weight
        self._weight[rows, columns] += weight

    def finish(self, row: int) -> NDArray[Any]:
        """All scene rows finished with row `row` of the plan, (band, y, x); they are freed here."""
        until = self.plan.finished(row)
        self._extend(until - self.top)
        count = (until - self.top) * self.scale
        done = self._image[:, :count]
        if self.plan.mode == "blend":
            weight: NDArray[np.float32] = np.maximum(self._weight[:count], _NO_WEIGHT)
            done = done / weight
            self._weight = self._weight[count:].copy()
        self._image = self._image[:, count:].copy()
        self.top = until
        return done

    def _extend(self, rows: int) -> None:
        missing = rows * self.scale - self._image.shape[1]
        if missing <= 0:
            return
        width = self._image.shape[2]
        new = np.zeros((self._bands, missing, width), self._image.dtype)
        self._image = np.concatenate([self._image, new], axis=1) if self._image.shape[1] else new
        if self.plan.mode == "blend":
            self._weight = np.concatenate([self._weight, np.zeros((missing, width), np.float32)])

    def _window_weight(self, position: tuple[int, int]) -> NDArray[np.float32]:
        row, column = position
        column_of_tiles = [other[0].core for other in self.plan.rows]
        row_of_tiles = [other.core for other in self.plan.rows[row]]
        down = [(core.row, core.height) for core in column_of_tiles]
        across = [(core.column, core.width) for core in row_of_tiles]
        return np.outer(_ramps(down, row, self.scale), _ramps(across, column, self.scale)).astype(np.float32)


def _ramps(spans: list[tuple[int, int]], index: int, scale: int) -> NDArray[np.float64]:
    """Weights of one tile along an axis: a raised cosine over each overlap, 1 elsewhere, no ramp at the edge."""
    start, length = spans[index]
    weight = np.ones(length * scale)
    if index > 0:
        overlap = (spans[index - 1][0] + spans[index - 1][1] - start) * scale
        weight[:overlap] *= _rise(overlap)
    if index + 1 < len(spans):
        overlap = (start + length - spans[index + 1][0]) * scale
        weight[len(weight) - overlap :] *= _rise(overlap)[::-1]
    return weight


def _rise(count: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))
