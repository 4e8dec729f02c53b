"""Intervals against SciPy's bootstrap and against what can be computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from eorestore.errors import DataError
from eorestore.experiments.bootstrap import paired_interval

VALUES = np.random.default_rng(3).gamma(2.0, size=25) - 1.0


def scipy_interval(values):
    found = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(9))
    return found.confidence_interval, found.standard_error


def test_scenes_of_one_place_give_scipys_percentile_interval():
    wanted, error = scipy_interval(VALUES)
    found = paired_interval({"only": VALUES})
    assert found.mean == pytest.approx(VALUES.mean())
    assert (found.low, found.high) == (
        pytest.approx(wanted.low, abs=0.1 * error),
        pytest.approx(wanted.high, abs=0.1 * error),
    )
    assert (found.count, found.places) == (25, 1)


def test_places_of_one_scene_each_give_scipys_percentile_interval():
    wanted, error = scipy_interval(VALUES)
    found = paired_interval({str(number): [value] for number, value in enumerate(VALUES)})
    assert (found.low, found.high) == (
        pytest.approx(wanted.low, abs=0.1 * error),
        pytest.approx(wanted.high, abs=0.1 * error),
    )
    assert (found.count, found.places) == (25, 25)


def test_places_and_scenes_both_widen_the_interval_as_the_two_variances_say():
    """Variance of the cluster bootstrap: between places / places + mean within places / (places x scenes)."""
    table = np.random.default_rng(5).normal(size=(30, 12)) + np.random.default_rng(6).normal(size=(30, 1))
    variance = table.mean(axis=1).var() / 30 + table.var(axis=1).mean() / (30 * 12)
    found = paired_interval({str(number): row for number, row in enumerate(table)}, resamples=40_000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.03)


def test_a_place_counts_once_whatever_its_number_of_scenes():
    assert paired_interval({"many": [1.0] * 9, "few": [3.0]}).mean == 2.0


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    first, second, other = (paired_interval({"a": VALUES}, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first.low != other.low


def test_only_an_interval_without_zero_is_clear():
    assert paired_interval({"a": VALUES + 5}).clear
    assert paired_interval({"a": VALUES - 5}).clear
    assert not paired_interval({"a": VALUES - VALUES.mean()}).clear


@pytest.mark.parametrize("differences", [{}, {"a": []}, {"a": [1.0, math.nan]}, {"a": [math.inf]}])
def test_without_finite_pairs_there_is_no_interval(differences):
    with pytest.raises(DataError):
        paired_interval(differences)
