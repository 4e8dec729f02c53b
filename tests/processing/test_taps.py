"""Bicubic weights as short rows: the same resizing as the matrices give, and its inverse."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.processing.resize import enlarging, shrinking
from eorestore.processing.taps import INVERSE_RADIUS, REACH, enlarge_taps, inverse_taps, shrink_taps


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_weights_of_every_row_sum_to_one(factor):
    rows = [shrink_taps(factor), *enlarge_taps(factor), inverse_taps(factor)]
    assert [sum(row.weights) for row in rows] == pytest.approx([1.0] * len(rows), abs=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_inverse_undoes_enlarging_and_shrinking_far_from_the_edges(factor):
    length = 40
    both = shrinking(length * factor, factor) @ enlarging(length, factor)
    taps = inverse_taps(factor)
    kernel = np.zeros(length)
    kernel[length // 2 + taps.first : length // 2 + taps.first + len(taps.weights)] = taps.weights
    impulse = np.zeros(length)
    impulse[length // 2] = 1
    np.testing.assert_allclose(both @ kernel, impulse, atol=2e-4)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_no_weight_lies_beyond_the_declared_reach(factor):
    shrinking_row = shrink_taps(factor)
    pixels = [shrinking_row.first, shrinking_row.first + len(shrinking_row.weights) - 1]
    assert max(abs(np.floor(pixel / factor)) for pixel in pixels) <= REACH
    for row in enlarge_taps(factor):
        assert row.first >= -REACH
        assert row.first + len(row.weights) - 1 <= REACH
    assert len(inverse_taps(factor).weights) == 2 * INVERSE_RADIUS + 1
