"""Differences as symbols: the family of distributions, and that any 32-bit value can be coded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eorestore.codec.coder import Decoder, Encoder
from eorestore.codec.pixel_predictor import UNIT, Prediction
from eorestore.codec.predictive_weights import constants
from eorestore.codec.residuals import (
    ABOVE,
    BELOW,
    FIRST,
    HIGHEST,
    LOWEST,
    TABLES,
    expect,
    family,
    parts,
    price,
    reach_of,
    read,
    shape,
    write,
)
from eorestore.errors import CodecError


@pytest.mark.parametrize("table", range(0, TABLES, 37))
def test_tables_hold_scipys_generalised_logistic_distribution(table):
    scale, skew, mean = shape(table)
    reach = reach_of(table)
    law = stats.genlogistic(skew, loc=mean - scale * np.log(skew), scale=scale)
    edges = np.arange(-reach, reach + 1) - 0.5
    probabilities = family(table)
    np.testing.assert_allclose(probabilities[FIRST : FIRST + 2 * reach], np.diff(law.cdf(edges)), atol=1e-12)
    np.testing.assert_allclose(probabilities[[BELOW, ABOVE]], [law.cdf(edges[0]), law.sf(edges[-1])], atol=1e-12)
    assert probabilities.sum() == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**30),
    spread=st.integers(-200, 40 * UNIT),
    mean=st.floats(-(2**37), 2**37),
    size=st.integers(1, 60),
)
def test_any_value_is_coded_against_any_expectation(seed, spread, mean, size):
    rng = np.random.default_rng(seed)
    values = rng.integers(LOWEST, HIGHEST, size, endpoint=True)
    values[::2] = np.clip(values[::2] // 2**16, LOWEST, HIGHEST)
    prediction = Prediction(
        np.full(size, np.floor(mean)), np.full(size, float(spread)), rng.integers(-400, 400, size).astype(float)
    )
    expected = expect(rng.integers(LOWEST, HIGHEST, size).astype(float), prediction)
    encoder = Encoder(constants().tables)
    write(encoder, values, expected)
    decoder = Decoder(encoder.finish(), constants().tables)
    np.testing.assert_array_equal(read(decoder, expected), values)
    decoder.finish()


def test_the_price_is_what_is_paid():
    rng = np.random.default_rng(0)
    values = np.round(rng.logistic(3.3, 1.7, 20_000)).astype(np.int64)
    flat = np.zeros(values.size)
    expected = expect(flat, Prediction(flat + 53, flat + UNIT * np.log2(16 * 1.7), flat))
    encoder = Encoder(constants().tables)
    write(encoder, values, expected)
    paid = 8 * len(encoder.finish())
    assert price(values, expected, constants().tables) == pytest.approx(paid, rel=0.003)
    assert paid / values.size == pytest.approx(stats.logistic(scale=1.7).entropy() / np.log(2), rel=0.02)


def test_low_bits_are_raw_where_the_spread_is_large():
    flat = np.zeros(3)
    expected = expect(flat, Prediction(flat, flat + 14 * UNIT, flat))
    assert expected.raw.tolist() == [8, 8, 8]
    coarse, low = parts(np.array([-1000, 0, 1000]), expected)
    np.testing.assert_array_equal(coarse * 256 + low - 128, [-1000, 0, 1000])


def test_a_value_beyond_32_bits_is_an_error():
    encoder = Encoder(constants().tables)
    flat = np.zeros(1)
    wide = Prediction(flat, flat + 60 * UNIT, flat)
    write(encoder, np.array([HIGHEST]), expect(flat, wide))
    payload = encoder.finish()
    with pytest.raises(CodecError, match="32 bits"):
        read(Decoder(payload, constants().tables), expect(flat + HIGHEST, wide))
