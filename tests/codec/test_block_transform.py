from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from eorestore.codec.block_transform import BLOCK, BlockGrid, forward, inverse


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200))
def test_blocks_tile_a_plane_exactly_and_come_back(height: int, width: int) -> None:
    grid = BlockGrid.over(height, width)
    assert sum(grid.heights) == height
    assert sum(grid.widths) == width
    assert max(grid.heights) - min(grid.heights) <= 1
    plane = np.random.default_rng(0).normal(size=(height, width)).astype(np.float32)
    coefficients = forward(plane, grid)
    assert coefficients.shape == grid.shape
    assert int(grid.present.sum()) == plane.size
    assert not coefficients[~grid.present].any()
    assert np.allclose(inverse(coefficients, grid), plane, atol=1e-5)
    assert float((coefficients**2).sum()) == pytest.approx(float((plane**2).sum()), rel=1e-5)


def test_a_block_without_a_border_has_scipys_cosines() -> None:
    plane = np.random.default_rng(1).normal(size=(40, 37)).astype(np.float32)
    grid = BlockGrid.over(*plane.shape)
    assert grid.shape == (40, 37, 1, 1)
    assert np.allclose(forward(plane, grid)[:, :, 0, 0], dctn(plane, norm="ortho"), atol=1e-5)


def test_pixels_far_from_borders_have_scipys_cosines() -> None:
    plane = np.zeros((70, 97), np.float32)
    plane[6:12, 4:8] = np.random.default_rng(1).normal(size=(6, 4))
    grid = BlockGrid.over(*plane.shape)
    assert grid.heights == (35, 35)
    assert grid.widths == (33, 32, 32)
    coefficients = forward(plane, grid)
    assert np.allclose(coefficients[:, :, 0, 0], dctn(plane[:35, :33], norm="ortho"), atol=1e-5)
    assert not coefficients[:, :, 1:].any()


def test_lapping_takes_energy_out_of_high_frequencies_of_a_smooth_plane() -> None:
    """The coding gain of a first-order process of 0.95 rises above that of cosines alone, as the paper has it."""
    correlation = 0.95 ** np.abs(np.subtract.outer(np.arange(96), np.arange(96)))
    grid = BlockGrid.over(96, 1)
    columns = np.linalg.cholesky(correlation).astype(np.float32)
    lapped = np.stack([forward(column[:, None], grid)[:, 0, 1, 0] for column in columns.T])
    plain = np.stack([dctn(column[32:64], norm="ortho") for column in columns.T])
    gains = [-10 * np.log10(np.exp(np.log((rows**2).sum(0)).mean())) for rows in (lapped, plain)]
    assert gains[0] > gains[1] + 0.1


def test_sides_near_a_multiple_of_the_block_keep_blocks_near_its_size() -> None:
    for side in range(BLOCK + BLOCK // 2, 600):
        assert 24 <= min(BlockGrid.over(side, 1).heights) <= max(BlockGrid.over(side, 1).heights) <= 48
