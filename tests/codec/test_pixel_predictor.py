"""The integer predictor: exact in any order of summation, near the formula it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.codec.pixel_predictor import (
    FINE,
    HIDDEN_LIMIT,
    LIMIT,
    NETWORK,
    UNIT,
    WEIGHT,
    Surroundings,
    context,
    guess_by,
    logarithm,
    predict,
    surroundings,
)
from eorestore.codec.predictive_weights import cell_keys, constants, deviations_of


def around(key: tuple[int, int, bool], spread: float, pixels: int = 500) -> Surroundings:
    rng = np.random.default_rng(5)
    values = np.round(rng.normal(0, spread, (deviations_of(key), pixels)))
    return Surroundings(np.zeros(pixels), values)


@pytest.mark.parametrize("key", cell_keys()[::5])
@pytest.mark.parametrize("spread", [1, 300, 2**30])
def test_python_integers_give_the_same_numbers(key, spread):
    """Python's integers have no limit: where they agree, no float64 sum was rounded."""
    cell = constants().cells[key]
    seen = around(key, spread, pixels=20)
    found = context(seen, cell.guesses[0])
    prediction = predict(found, cell)
    for pixel in range(20):
        deviations = [int(value) for value in seen.deviations[:, pixel]]
        total = sum(int(weight) * value for weight, value in zip(cell.guesses[0], deviations, strict=True))
        assert found.guess[pixel] == (total + WEIGHT // FINE // 2) // (WEIGHT // FINE)
        values = [int(value) for value in found.inputs[:, pixel]]
        for number, (weights, biases) in enumerate(zip(cell.weights, cell.biases, strict=True)):
            sums = [
                (sum(int(weight) * value for weight, value in zip(row, values, strict=True)) + int(bias)) // NETWORK
                for row, bias in zip(weights, biases, strict=True)
            ]
            values = sums if number == 2 else [min(max(value, 0), HIDDEN_LIMIT) for value in sums]
        assert prediction.spread[pixel] == found.octave[pixel] + values[1]
        assert prediction.skew[pixel] == values[2]


@pytest.mark.parametrize("key", cell_keys()[::7])
def test_the_order_of_the_pixels_does_not_matter(key):
    cell = constants().cells[key]
    seen = around(key, 100, pixels=5000)
    order = np.random.default_rng(6).permutation(5000)
    straight = predict(context(seen, cell.guesses[1]), cell)
    mixed = predict(context(Surroundings(seen.nearest[order], seen.deviations[:, order]), cell.guesses[1]), cell)
    np.testing.assert_array_equal(straight.mean[order], mixed.mean)
    np.testing.assert_array_equal(straight.spread[order], mixed.spread)


def test_the_logarithm_is_near_the_true_one():
    numbers = np.concatenate([np.linspace(1, 5, 4000), 2.0 ** np.arange(0, 50)])
    assert np.abs(logarithm(numbers) / UNIT - np.log2(numbers)).max() < 0.03


def test_inputs_keep_to_their_limit_and_do_not_depend_on_the_offset():
    key = cell_keys()[0]
    values = around(key, 2**28).deviations
    near = np.vstack([np.zeros(500), values])
    here, there = (surroundings(near + offset, None) for offset in (0, 1000))
    weights = constants().cells[key].guesses[0]
    np.testing.assert_array_equal(context(here, weights).inputs, context(there, weights).inputs)
    assert np.abs(context(here, weights).inputs).max() <= LIMIT
    np.testing.assert_array_equal(guess_by(here, weights), context(here, weights).guess)
