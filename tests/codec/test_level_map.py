"""Maps of the numbers in use: only where they pay, and never larger than allowed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eorestore.codec.fields import Fields, deflate, put_bytes, put_varint
from eorestore.codec.level_map import MOST_LEVELS, describe, find_levels, read_levels
from eorestore.errors import CodecError


def test_half_floats_in_hundredths_have_a_small_map():
    decibel = np.random.default_rng(0).normal(-20, 2, 20_000).astype(np.float16).astype(np.float64)
    values = np.round(100 * decibel).astype(np.int32)
    levels, packed = find_levels(values)
    np.testing.assert_array_equal(levels, np.unique(values))
    np.testing.assert_array_equal(read_levels(Fields(packed)), levels)
    assert len(packed) < 150


def test_numbers_that_are_all_in_use_have_no_map():
    values = np.round(np.random.default_rng(0).normal(0, 200, 200_000)).astype(np.int32)
    assert find_levels(values) is None


@pytest.mark.parametrize("values", [[], [5], [7, 7, 7], [-(2**31), 2**31 - 1]])
def test_few_numbers_have_no_map(values):
    assert find_levels(np.array(values, np.int32)) is None


@settings(max_examples=50, deadline=None)
@given(lowest=st.integers(-(2**31), 2**31 - 2000), seed=st.integers(0, 2**30), share=st.floats(0.01, 1))
def test_a_map_is_read_as_it_was_written(lowest, seed, share):
    used = np.random.default_rng(seed).random(1500) < share
    used[0] = used[-1] = True
    np.testing.assert_array_equal(read_levels(Fields(describe(lowest, used))), np.flatnonzero(used) + lowest)


@pytest.mark.parametrize("size", [0, MOST_LEVELS + 1, 2**40])
def test_a_map_of_impossible_size_is_an_error(size):
    stream = put_varint(0) + put_varint(2 * size) + put_bytes(deflate(bytes(min(size, 100))))
    with pytest.raises(CodecError):
        read_levels(Fields(stream))
