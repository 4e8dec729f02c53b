"""Quantisation in which each level decides by its parity how the next is meant; knows no table and no bytes.

Two quantisers share one unit: of the first a level k means 2 k units, of the second 2 k - sign(k). A machine of four
states names the one that is used, and moves by the parity of each level. So the points that a sequence of levels can
reach lie packed as in a trellis, and an encoder that looks for the best sequence loses less at the same rate than
rounding each number. (Trellis-coded quantisation: Marcellin and Fischer, IEEE Trans. Communications 38, 1990; with the
states of Schwarz, Nguyen, Marpe, Wiegand, "Hybrid video coding with trellis-coded quantization", DCC 2019.)

A chain runs along the horizontal frequencies of one vertical frequency of one block, from state 0; the coefficients of
one ring are in chains of their own, so that a whole ring is still decoded at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.block_transform import BlockGrid
from eorestore.codec.contexts import Step

UNIT = 0.56  # of the step: what both quantisers' points are multiples of
STATES = 4
_NEXT = np.array([[0, 2], [2, 0], [1, 3], [3, 1]], np.uint8)  # by state and parity
_SECOND = np.array([0, 0, 1, 1], np.uint8)  # states that use the second quantiser


def magnitudes(levels: NDArray[np.int64], second: NDArray[np.uint8] | np.uint8) -> NDArray[np.int64]:
    """Units that levels without sign stand for; `second`: 1 where the second quantiser is meant, else 0."""
    return 2 * levels - (second & (levels > 0))


class Chains:
    """The states of all chains of a band while its coefficients become known, step by step."""

    def __init__(self, grid: BlockGrid) -> None:
        vertical, _, rows, columns = grid.shape
        self._blocks = rows * columns
        self._states = np.zeros(vertical * self._blocks, np.uint8)

    def second(self, step: Step) -> NDArray[np.uint8]:
        """(n,): 1 where a coefficient of the step is meant by the second quantiser, else 0."""
        return _SECOND[self._states[self._places(step)]]

    def tell(self, step: Step, levels: NDArray[np.int64]) -> None:
        """The levels (n,) of a step."""
        places = self._places(step)
        self._states[places] = _NEXT[self._states[places], levels & 1]

    def _places(self, step: Step) -> NDArray[np.int64]:
        return step.u * self._blocks + step.places % self._blocks


def seconds(levels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """For every level, (vertical, horizontal, row, column), 1 where the second quantiser is meant; constants: 0."""
    out = np.zeros(levels.shape, np.uint8)
    states = np.zeros((levels.shape[0], *levels.shape[2:]), np.uint8)
    for v in range(levels.shape[1]):
        parity = (levels[:, v] & 1).astype(np.uint8)
        if v == 0:
            parity[0] = 0  # constants are no part of a chain
        out[:, v] = _SECOND[states]
        states = _NEXT[states, parity]
    return out


def best_levels(
    even: NDArray[np.float32], odd: NDArray[np.float32], even_levels: NDArray[np.int64], odd_levels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The levels without sign of the cheapest chains (Viterbi); those of the constants mean nothing.

    Args:
        even: (2, vertical, horizontal, row, column), what the best even level of either quantiser costs.
        odd: the same of the best odd level.
        even_levels: those even levels.
        odd_levels: those odd levels.
    """
    _, vertical, horizontal, rows, columns = even.shape
    chains = vertical, rows, columns
    costs = np.full((STATES, *chains), np.inf, np.float32)
    costs[0] = 0
    came = np.zeros((horizontal, STATES, *chains), bool)  # from the second of a state's two sources
    sources = [[(0, 0), (1, 1)], [(2, 0), (3, 1)], [(0, 1), (1, 0)], [(2, 1), (3, 0)]]  # (state, parity)
    for v in range(horizontal):
        both = even[:, :, v], odd[:, :, v]
        if v == 0:
            both = both[0].copy(), both[1].copy()
            both[0][:, 0], both[1][:, 0] = 0, np.inf  # constants leave the state as it is
        fresh = np.empty_like(costs)
        for state, ((a, pa), (b, pb)) in enumerate(sources):
            first, other = costs[a] + both[pa][_SECOND[a]], costs[b] + both[pb][_SECOND[b]]
            came[v, state] = other < first
            fresh[state] = np.minimum(first, other)
        costs = fresh
    state = costs.argmin(axis=0)
    out = np.zeros((vertical, horizontal, rows, columns), np.int64)
    source_state = np.array([[a, b] for (a, _), (b, _) in sources])
    source_parity = np.array([[pa, pb] for (_, pa), (_, pb) in sources])
    places = tuple(np.indices(chains))
    for v in range(horizontal - 1, -1, -1):
        second = came[v][(state, *places)].astype(np.intp)
        parity, state = source_parity[state, second], source_state[state, second]
        of = _SECOND[state].astype(np.intp)
        u, row, column = places
        out[:, v] = np.where(parity, odd_levels[of, u, v, row, column], even_levels[of, u, v, row, column])
    return out
