"""The step for a wanted size or PSNR, on functions whose answer is known."""

from __future__ import annotations

import math

import pytest

from eorestore.codec.search import search_step
from eorestore.errors import UsageError


def rate(step):
    """High-rate theory: a bit less for every doubling of the step, 6.02 dB worse."""
    bits = math.log2(1 + 12 / step)
    return 1000 * bits, 20 * math.log10(30 * math.sqrt(12) / step)


def test_the_size_is_met_from_below():
    found = search_step(rate, size=1500.0)
    assert 1500 * 0.995 <= found.size <= 1500
    assert found.tries <= 8


def test_the_psnr_is_met_from_above():
    found = search_step(rate, psnr=33.0)
    assert 33.0 <= found.psnr <= 33.05
    assert found.step == pytest.approx(30 * math.sqrt(12) / 10 ** (33 / 20), rel=0.01)


def test_steps_are_written_in_four_digits():
    step = search_step(rate, psnr=41.7).step
    assert step == float(f"{step:.4g}")


def test_a_function_with_jumps_still_gives_a_step_that_fits():
    found = search_step(lambda step: (1000.0 if step < 3 else 400.0, 50 - step), size=700.0)
    assert found.size == 400


def test_what_cannot_be_met_is_an_error():
    with pytest.raises(UsageError, match="no step"):
        search_step(rate, size=1.0)


def test_one_target_is_needed():
    with pytest.raises(UsageError, match="one target"):
        search_step(rate)
