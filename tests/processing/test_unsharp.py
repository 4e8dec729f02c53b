"""The adaptive unsharp mask against its formula by SciPy, and what gaps and flat ground must not see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve, gaussian_filter, uniform_filter

from eorestore.errors import DataError, UsageError
from eorestore.processing.unsharp import adaptive_unsharp

CROSS = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], float)


def scene(*shape: int) -> np.ndarray:
    generator = np.random.default_rng(sum(shape))
    return (290 + 4 * gaussian_filter(generator.normal(size=shape), (0, 1, 1))).astype(np.float32)


def everywhere(values: np.ndarray) -> np.ndarray:
    return np.ones(values.shape[1:], bool)


def test_without_gaps_it_is_the_formula_by_scipy():
    values = scene(2, 40, 50)
    expected = np.empty(values.shape)
    for band, plane in enumerate(values.astype(float)):
        energy = uniform_filter(np.abs(convolve(plane, CROSS, mode="mirror")), 5, mode="mirror")
        detail = plane - gaussian_filter(plane, 1.5, mode="mirror")
        expected[band] = plane + 0.4 * energy / energy.max() * 0.7 * detail
    found = adaptive_unsharp(values, valid=everywhere(values), sigma=1.5, strength=0.7, mixture=0.4)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=5e-5, rtol=0)


def test_details_grow_by_no_more_than_the_strength_times_the_mixture():
    values = scene(1, 40, 50).astype(np.float64)
    detail = values[0] - gaussian_filter(values[0], 1.0, mode="mirror")
    change = adaptive_unsharp(values, valid=everywhere(values))[0] - values[0]
    gain = change[np.abs(detail) > 1e-3] / detail[np.abs(detail) > 1e-3]
    assert gain.min() >= 0
    assert 0.1 < gain.max() <= 0.15 + 1e-9


def test_flat_ground_stays_as_it_is_bit_by_bit():
    values = np.full((1, 30, 60), 287.3, np.float32)
    assert np.array_equal(adaptive_unsharp(values, valid=everywhere(values)), values)
    values[:, :, 40:] = 300
    found = adaptive_unsharp(values, valid=everywhere(values))
    assert np.array_equal(found[:, :, :35], values[:, :, :35])
    assert found[0, 15, 40] > 300
    assert found[0, 15, 39] < np.float32(287.3)


def test_what_is_hotter_than_all_else_is_not_clipped():
    values = scene(1, 30, 30)
    values[0, 15, 15] = values.max() + 20
    assert adaptive_unsharp(values, valid=everywhere(values))[0, 15, 15] > values[0, 15, 15]


def test_gain_and_offset_pass_through():
    values = scene(1, 30, 30).astype(np.float64)
    found = adaptive_unsharp(values, valid=everywhere(values))
    np.testing.assert_allclose(
        adaptive_unsharp(3 * values - 500, valid=everywhere(values)), 3 * found - 500, atol=1e-9, rtol=0
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.floats(0, 1), st.sampled_from([np.nan, np.inf, 0.0, -9999.0]))
def test_gaps_do_not_bleed_and_come_back_as_they_were(height: int, width: int, share: float, fill: float):
    values = scene(2, height, width)
    valid = np.random.default_rng(height * width).random((height, width)) >= share
    gapped = np.where(valid, values, np.float32(fill))
    found = adaptive_unsharp(gapped, valid=valid)
    np.testing.assert_array_equal(found[:, ~valid], gapped[:, ~valid])
    np.testing.assert_array_equal(found[:, valid], adaptive_unsharp(values, valid=valid)[:, valid])
    assert np.isfinite(found[:, valid]).all()


def test_flat_ground_around_a_gap_shows_no_rim_and_details_elsewhere_are_as_without_it():
    values = np.full((1, 30, 40), 287.3, np.float32)
    values[0, :, 36:] += np.arange(4) ** 2
    valid = everywhere(values)
    whole = adaptive_unsharp(values, valid=valid)
    valid[10:20, 10:20] = False
    values[:, ~valid] = 0
    found = adaptive_unsharp(values, valid=valid)
    np.testing.assert_allclose(found[:, :, :28], values[:, :, :28], atol=1e-4, rtol=0)
    assert np.abs(found - values)[:, :, 28:].max() > 0.1
    np.testing.assert_allclose(found[:, :, 28:], whole[:, :, 28:], atol=1e-4, rtol=0)


def test_the_input_is_not_written_to():
    values = scene(1, 20, 20)
    before = values.copy()
    adaptive_unsharp(values, valid=everywhere(values))
    assert np.array_equal(values, before)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="with a mask of shape"):
        adaptive_unsharp(scene(1, 20, 20), valid=np.ones((20, 21), bool))


@pytest.mark.parametrize("asked", [{"sigma": 0.0}, {"strength": -1.0}, {"mixture": 1.2}])
def test_settings_that_cannot_be_are_refused(asked: dict[str, float]):
    values = scene(1, 20, 20)
    with pytest.raises(UsageError, match="an unsharp mask of"):
        adaptive_unsharp(values, valid=everywhere(values), **asked)
