"""Which probability table each coefficient of a tile is coded with, from what was decoded before; integers only.

Coefficients are visited in rings of equal frequency sum, low ones first, and in each ring first the dark and then the
light fields of the chessboard of blocks. A coefficient's context is the magnitudes already known: lower frequencies of
its own block and of the blocks around it, the same frequency of the blocks around it (light fields), means of lower
frequencies over the whole tile, which tell its spectrum, and the band coded before. A small network of integers turns
them into a table's number. Between the bytes and the symbols there is no rounding of floats: the products below run in
float64, where sums of integers under 2^53 are exact in any order, so that every machine finds the same table.
(After the integer networks of Balle, Johnston, Minnen, ICLR 2019; the contexts are our own.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.block_transform import BlockGrid
from eorestore.errors import CodecError

Number = TypeVar("Number", bound=np.generic)
FEATURES = 28
LARGEST = 255  # magnitudes are told apart up to here
LARGEST_FEATURE = 1 << 13  # what no feature exceeds: one is 60 logarithms of at most 128
LOG_UNIT = 16  # logarithms of base 2 in sixteenths
POSITIONS = 64  # frequencies are told apart as so many parts of the Nyquist frequency
MARGIN = 3  # lower frequencies that are looked at
_OWN = ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1), (1, 2), (3, 0), (0, 3), (2, 2))
_FLOAT_UNIT = 32.0  # one unit of the network's input, as it was trained
_WEIGHT_BITS, _KEPT_BITS = 14, 8
_LARGEST_ACTIVATION = float(1 << 24)
_EXACT = 1 << 53  # float64 holds every integer below


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Features (n, FEATURES) to table numbers (n,): three layers of integer weights, ReLU and shifts between them.

    weights, biases: int32 and int64 arrays, one a layer. tables: numbers are 0 ... tables - 1.
    Raises CodecError for weights so large that a sum might be rounded.
    """

    weights: tuple[NDArray[np.int32], ...]
    biases: tuple[NDArray[np.int64], ...]
    tables: int

    def __post_init__(self) -> None:
        largest = LARGEST_FEATURE
        for layer, (matrix, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            sums = [int(column) * largest for column in np.abs(matrix.astype(np.int64)).sum(axis=0)]
            if max(sums) + max(abs(int(value)) for value in bias) >= _EXACT:
                raise CodecError(
                    f"layer {layer} of the context network has sums beyond 2^53, which would be rounded",
                    fix="reinstall eorestore, or fit the coder again with smaller weights",
                )
            largest = int(_LARGEST_ACTIVATION)

    @classmethod
    def quantised(
        cls, weights: tuple[NDArray[np.float64], ...], biases: tuple[NDArray[np.float64], ...], *, tables: int
    ) -> IntegerNetwork:
        """From float layers (in, out) over features / 32, whose last output counts tables."""
        scales = (_FLOAT_UNIT, *[2.0**_KEPT_BITS] * (len(weights) - 1))
        rounded = tuple(np.rint(matrix * 2**_WEIGHT_BITS).astype(np.int32) for matrix in weights)
        shifted = tuple(
            np.rint(bias * scale * 2**_WEIGHT_BITS).astype(np.int64) for bias, scale in zip(biases, scales, strict=True)
        )
        return cls(rounded, shifted, tables)

    def __call__(self, features: NDArray[np.int32]) -> NDArray[np.uint16]:
        """The table of each row of features."""
        values = features.astype(np.float64)
        unit = _FLOAT_UNIT
        for matrix, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = values @ matrix.astype(np.float64) + bias
            shift = 2.0 ** -(_WEIGHT_BITS - _KEPT_BITS) / unit
            values = np.clip(np.floor(values * shift), 0.0, _LARGEST_ACTIVATION)
            unit = 2.0**_KEPT_BITS
        last = values @ self.weights[-1].astype(np.float64) + self.biases[-1]
        rounded: NDArray[np.float64] = np.floor(last[:, 0] / (unit * 2**_WEIGHT_BITS) + 0.5)
        return np.clip(rounded, 0, self.tables - 1).astype(np.uint16)


@dataclass(frozen=True)
class Logarithms:
    """Integer logarithms, as tables, since a rounded float may differ between machines.

    magnitude: (256,) of 1 + magnitude. mean: (n,) the least 64 x mean that has the logarithm of its place.
    low: (POSITIONS,) a decay with frequency.
    """

    magnitude: NDArray[np.int32]
    mean: NDArray[np.int64]
    low: NDArray[np.int32]

    @classmethod
    @lru_cache(maxsize=1)
    def made(cls) -> Logarithms:
        """The tables. No logarithm but those of powers of two lies near the middle between two sixteenths."""
        magnitude = np.rint(LOG_UNIT * np.log2(1 + np.arange(LARGEST + 1))).astype(np.int32)
        of_mean = np.rint(LOG_UNIT * np.log2(1 + np.arange(64 * LARGEST + 1))).astype(np.int64)
        mean = np.searchsorted(of_mean, np.arange(1, of_mean[-1] + 1))
        low = np.rint(64 * np.exp(-8 * np.arange(POSITIONS) / POSITIONS)).astype(np.int32)
        return cls(magnitude, mean, low)


@dataclass(frozen=True, eq=False)
class Step:
    """Coefficients that are coded together: one ring, one colour of the chessboard.

    places: flat positions in the padded array of coefficients. u, v: frequencies of each.
    fixed: (n, 7) features that depend on the place alone.
    """

    ring: int
    light: bool
    places: NDArray[np.int64]
    u: NDArray[np.int64]
    v: NDArray[np.int64]
    fixed: NDArray[np.int32]


class BandContext:
    """Magnitudes of one band of a tile as far as they are known, and the features that they give.

    before: the context of the band that was coded before, complete; None for the first.
    """

    def __init__(self, grid: BlockGrid, *, step_index: int, before: BandContext | None = None) -> None:
        self.grid, self.before = grid, before
        self._logarithms = Logarithms.made()
        self._step_index = step_index >> 1
        vertical, horizontal, rows, columns = grid.shape
        self._strides = (horizontal + MARGIN) * rows * columns, rows * columns
        padded = (vertical + MARGIN + 1, horizontal + MARGIN, rows, columns)  # one more, so that u + 1 exists
        self._log = np.zeros(padded, np.int32)
        self._around = np.zeros(padded, np.int32)
        self._mean = np.zeros((vertical, horizontal), np.int32)
        self._dark_mean = np.zeros((vertical, horizontal), np.int32)
        self._dark = (np.add.outer(np.arange(rows), np.arange(columns)) & 1) == 0
        self._sums = np.zeros((vertical, horizontal), np.int64)

    def steps(self) -> tuple[Step, ...]:
        """All steps but the constant coefficients', in the order of coding."""
        return _steps(self.grid)

    def padded(self, values: NDArray[np.integer]) -> NDArray[np.int64]:
        """Values in the grid's shape, laid out flat so that a step's `places` find them."""
        out = np.zeros(self._log.shape, np.int64)
        out[MARGIN:-1, MARGIN:] = values
        return out.reshape(-1)

    def unpadded(self, flat: NDArray[Number]) -> NDArray[Number]:
        """Undoes `padded`."""
        return flat.reshape(self._log.shape)[MARGIN:-1, MARGIN:].copy()

    def features(self, step: Step) -> NDArray[np.int32]:
        """(n, FEATURES) of the coefficients of a step; what came before it must have been told."""
        down, across = self._strides
        log, around = self._log.reshape(-1), self._around.reshape(-1)
        own = log[step.places[:, None] - _offsets(down, across)]
        near = around[step.places[:, None] - np.array([down, across, down + across])]
        out = np.empty((step.places.size, FEATURES), np.int32)
        out[:, :5] = own[:, :5]
        out[:, 5] = own[:, 5] + own[:, 6]
        out[:, 6] = own[:, 7] + own[:, 8] + own[:, 9]
        out[:, 7] = 2 * near[:, 0] + 2 * near[:, 1] + near[:, 2]
        out[:, 8] = around[step.places] if step.light else 0
        out[:, 9:15] = self._means(step)
        out[:, 15:22] = step.fixed
        out[:, 22] = self._step_index
        out[:, 23:] = 0 if self.before is None else self.before.seen_by_next(step)
        return out

    def tell(self, step: Step, magnitudes: NDArray[np.int64]) -> None:
        """The magnitudes (n,) of a step; they are part of the features from now on."""
        small = np.minimum(magnitudes, LARGEST)
        self._log.reshape(-1)[step.places] = self._logarithms.magnitude[small]
        u, v = _ring_planes(step.ring, self.grid.shape)
        # Sums of small integers, which float64 holds exactly.
        sums = np.bincount(step.u - u[0], weights=small, minlength=u.size).astype(np.int64)
        self._sums[u, v] += sums
        planes = self._log[u + MARGIN, v + MARGIN]
        present = self.grid.present[u, v]
        if not step.light:
            counts = (present & self._dark).sum((1, 2))
            self._dark_mean[u, v] = self._log_mean(self._sums[u, v], counts)
        else:
            self._mean[u, v] = self._log_mean(self._sums[u, v], present.sum((1, 2)))
        self._around[u + MARGIN, v + MARGIN] = _four_around(planes) * _shares(present)

    def tell_constants(self, magnitudes: NDArray[np.int64]) -> None:
        """Magnitudes (block row, block column) of what the constant coefficients' prediction left."""
        small = np.minimum(magnitudes, LARGEST)
        self._log[MARGIN, MARGIN] = self._logarithms.magnitude[small]
        self._mean[0, 0] = self._log_mean(small.sum(), np.array(small.size))
        planes = self._log[MARGIN, MARGIN][None]
        self._around[MARGIN, MARGIN] = (_four_around(planes) * _shares(np.ones(planes.shape, bool)))[0]

    def seen_by_next(self, step: Step) -> NDArray[np.int32]:
        """(n, 5): what this band, complete, tells of the same places of the next."""
        down, across = self._strides
        log = self._log.reshape(-1)
        out = np.empty((step.places.size, 5), np.int32)
        out[:, 0] = log[step.places]
        around = step.places[:, None] + np.array([-down, -across, down, across])
        out[:, 1] = log[around].sum(1)
        out[:, 2] = self._around.reshape(-1)[step.places]
        out[:, 3] = self._mean[step.u, step.v]
        out[:, 4] = LOG_UNIT * 4
        return out

    def _means(self, step: Step) -> NDArray[np.int32]:
        """(n, 6): tile means of lower frequencies; where an axis has none, the other axis stands in."""
        u, v = step.u, step.v
        above = np.where(u > 0, self._mean[np.maximum(u - 1, 0), v], self._mean[u, np.maximum(v - 1, 0)])
        left = np.where(v > 0, self._mean[u, np.maximum(v - 1, 0)], above)
        inner = (u > 0) & (v > 0)
        corner = np.where(inner, self._mean[np.maximum(u - 1, 0), np.maximum(v - 1, 0)], above)
        far_above = np.where(u > 1, self._mean[np.maximum(u - 2, 0), v], above)
        far_left = np.where(v > 1, self._mean[u, np.maximum(v - 2, 0)], left)
        same = self._dark_mean[u, v] if step.light else (above + left) >> 1
        return np.stack([above, left, corner, far_above, far_left, same], axis=1)

    def _log_mean(self, sums: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int32]:
        scaled = 64 * sums // np.maximum(counts, 1)
        return np.searchsorted(self._logarithms.mean, scaled, side="right").astype(np.int32)


def _four_around(planes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sum of the four neighbours inside the plane, (n, row, column)."""
    total = np.zeros_like(planes)
    total[:, 1:] += planes[:, :-1]
    total[:, :-1] += planes[:, 1:]
    total[:, :, 1:] += planes[:, :, :-1]
    total[:, :, :-1] += planes[:, :, 1:]
    return total


def _shares(present: NDArray[np.bool_]) -> NDArray[np.int32]:
    """12 over the number of neighbours that exist, so that a sum becomes twelve times a mean; 0 without any."""
    counts = _four_around(present.astype(np.int32))
    return np.array([0, 12, 6, 4, 3], np.int32)[counts]


@lru_cache(maxsize=32)
def _offsets(down: int, across: int) -> NDArray[np.int64]:
    return np.array([u * down + v * across for u, v in _OWN])


def _ring_planes(ring: int, shape: tuple[int, int, int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    u = np.arange(max(0, ring - shape[1] + 1), min(ring, shape[0] - 1) + 1)
    return u, ring - u


@lru_cache(maxsize=16)
def _steps(grid: BlockGrid) -> tuple[Step, ...]:
    return tuple(_each_step(grid))


def _each_step(grid: BlockGrid) -> Iterator[Step]:
    vertical, horizontal, rows, columns = grid.shape
    low = Logarithms.made().low
    light_fields = (np.add.outer(np.arange(rows), np.arange(columns)) & 1) == 1
    for ring in range(1, vertical + horizontal - 1):
        u, v = _ring_planes(ring, grid.shape)
        for light in (False, True):
            plane, row, column = np.nonzero(grid.present[u, v] & (light_fields == light))
            at_u, at_v = u[plane], v[plane]
            places = (((at_u + MARGIN) * (horizontal + MARGIN) + at_v + MARGIN) * rows + row) * columns + column
            pu, pv = at_u * POSITIONS // vertical, at_v * POSITIONS // horizontal
            radius = np.array([int(r) for r in _integer_roots(pu * pu + pv * pv)], np.int64)
            colour = np.full(places.size, LOG_UNIT * 4 if light else 0)
            fixed = np.stack([colour, pu, pv, radius, pu * pv // POSITIONS, low[pu], low[pv]], axis=1)
            yield Step(ring, light, places, at_u, at_v, fixed.astype(np.int32))


def _integer_roots(squares: NDArray[np.int64]) -> NDArray[np.int64]:
    """The largest integer whose square is not larger; exact, since squares here are small."""
    roots = np.floor(np.sqrt(squares.astype(np.float64))).astype(np.int64)
    roots -= roots * roots > squares
    return roots + ((roots + 1) ** 2 <= squares)
