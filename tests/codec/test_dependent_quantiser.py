from __future__ import annotations

import itertools

import numpy as np
import pytest

from eorestore.codec.block_transform import BlockGrid
from eorestore.codec.contexts import BandContext
from eorestore.codec.dependent_quantiser import Chains, best_levels, magnitudes, seconds

SECOND = (0, 0, 1, 1)
NEXT = ((0, 2), (2, 0), (1, 3), (3, 1))


def meant(levels: tuple[int, ...]) -> list[int]:
    """What the levels of a chain stand for, as the page of the paper says it."""
    state, found = 0, []
    for level in levels:
        found.append(2 * level - (SECOND[state] and level > 0))
        state = NEXT[state][level & 1]
    return found


def choices(size: np.ndarray) -> tuple[np.ndarray, ...]:
    """Costs and levels of the nearest even and odd level of either quantiser; each bit of a level costs a little."""
    costs, found = np.empty((2, 2, *size.shape), np.float32), np.empty((2, 2, *size.shape), np.int64)
    for parity, second in itertools.product((0, 1), (0, 1)):
        levels = np.arange(parity, 40, 2)
        away = (size[..., None] - (2 * levels - second * (levels > 0))) ** 2 + 0.3 * levels
        costs[parity, second], found[parity, second] = away.min(-1), levels[away.argmin(-1)]
    return costs[0], costs[1], found[0], found[1]


def test_states_known_step_by_step_are_those_known_at_once() -> None:
    grid = BlockGrid.over(70, 101)  # blocks of 35 and of 33 and 34
    draw = np.random.default_rng(0)
    levels = np.where(grid.present, draw.integers(-3, 4, grid.shape), 0)
    context, chains = BandContext(grid, step_index=100), Chains(grid)
    flat, all_at_once = context.padded(levels), context.padded(seconds(levels))
    for step in context.steps():
        assert np.array_equal(chains.second(step), all_at_once[step.places])
        chains.tell(step, flat[step.places])


def test_a_chain_is_read_as_written_on_the_page() -> None:
    draw = np.random.default_rng(1)
    levels = draw.integers(0, 4, (3, 12, 2, 2))
    levels[0, 0] = 0  # constants are no part of a chain
    found = magnitudes(levels, seconds(levels))
    for u, row, column in np.ndindex(3, 2, 2):
        start = 1 if u == 0 else 0
        chain = tuple(int(level) for level in levels[u, start:, row, column])
        assert found[u, start:, row, column].tolist() == meant(chain)


@pytest.mark.parametrize("seed", range(5))
def test_no_chain_is_cheaper_than_the_best(seed: int) -> None:
    size = np.random.default_rng(seed).exponential(2.0, (2, 5, 1, 1)).astype(np.float32)
    levels = best_levels(*choices(size))
    levels[0, 0] = 0

    def cost(u: int, chain: tuple[int, ...], start: int) -> float:
        away = size[u, start:, 0, 0] - np.array(meant(chain))
        return float((away**2).sum() + 0.3 * sum(chain))

    for u, start in ((0, 1), (1, 0)):
        every = itertools.product(range(7), repeat=5 - start)
        least = min(cost(u, chain, start) for chain in every)
        assert cost(u, tuple(levels[u, start:, 0, 0].tolist()), start) == pytest.approx(least, rel=1e-5)


def test_long_chains_of_even_noise_lose_a_fifth_less_than_rounding() -> None:
    # The granular gain of four states is 0.99 dB (Marcellin and Fischer, table I), of at most 1.53.
    size = np.random.default_rng(2).uniform(20, 60, (1, 1000, 8, 8)).astype(np.float32)
    levels = best_levels(*free(size))
    error = float(np.mean((size - magnitudes(levels, seconds(levels)))[:, 1:] ** 2))
    assert 10 * np.log10((4 / 12) / error) == pytest.approx(0.99, abs=0.03)


def free(size: np.ndarray) -> tuple[np.ndarray, ...]:
    """As `choices`, where bits cost nothing."""
    costs, found = np.empty((2, 2, *size.shape), np.float32), np.empty((2, 2, *size.shape), np.int64)
    for parity, second in itertools.product((0, 1), (0, 1)):
        levels = 2 * np.rint((size + second - 2 * parity) / 4).astype(np.int64) + parity
        costs[parity, second] = (size - (2 * levels - second * (levels > 0))) ** 2
        found[parity, second] = levels
    return costs[0], costs[1], found[0], found[1]
