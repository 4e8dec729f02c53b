"""One plane of whole numbers, level by level and pass by pass, the same way for writing and reading; knows no bytes.

Writing and reading are one walk: a `Side` is told what is expected of the pixels of a pass and says what they are.
While writing it knows them, while reading it takes them from the stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.interlacing import (
    AROUND,
    COARSEST,
    LEVELS,
    MARGIN,
    PASSES,
    finer_level,
    level_of,
    level_shape,
    offsets,
)
from eorestore.codec.pixel_predictor import Cell, Prediction, Surroundings, surroundings
from eorestore.codec.residuals import Expectation, expect

# Levels by stride that share their constants: the finest, the next, all coarser ones.
CLASSES = {1: 0, 2: 1, 4: 2, 8: 2}
# (pass, class of the level, whether a band before helps) -> constants.
Cells = Mapping[tuple[int, int, bool], Cell]


@dataclass(frozen=True)
class Plan:
    """Which pixels of a plane are coded: flat bool `free`; another one is a copy of `source` (flat), or not `valid`.

    A source stands in an earlier pass than its copies, or is coded in the same one. None: there are no copies.
    """

    shape: tuple[int, int]
    valid: NDArray[np.bool_]
    free: NDArray[np.bool_]
    source: NDArray[np.intp] | None


class Side(Protocol):
    """The end of the stream at which a walk is made: it knows the pixels, or takes them from the stream."""

    def predict(self, positions: NDArray[np.intp], seen: Surroundings, cell: Cell) -> Prediction:
        """What is expected of the pixels at `positions` (flat), from what is `seen` around them."""
        ...

    def code(self, positions: NDArray[np.intp], expected: Expectation) -> NDArray[np.int64]:
        """The values of the pixels at `positions` (flat)."""
        ...


def coarsest_positions(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Flat indices of the pixels from which a walk starts, row by row."""
    rows, columns = (np.arange(0, length, COARSEST) for length in shape)
    return (rows[:, None] * shape[1] + columns).ravel()


def walk(
    plan: Plan, coarsest: NDArray[np.int64], *, side: Side, cells: Cells, before: NDArray[np.int32] | None
) -> NDArray[np.int64]:
    """The plane (y, x); pixels that are not valid hold what was expected of them.

    coarsest: values at `coarsest_positions`, any where one is a copy.
    before: the band before this one, (y, x), all of it; it helps to predict.
    """
    flat = np.zeros(plan.shape[0] * plan.shape[1], np.int64)
    corners = coarsest_positions(plan.shape)
    flat[corners] = coarsest
    if plan.source is not None:
        flat[corners] = flat[plan.source[corners]]
    known = flat[corners].reshape(level_shape(plan.shape, COARSEST)).astype(np.float64)
    for stride in LEVELS:
        level = finer_level(known, level_shape(plan.shape, stride))
        beside = None if before is None else level_of(before, stride)
        for number in range(len(PASSES)):
            inner = level.positions(number)
            if not inner.size:
                continue
            near = level.around(inner, offsets(number))
            other = None if beside is None else (beside.padded.ravel()[inner], beside.around(inner, AROUND))
            row, column = np.divmod(inner, level.padded.shape[1])
            positions = (row - MARGIN) * (stride * plan.shape[1]) + (column - MARGIN) * stride
            cell = cells[number, CLASSES[stride], beside is not None]
            flat[positions] = _pass(plan, flat, positions, surroundings(near, other), cell, side)
            level.padded.ravel()[inner] = flat[positions]
            level.extend()
        known = level.inside
    return flat.reshape(plan.shape)


def _pass(
    plan: Plan, flat: NDArray[np.int64], positions: NDArray[np.intp], seen: Surroundings, cell: Cell, side: Side
) -> NDArray[np.int64]:
    """Values of the pixels of one pass."""
    free = plan.free[positions]
    if not free.any() and plan.valid[positions].all() and plan.source is not None:
        return flat[plan.source[positions]]
    expected = expect(seen.nearest, side.predict(positions, seen, cell))
    values = expected.centre
    chosen = positions[free]
    if chosen.size:
        values[free] = side.code(chosen, expected.of(free))
    if plan.source is not None:
        flat[chosen] = values[free]
        copies = plan.valid[positions] & ~free
        values[copies] = flat[plan.source[positions[copies]]]
    return values
