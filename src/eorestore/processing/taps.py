"""Bicubic resizing by a whole factor as short rows of weights, and what undoes it; knows no image.

The weights are those of `processing.resize`, read off the middle of its matrices, where no edge is near. An image that
goes on as in a mirror comes out the same by either.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eorestore.processing.resize import enlarging, shrinking

REACH = 2  # pixels of the small image that a resized pixel sees to either side
INVERSE_RADIUS = 8
CONSISTENCY_REACH = REACH + INVERSE_RADIUS + REACH
LENGTH = 64  # pixels of a small image in whose middle no edge is felt


class Taps(NamedTuple):
    """Weights of neighbouring pixels. first: offset of the first one from the pixel at hand."""

    first: int
    weights: tuple[float, ...]


@functools.lru_cache(maxsize=8)
def shrink_taps(factor: int) -> Taps:
    """Pixels of the large image in the small one's pixel i, offsets from factor * i."""
    return _row(shrinking(LENGTH * factor, factor)[LENGTH // 2], LENGTH // 2 * factor)


@functools.lru_cache(maxsize=8)
def enlarge_taps(factor: int) -> tuple[Taps, ...]:
    """Pixels of the small image in the large one's pixels factor * i, factor * i + 1, ..., offsets from i."""
    matrix = enlarging(LENGTH, factor)
    return tuple(_row(matrix[LENGTH // 2 * factor + phase], LENGTH // 2) for phase in range(factor))


@functools.lru_cache(maxsize=8)
def inverse_taps(factor: int) -> Taps:
    """What undoes enlarging and then shrinking along one axis, cut at INVERSE_RADIUS pixels to either side.

    Enlarging and then shrinking dampens what is finest to about half. The inverse falls to a third from one pixel to
    the next, so that what is cut off is 1.4e-4 of it or less; the weights that are left sum to 1.
    """
    return inverse_row(shrinking(LENGTH * factor, factor) @ enlarging(LENGTH, factor))


def inverse_row(both: NDArray[np.float64]) -> Taps:
    """The inverse of a symmetric filter, given as a matrix of LENGTH x LENGTH, cut at INVERSE_RADIUS; sums to 1."""
    middle = LENGTH // 2
    row = np.linalg.inv(both)[middle, middle - INVERSE_RADIUS : middle + INVERSE_RADIUS + 1]
    row = (row + row[::-1]) / 2
    return Taps(-INVERSE_RADIUS, tuple(float(weight) for weight in row / row.sum()))


def _row(row: NDArray[np.float64], centre: int) -> Taps:
    places = np.flatnonzero(np.abs(row) > 1e-12)
    first, last = int(places[0]), int(places[-1])
    return Taps(first - centre, tuple(float(weight) for weight in row[first : last + 1]))
