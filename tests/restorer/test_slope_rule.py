"""When learning ends: where the line through the last errors falls no more."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress

from eorestore.errors import ConfigError
from eorestore.restorer.slope_rule import SlopeRule, SlopeSettings, falls_no_more


def rates(errors, *, steps=3000):
    """Steps at which the rate fell, and the step at which the rule was over, None where it never was."""
    rule, fell = SlopeRule(SlopeSettings()), []
    for step in range(1, steps + 1):
        if step % rule.settings.test_every == 0:
            rule.note(step, errors(step))
        before = rule.rate
        rule.check(step)
        if rule.rate < before:
            fell.append(step)
        if rule.over:
            return fell, step
    return fell, None


def test_a_flat_error_stops_learning_after_three_falls():
    noise = np.random.default_rng(0).normal(size=3001)
    for error in (lambda _: 0.1, lambda _: 0.0, lambda step: 0.1 + 1e-3 * noise[step]):
        fell, over = rates(error)
        assert over == fell[-1]
        assert len(fell) == 3


def test_a_rising_error_stops_it_too():
    assert rates(lambda step: 0.1 + 1e-5 * step)[1] is not None


@pytest.mark.parametrize("error", [lambda step: 1 - 3e-4 * step, lambda step: np.exp(-step / 1000)])
def test_a_falling_error_goes_on_to_the_last_step(error):
    assert rates(error) == ([], None)


def test_an_error_that_comes_to_rest_lowers_the_rate_only_then():
    fell, over = rates(lambda step: max(1.0 - step / 1000, 0.0))
    assert fell[0] > 1000
    assert over is not None


def test_the_rate_falls_at_checks_and_never_twice_within_a_window():
    fell, _ = rates(lambda _: 0.1)
    assert all(step % 60 == 0 for step in fell)
    assert all(second - first >= 256 for first, second in zip([0, *fell], fell, strict=False))


@pytest.mark.parametrize("seed", range(20))
def test_slope_and_standard_error_are_those_of_scipy(seed):
    generator = np.random.default_rng(seed)
    steps = 50 * np.arange(5) + 1000
    errors = 0.1 - generator.uniform(0, 4e-4) * (steps - 1000) / 50 + 1e-3 * generator.normal(size=5)
    line = linregress(steps, errors)
    threshold = -line.stderr / line.slope
    pairs = list(zip(steps.tolist(), errors.tolist(), strict=True))
    if line.slope < 0:
        assert falls_no_more(pairs, ratio=threshold * (1 - 1e-6))
        assert not falls_no_more(pairs, ratio=threshold * (1 + 1e-6))
    else:
        assert falls_no_more(pairs, ratio=1.5)


def test_two_errors_tell_nothing():
    assert not falls_no_more([(50, 0.1), (100, 0.1)], ratio=1.5)


@pytest.mark.parametrize("wrong", [{"test_every": 0}, {"least": 0.0}, {"fall": 1.0}])
def test_a_rule_that_could_not_end_is_refused(wrong):
    with pytest.raises(ConfigError):
        SlopeSettings(**wrong)
