"""Bits per pixel, values at a rate and rate differences, against NumPy and closed forms."""

import math

import numpy as np
import pytest

from eorestore.errors import DataError
from eorestore.metrics.rate import RateCurve, bd_rate, bits_per_pixel, rate_at_value, value_at_rate

RATES = [0.1, 0.2, 0.5, 1.0, 2.0, 4.0]
PSNR = [22.0, 24.5, 28.0, 31.0, 36.5, 44.0]


def test_bits_are_counted_by_pixel_and_band():
    assert bits_per_pixel(1000, height=20, width=40) == pytest.approx(10)
    assert bits_per_pixel(1000, height=20, width=40, bands=2) == pytest.approx(5)


@pytest.mark.parametrize("target", [0.1, 0.13, 0.5, 0.77, 3.9, 4.0])
def test_a_value_at_a_rate_is_numpys_over_the_logarithm(target):
    expected = np.interp(math.log2(target), np.log2(RATES), PSNR)
    assert value_at_rate(RATES, PSNR, target=target) == pytest.approx(expected, abs=1e-12)
    order = [3, 0, 5, 1, 4, 2]
    shuffled = value_at_rate([RATES[n] for n in order], [PSNR[n] for n in order], target=target)
    assert shuffled == pytest.approx(expected, abs=1e-12)


def test_halfway_between_two_rates_is_their_geometric_mean():
    assert value_at_rate([0.25, 1.0], [20.0, 30.0], target=0.5) == pytest.approx(25.0)


@pytest.mark.parametrize("target", [0.0999, 4.001])
def test_nothing_is_extrapolated(target):
    assert math.isnan(value_at_rate(RATES, PSNR, target=target))
    assert math.isnan(value_at_rate([], [], target=target))


def test_a_point_without_a_finite_value_makes_the_value_infinite():
    assert value_at_rate([0.5, 1.0], [math.inf, 1.2], target=0.7) == math.inf
    assert value_at_rate([0.5, 1.0], [math.inf, 1.2], target=1.0) == 1.2


def test_the_rate_that_a_value_takes_is_the_inverse():
    for target in (23.0, 28.0, 40.0):
        rate = rate_at_value(RATES, PSNR, target=target)
        assert value_at_rate(RATES, PSNR, target=rate) == pytest.approx(target)
    assert math.isnan(rate_at_value(RATES, PSNR, target=45.0))
    assert math.isnan(rate_at_value(RATES, PSNR, target=20.0))


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_the_same_curve_at_other_rates_differs_by_that_factor(factor):
    curve = RateCurve([factor * rate for rate in RATES], PSNR)
    assert bd_rate(curve, RateCurve(RATES, PSNR)) == pytest.approx(100 * (factor - 1), abs=1e-9)


def test_the_rate_difference_of_two_lines_is_the_mean_of_their_distance():
    # log2 rate at PSNR p: p - 30 for the anchor, 0.9 (p - 30) - 0.2 for the other.
    levels = np.linspace(28.0, 32.0, 9)
    anchor = RateCurve([float(2 ** (p - 30)) for p in levels], levels.tolist())
    other = RateCurve([float(2 ** (0.9 * (p - 30) - 0.2)) for p in levels[1:-2]], levels[1:-2].tolist())
    middle = (levels[1] + levels[-3]) / 2
    expected = 100 * (2 ** (-0.1 * (middle - 30) - 0.2) - 1)
    assert bd_rate(other, anchor) == pytest.approx(expected, abs=1e-9)


def test_a_rate_difference_turns_round_when_curves_change_places():
    one, other = RateCurve(RATES, PSNR), RateCurve(RATES, [value + 0.6 for value in PSNR])
    there, back = bd_rate(other, one), bd_rate(one, other)
    assert there < 0 < back
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


def test_points_above_forty_five_decibels_or_outside_the_rates_do_not_count():
    one, other = RateCurve(RATES, PSNR), RateCurve(RATES, [value + 0.6 for value in PSNR])
    more = RateCurve([*RATES, 5.0, 8.0, 0.01], [*PSNR, 48.0, 60.0, 21.9])
    far = RateCurve([*RATES, 5.9, 9.0, 0.02], [*(value + 0.6 for value in PSNR), 80.0, 90.0, 21.95])
    inside = RateCurve([*RATES, 5.0], [*PSNR, 48.0]), RateCurve([*RATES, 5.9], [*(v + 0.6 for v in PSNR), 80.0])
    assert bd_rate(far, more) == pytest.approx(bd_rate(inside[1], inside[0]), abs=1e-12)
    assert abs(bd_rate(far, more) - bd_rate(other, one)) < 2


def test_a_point_that_costs_more_and_gives_less_is_left_out():
    anchor = RateCurve(RATES, PSNR)
    worse = RateCurve([*RATES, 1.5], [*PSNR, 30.0])
    assert bd_rate(worse, anchor) == pytest.approx(0, abs=1e-12)


def test_curves_that_share_no_quality_have_no_rate_difference():
    low = RateCurve([0.1, 0.2], [10.0, 12.0])
    assert math.isnan(bd_rate(low, RateCurve(RATES, PSNR)))
    assert math.isnan(bd_rate(RateCurve([1.0], [30.0]), RateCurve(RATES, PSNR)))


def test_lists_of_two_lengths_and_rates_of_zero_are_refused():
    with pytest.raises(DataError, match="6 rates and 5 values"):
        value_at_rate(RATES, PSNR[:-1], target=1.0)
    with pytest.raises(DataError, match="above zero"):
        value_at_rate([0.0, 1.0], [1.0, 2.0], target=0.5)
