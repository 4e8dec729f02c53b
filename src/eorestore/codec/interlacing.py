"""The order in which a plane is coded, coarse to fine, and which neighbours each pixel then knows; codes nothing.

A level has every `stride`-th pixel of the plane in y and x. Pixels whose row and column are even within a level are
known from the level above; the others follow in six passes, each vectorised, each knowing all passes before it:

    k 2 k 3     k = known from the level above        0, 1: odd row, odd column, as a chequerboard
    4 0 5 1                                           2, 3: even row, odd column
    k 3 k 2                                           4, 5: odd row, even column
    5 1 4 0

So a pixel is predicted from all sides, not from above and the left alone. Interlacing of this kind: Said and Pearlman
(1996), "An image multiresolution representation for lossless and lossy compression"; the chequerboard is added, since
pixels of one pass that touch would not know each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

COARSEST = 16
LEVELS = (8, 4, 2, 1)
MARGIN = 4
# (row parity, column parity, parity of the chequerboard)
PASSES = ((1, 1, 0), (1, 1, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1))
# The eight pixels around one.
AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
# Squared reach of the neighbours by pass: more of them are unknown in the first two.
REACH = (18, 18, 10, 10, 10, 10)


@lru_cache
def offsets(number: int) -> tuple[tuple[int, int], ...]:
    """(dy, dx) of the neighbours that pass `number` knows within its reach, nearest first."""
    side = int(REACH[number] ** 0.5)
    steps = range(-side, side + 1)
    found = [(dy, dx) for dy in steps for dx in steps if dy * dy + dx * dx <= REACH[number] and _known(number, dy, dx)]
    return tuple(sorted(found, key=lambda step: (step[0] ** 2 + step[1] ** 2, step)))


@dataclass(frozen=True)
class Level:
    """One level of a plane with a margin, float64 that holds whole numbers; unknown pixels hold their coarse parent.

    `padded` (y + 2 * MARGIN, x + 2 * MARGIN) is changed in place as passes become known.
    """

    padded: NDArray[np.float64]

    @property
    def inside(self) -> NDArray[np.float64]:
        """The level itself, a view of (y, x)."""
        return self.padded[MARGIN:-MARGIN, MARGIN:-MARGIN]

    def extend(self) -> None:
        """Fill the margin with the nearest pixel of the level."""
        padded = self.padded
        padded[:, :MARGIN] = padded[:, MARGIN : MARGIN + 1]
        padded[:, -MARGIN:] = padded[:, -MARGIN - 1 : -MARGIN]
        padded[:MARGIN] = padded[MARGIN]
        padded[-MARGIN:] = padded[-MARGIN - 1]

    def positions(self, number: int) -> NDArray[np.intp]:
        """Flat indices into `padded` of the pixels of pass `number`, row by row."""
        row, column, parity = PASSES[number]
        height, width = self.inside.shape
        rows, columns = np.arange(row, height, 2), np.arange(column, width, 2)
        chosen = (rows[:, None] // 2 + columns[None, :] // 2) % 2 == parity
        flat = (rows[:, None] + MARGIN) * self.padded.shape[1] + columns[None, :] + MARGIN
        places: NDArray[np.intp] = flat[chosen]
        return places

    def around(self, positions: NDArray[np.intp], steps: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
        """Values (step, pixel) at `steps` from `positions`."""
        flat, width = self.padded.ravel(), self.padded.shape[1]
        values = np.empty((len(steps), positions.size))
        for row, (dy, dx) in zip(values, steps, strict=True):
            np.take(flat, positions + (dy * width + dx), out=row)
        return values


def level_of(plane: NDArray[np.int32], stride: int) -> Level:
    """A level all of whose pixels are known."""
    inside = plane[::stride, ::stride]
    level = Level(np.zeros((inside.shape[0] + 2 * MARGIN, inside.shape[1] + 2 * MARGIN)))
    level.inside[:] = inside
    level.extend()
    return level


def finer_level(coarse: NDArray[np.float64], shape: tuple[int, int]) -> Level:
    """The next level, of `shape`, where the pixels of `coarse` (y, x) are known and the others copy theirs."""
    level = Level(np.empty((shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN)))
    level.inside[:] = coarse.repeat(2, axis=0)[: shape[0]].repeat(2, axis=1)[:, : shape[1]]
    level.extend()
    return level


def level_shape(shape: tuple[int, int], stride: int) -> tuple[int, int]:
    """(height, width) of the level that has every `stride`-th pixel."""
    return -(-shape[0] // stride), -(-shape[1] // stride)


def order_of(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """(y, x): the turn at which each pixel is coded; pixels of one pass share it."""
    turns = np.zeros(shape, np.int64)
    for place, stride in enumerate(LEVELS):
        for number, (row, column, parity) in enumerate(PASSES):
            view = turns[row * stride :: 2 * stride, column * stride :: 2 * stride]
            rows, columns = (np.arange(length) for length in view.shape)
            chosen = (rows[:, None] + columns) % 2 == parity
            view[chosen] = 1 + place * len(PASSES) + number
    return turns


def _known(number: int, dy: int, dx: int) -> bool:
    """Whether the pixel at (dy, dx) from one of pass `number` stands in an earlier pass or in the level above."""
    row, column, parity = PASSES[number]
    y, x = row + dy, column + dx + 2 * parity
    if y % 2 == 0 and x % 2 == 0:
        return True
    return PASSES.index((y % 2, x % 2, (y // 2 + x // 2) % 2)) < number
