"""The order of coding: every pixel once, neighbours always known."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.codec.interlacing import (
    COARSEST,
    LEVELS,
    MARGIN,
    PASSES,
    finer_level,
    level_of,
    level_shape,
    offsets,
    order_of,
)

SHAPES = [(1, 1), (1, 40), (40, 1), (17, 33), (48, 64)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_is_in_one_pass_of_one_level(shape):
    met = np.zeros(shape, int)
    met[::COARSEST, ::COARSEST] += 1
    for stride in LEVELS:
        level = finer_level(np.zeros(level_shape(shape, 2 * stride)), level_shape(shape, stride))
        for number in range(len(PASSES)):
            row, column = np.divmod(level.positions(number), level.padded.shape[1])
            met[(row - MARGIN) * stride, (column - MARGIN) * stride] += 1
    assert (met == 1).all()


@pytest.mark.parametrize("number", range(len(PASSES)))
def test_neighbours_come_earlier_than_the_pixel(number):
    order = order_of((64, 64))
    row, column, parity = PASSES[number]
    y, x = 32 + row, 32 + column + 2 * parity
    assert order[y, x] == 1 + (len(LEVELS) - 1) * len(PASSES) + number
    for dy, dx in offsets(number):
        assert order[y + dy, x + dx] < order[y, x]


@pytest.mark.parametrize("number", range(len(PASSES)))
def test_no_known_neighbour_within_two_pixels_is_left_out(number):
    order = order_of((64, 64))
    row, column, parity = PASSES[number]
    y, x = 32 + row, 32 + column + 2 * parity
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            assert ((dy, dx) in offsets(number)) == (order[y + dy, x + dx] < order[y, x])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_level_has_every_other_pixel_and_repeats_its_edge(shape):
    plane = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    level = level_of(plane, 2)
    np.testing.assert_array_equal(level.inside, plane[::2, ::2])
    np.testing.assert_array_equal(level.padded, np.pad(plane[::2, ::2], MARGIN, mode="edge"))
