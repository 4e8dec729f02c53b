"""A plane as lapped cosine coefficients of blocks that tile it exactly, and back; knows no quantisation and no bytes.

A side is cut into blocks of nearly 32 pixels, so that none has to be padded: 264 pixels are eight blocks of 33, where
padding to 288 would cost a fifth more coefficients. Before the cosines, the pixels on both sides of each border are
mixed by an orthonormal filter, and unmixed after (time-domain lapped transform: Tran, Liang, Tu, IEEE Trans. Signal
Processing 51, 2003, with its V of the type-II lapped transform; here with blocks of unequal size): structure that
crosses a border costs less, and borders do not show. All is orthonormal, so that an error of the coefficients is the
error of the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

BLOCK = 32
_LAP = 16  # pixels on each side of a border that are mixed, where blocks are large enough


@dataclass(frozen=True)
class BlockGrid:
    """Heights of the rows of blocks and widths of their columns, in pixels; sizes of an axis differ by at most one."""

    heights: tuple[int, ...]
    widths: tuple[int, ...]

    @classmethod
    def over(cls, height: int, width: int) -> BlockGrid:
        """The blocks of a plane."""
        return cls(_sizes(height), _sizes(width))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(vertical frequency, horizontal frequency, block row, block column) of the coefficients."""
        return max(self.heights), max(self.widths), len(self.heights), len(self.widths)

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which coefficients exist, in `shape`: a smaller block lacks the last frequency."""
        vertical = np.arange(max(self.heights))[:, None] < np.array(self.heights)
        horizontal = np.arange(max(self.widths))[:, None] < np.array(self.widths)
        return vertical[:, None, :, None] & horizontal[None, :, None, :]

    @cached_property
    def areas(self) -> NDArray[np.float32]:
        """Pixels of every block, (block row, block column)."""
        return np.outer(self.heights, self.widths).astype(np.float32)


def forward(values: NDArray[np.float32], grid: BlockGrid) -> NDArray[np.float32]:
    """Coefficients of every block: (y, x) -> `grid.shape`; 0 where a coefficient does not exist."""
    mixed = _mixed(_mixed(values, grid.heights).T, grid.widths).T
    rows = _analyse(mixed, grid.heights)
    both = _analyse(rows.reshape(-1, values.shape[1]).T, grid.widths)
    parted = both.reshape(max(grid.widths), len(grid.widths), max(grid.heights), len(grid.heights))
    return np.ascontiguousarray(parted.transpose(2, 0, 3, 1))


def inverse(coefficients: NDArray[np.float32], grid: BlockGrid) -> NDArray[np.float32]:
    """Undoes `forward`: `grid.shape` -> (y, x)."""
    parted = coefficients.transpose(1, 3, 0, 2)
    rows = _synthesise(parted.reshape(*parted.shape[:2], -1), grid.widths).T
    mixed = _synthesise(rows.reshape(max(grid.heights), len(grid.heights), -1), grid.heights)
    return np.ascontiguousarray(_mixed(_mixed(mixed, grid.heights, undo=True).T, grid.widths, undo=True).T)


def _mixed(values: NDArray[np.float32], sizes: tuple[int, ...], *, undo: bool = False) -> NDArray[np.float32]:
    """(pixel, n) with the pixels around each border between blocks mixed, or unmixed."""
    reach = min(_LAP, min(sizes) // 2)
    if len(sizes) == 1 or reach == 0:
        return values
    out = values.copy()
    matrix = _mixer(reach).T if undo else _mixer(reach)
    for border in np.cumsum(sizes)[:-1]:
        around = slice(border - reach, border + reach)
        out[around] = matrix @ out[around]
    return out


@lru_cache(maxsize=32)
def _mixer(reach: int) -> NDArray[np.float32]:
    """The orthonormal filter over 2 x `reach` pixels."""
    same, turned = np.eye(reach), np.eye(reach)[::-1]
    second, fourth = (dct(same, type=kind, axis=0, norm="ortho") for kind in (2, 4))
    butterfly = np.block([[same, turned], [turned, -same]])
    inner = np.zeros((2 * reach, 2 * reach))
    inner[:reach, :reach], inner[reach:, reach:] = same, turned @ second.T @ fourth @ turned
    matrix: NDArray[np.float32] = (butterfly @ inner @ butterfly / 2).astype(np.float32)
    return matrix


def _sizes(length: int) -> tuple[int, ...]:
    count = max(1, (2 * length + BLOCK) // (2 * BLOCK))
    size, larger = divmod(length, count)
    return (size + 1,) * larger + (size,) * (count - larger)


@lru_cache(maxsize=64)
def _cosines(size: int) -> NDArray[np.float32]:
    matrix: NDArray[np.float32] = dct(np.eye(size), axis=0, norm="ortho").astype(np.float32)
    return matrix


def _runs(sizes: tuple[int, ...]) -> list[tuple[int, slice, slice]]:
    """(size, blocks, pixels) of each run of equal blocks."""
    runs, first, start = [], 0, 0
    for size in dict.fromkeys(sizes):
        count = sizes.count(size)
        runs.append((size, slice(first, first + count), slice(start, start + count * size)))
        first, start = first + count, start + count * size
    return runs


def _analyse(values: NDArray[np.float32], sizes: tuple[int, ...]) -> NDArray[np.float32]:
    """(pixel, n) -> (frequency, block, n)."""
    out = np.zeros((max(sizes), len(sizes), values.shape[1]), np.float32)
    for size, blocks, pixels in _runs(sizes):
        parts = values[pixels].reshape(-1, size, values.shape[1])
        out[:size, blocks] = np.matmul(_cosines(size), parts).transpose(1, 0, 2)
    return out


def _synthesise(values: NDArray[np.float32], sizes: tuple[int, ...]) -> NDArray[np.float32]:
    """(frequency, block, n) -> (pixel, n)."""
    out = np.empty((sum(sizes), values.shape[2]), np.float32)
    for size, blocks, pixels in _runs(sizes):
        parts = np.matmul(_cosines(size).T, values[:size, blocks].transpose(1, 0, 2))
        out[pixels] = parts.reshape(-1, values.shape[2])
    return out
