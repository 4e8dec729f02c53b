"""Coefficients as levels: the steps they are counted in, the cheapest levels, what levels stand for; codes nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.block_transform import BlockGrid
from eorestore.codec.coder import DIRECT, to_tokens
from eorestore.codec.dependent_quantiser import UNIT, best_levels, magnitudes
from eorestore.codec.fidelity_model import FidelityModel

# Shares of the step by distance from frequency 0: slow waves, on which the means of small areas hang, are coded finer.
_FINER = ((0, 0.4), (1.5, 0.55), (2.5, 0.7), (3.5, 0.85))
_CONSTANT_ERROR = 1 / 12  # squared steps of theirs, of constants, which are rounded to the nearest


def steps_of(grid: BlockGrid, step: float) -> NDArray[np.float32]:
    """The quantisation step of every frequency in decibel, (vertical, horizontal, 1, 1)."""
    distance = np.hypot(*np.meshgrid(*(np.arange(count) for count in grid.shape[:2]), indexing="ij"))
    shares = np.ones(distance.shape)
    for reach, share in reversed(_FINER):
        shares[distance <= reach] = share
    return (step * shares).astype(np.float32)[:, :, None, None]


def cheapest(
    model: FidelityModel, size: NDArray[np.float32], numbers: NDArray[np.uint16], *, price: float
) -> NDArray[np.int64]:
    """The levels without sign of the cheapest chains, in the grid's shape.

    Args:
        model: prices and what levels stand for.
        size: magnitudes of the coefficients in units of `dependent_quantiser`.
        numbers: of each, the table of the first quantiser.
        price: squared steps that a bit is worth.
    """
    costs = np.empty((2, 2, *size.shape), np.float32)
    found = np.empty((2, 2, *size.shape), np.int64)
    for second in (0, 1):
        tables = numbers + np.uint16(second * model.network.tables)
        low = np.floor((size + second) / 2).astype(np.int64)
        nought, one, other = (
            _cost(model, size, levels, tables, second, price=price) for levels in (np.zeros_like(low), low, low + 1)
        )
        is_odd = (low & 1).astype(bool)
        even, odd = np.where(is_odd, other, one), np.where(is_odd, one, other)
        costs[0, second], costs[1, second] = np.minimum(even, nought), odd
        found[0, second] = np.where(nought <= even, 0, low + is_odd)
        found[1, second] = low + ~is_odd
    return best_levels(costs[0], costs[1], found[0], found[1])


def _cost(
    model: FidelityModel,
    size: NDArray[np.float32],
    levels: NDArray[np.int64],
    tables: NDArray[np.uint16],
    second: int,
    *,
    price: float,
) -> NDArray[np.float32]:
    """Squared steps that levels without sign cost, by distance and by bits."""
    tokens, _, mantissa = to_tokens(levels.astype(np.uint32))
    bits = model.tables.bits[tables, tokens] + mantissa + (levels > 0)
    away = size - magnitudes(levels, np.uint8(second)) - model.offsets[tables, np.minimum(levels, DIRECT)]
    return ((UNIT * away) ** 2 + price * bits).astype(np.float32)


def levels_shown(
    model: FidelityModel, levels: NDArray[np.int64], numbers: NDArray[np.uint16], steps: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The coefficients in decibel that levels stand for, whose tables' numbers also tell their quantiser.

    steps: those of the frequencies, as from `steps_of`.
    """
    size = np.abs(levels)
    second = (numbers >= model.network.tables).astype(np.uint8)
    offsets = np.where(size > 0, model.offsets[numbers, np.minimum(size, DIRECT)], np.float32(0))
    shown: NDArray[np.float32] = (np.sign(levels) * (magnitudes(size, second) + offsets)).astype(np.float32)
    shown *= np.float32(UNIT)
    shown[0, 0] = levels[0, 0]
    return shown * steps


def squared_errors(
    model: FidelityModel, levels: NDArray[np.int64], numbers: NDArray[np.uint16], steps: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Squared decibel by which coefficients lie from what their levels stand for, on average; as in `levels_shown`."""
    errors = model.errors[numbers, np.minimum(np.abs(levels), DIRECT)] * np.float32(UNIT**2)
    errors[0, 0] = _CONSTANT_ERROR
    return errors * steps**2


def predicted_away(constants: NDArray[np.int64]) -> NDArray[np.int64]:
    """Constants (row, column) less the median of left, above, and left + above - corner (LOCO-I, Weinberger 2000)."""
    above, left, corner = np.zeros_like(constants), np.zeros_like(constants), np.zeros_like(constants)
    above[1:], left[:, 1:], corner[1:, 1:] = constants[:-1], constants[:, :-1], constants[:-1, :-1]
    predicted: NDArray[np.int64] = np.clip(above + left - corner, np.minimum(above, left), np.maximum(above, left))
    predicted[0], predicted[:, 0] = left[0], above[:, 0]
    return constants - predicted


def restored(left_over: NDArray[np.int64]) -> NDArray[np.int64]:
    """The constants that `predicted_away` left this of."""
    rows = [[int(value) for value in row] for row in left_over]
    for y, row in enumerate(rows):
        for x in range(len(row)):
            above, left = (rows[y - 1][x] if y else 0), (row[x - 1] if x else 0)
            if y and x:
                corner = rows[y - 1][x - 1]
                row[x] += min(max(above + left - corner, min(above, left)), max(above, left))
            else:
                row[x] += above or left
    return np.array(rows, np.int64)
