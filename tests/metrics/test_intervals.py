"""Coverage of intervals against SciPy's normal distribution."""

import pytest
import torch
from scipy.stats import norm

from eorestore.metrics.intervals import coverage, half_width, interval_width, share_within

SHAPE = (2, 200, 200)


def error() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def everywhere() -> torch.Tensor:
    return torch.ones(1, *SHAPE[1:], dtype=torch.bool)


def test_the_interval_is_that_of_scipys_normal_distribution():
    for level in (0.5, 0.8, 0.9):
        assert half_width(level) == pytest.approx(norm.interval(level)[1], abs=1e-9)


@pytest.mark.parametrize("claimed", [0.5, 1.0, 2.0])
def test_a_sigma_that_is_off_by_a_factor_covers_what_scipy_says(claimed):
    sigma = torch.full(SHAPE, 0.02 * claimed, dtype=torch.float64)
    found = coverage(0.3 + 0.02 * error(), torch.full(SHAPE, 0.3), sigma, valid=everywhere())
    expected = 1 - 2 * norm.sf(claimed * norm.interval(0.9)[1])
    assert found.tolist() == pytest.approx([expected, expected], abs=0.01)


def test_the_width_is_twice_the_half_width_of_the_mean_sigma():
    sigma = torch.stack([torch.full(SHAPE[1:], 0.01), torch.full(SHAPE[1:], 0.03)])
    sigma[:, :100] *= 3
    assert interval_width(sigma, valid=everywhere()).tolist() == pytest.approx([4 * 1.644854 * v for v in (0.01, 0.03)])


def test_only_pixels_of_the_region_with_a_sigma_count():
    sigma = torch.full(SHAPE, 0.1)
    sigma[1] = torch.nan
    sigma[0, :50] = torch.nan
    prediction, target = torch.zeros(SHAPE), torch.zeros(SHAPE)
    prediction[:, 100:] = 1.0
    region = everywhere()
    region[:, :, 100:] = False
    prediction[:, :, 100:] = torch.nan
    found = coverage(prediction, target, sigma, valid=everywhere(), region=region)
    assert found[0].item() == pytest.approx(50 / 150)
    assert found[1].isnan()
    assert interval_width(sigma, valid=everywhere()).isnan().tolist() == [False, True]


def test_a_share_within_any_factor_is_that_of_scipy_too():
    sigma = torch.ones(SHAPE, dtype=torch.float64)
    for factor in (0.5, 1.0, 2.5):
        found = share_within(error(), torch.zeros(SHAPE), sigma, valid=everywhere(), factor=factor)
        assert found.tolist() == pytest.approx([1 - 2 * norm.sf(factor)] * 2, abs=0.01)
