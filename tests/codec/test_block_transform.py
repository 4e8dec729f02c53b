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


def test_coefficients_are_scipys_cosines_of_each_block() -> None:
    plane = np.random.default_rng(1).normal(size=(70, 97)).astype(np.float32)
    grid = BlockGrid.over(*plane.shape)
    assert grid.heights == (35, 35)
    assert grid.widths == (33, 32, 32)
    coefficients = forward(plane, grid)
    block = plane[35:70, 33:65]
    assert np.allclose(coefficients[:, :32, 1, 1], dctn(block, norm="ortho"), atol=1e-5)


def test_sides_near_a_multiple_of_the_block_keep_blocks_near_its_size() -> None:
    for side in range(BLOCK + BLOCK // 2, 600):
        assert 24 <= min(BlockGrid.over(side, 1).heights) <= max(BlockGrid.over(side, 1).heights) <= 48
