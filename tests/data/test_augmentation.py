"""Colours, speckle, registration and turns of training samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import shift

from eorestore.data.augmentation import add_speckle, moved, recoloured, turned
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, Grid, Raster


def _raster(bands, values: np.ndarray) -> Raster:
    size = values.shape[1:]
    grid = Grid('PROJCS["any"]', (10.0, 0, 0, 0, -10.0, 0), *size)
    return Raster(values.astype(np.float32), np.ones(size, bool), bands, grid)


def test_speckle_keeps_the_mean_power():
    flat = _raster(SENTINEL1, np.full((2, 256, 256), -10.0))
    changed = [add_speckle(flat, generator=np.random.default_rng(seed)).values for seed in range(8)]
    noisy = [10 ** (values / 10) for values in changed if np.ptp(values) > 0]
    assert 0 < len(noisy) < 8
    for power in noisy:
        assert power.mean() == pytest.approx(0.1, rel=0.01)
        assert 7.5 < power.mean() ** 2 / power.var() < 42


def test_a_recoloured_ground_has_other_spectra_but_the_same_places():
    rows, columns = np.mgrid[:64, :64] / 64
    optical = _raster(SENTINEL2_L1C, np.stack([0.2 + 0.3 * (rows if band % 2 else columns) for band in range(13)]))
    other, again, third = (recoloured(optical, generator=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(other.values, again.values)
    assert np.abs(other.values - third.values).mean() > 0.005
    assert np.abs(other.values - optical.values).mean() > 0.005
    assert other.values.min() >= 0
    assert other.values.max() <= 1
    row = optical.bands.index("B10")
    np.testing.assert_array_equal(other.values[row], optical.values[row])
    plain = optical.values[1:4].mean(axis=0).ravel()
    assert np.corrcoef(plain, other.values[1:4].mean(axis=0).ravel())[0, 1] > 0.5


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.5), (-0.01, 0.0), (1.7, -2.2)])
def test_moving_is_bilinear_resampling(offset: tuple[float, float]):
    values = np.random.default_rng(3).standard_normal((2, 24, 30)).astype(np.float32)
    expected = [shift(band, (-offset[0], -offset[1]), order=1, mode="nearest") for band in values]
    np.testing.assert_allclose(moved(values, offset), expected, atol=1e-5)


def test_turns_are_quarter_turns_and_a_flip_mirrors_left_and_right():
    values = np.arange(6).reshape(1, 2, 3)
    assert turned(values, 0, flip=True).tolist() == [[[2, 1, 0], [5, 4, 3]]]
    assert turned(values, 1, flip=False).tolist() == [[[2, 5], [1, 4], [0, 3]]]
