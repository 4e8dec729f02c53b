"""Differences between whole numbers and their predictions as symbols of tables and raw bits; knows no picture.

A prediction is a mean (parts of a step), a spread and a skew. They choose a table of the family

    F(x) = (1 + exp(-(x - mode) / scale - ln a))^-a

the generalised logistic distribution of the first type (Johnson, Kotz and Balakrishnan 1995, section 23.10), set so
that its mode stays where it is when the skew a changes: decibels of speckle fall off slowly towards the dark side and
fast towards the bright one. Where the scale is small, tables also know in which quarter of a step the mean stands.
Where it is large, low bits of the difference are raw, so that a finite number of tables serves any scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.coder import Decoder, Encoder, from_tokens, mantissa_bits, to_tokens
from eorestore.codec.pixel_predictor import FINE, UNIT, Numbers, Prediction
from eorestore.codec.tables import Tables
from eorestore.errors import CodecError

# Scales by quarters of an octave, from 1/16 step on; beyond SCALES the low bits are raw.
QUARTER = UNIT // 4
SCALES = 28
# Below this class the tables know the PHASES of the mean within a step.
PHASED = 24
PHASES = 4
# Skews a = 2^-3 ... 2^1.5 in halves of an octave; one look in decibel is the limit of none at all.
SKEWS, LOWEST_SKEW = 10, -6
# Two symbols say that a difference lies beyond the table's reach r; the others are -r ... r - 1.
BELOW, ABOVE, FIRST = 0, 1, 2
FARTHEST = 128
SYMBOLS = 2 * FARTHEST + FIRST
TABLES = (PHASED * PHASES + SCALES - PHASED) * SKEWS
# The table of how far beyond, in tokens.
BEYOND = TABLES
LOWEST, HIGHEST = -(2**31), 2**31 - 1


def reach_of(table: int) -> int:
    """How far the symbols of a table go from the expected number, some twelve scales."""
    return min(FARTHEST, 4 + math.ceil(12 * shape(table)[0]))


@dataclass(frozen=True)
class Expectation:
    """(pixel,) each: the whole number expected, the table of the difference, how many of its low bits are raw."""

    centre: NDArray[np.int64]
    table: NDArray[np.uint16]
    raw: NDArray[np.uint8]

    def of(self, chosen: NDArray[np.bool_]) -> Expectation:
        """That of some of the pixels."""
        return Expectation(self.centre[chosen], self.table[chosen], self.raw[chosen])


def expect(nearest: Numbers, prediction: Prediction) -> Expectation:
    """What to code against, from a prediction relative to `nearest` (pixel,)."""
    scale = np.clip(np.floor(prediction.spread / QUARTER), 0, SCALES - 1 + 4 * 28).astype(np.int64)
    raw = np.maximum(scale - (SCALES - 4), 0) // 4
    scale -= 4 * raw
    skew = np.clip(np.floor(prediction.skew / (UNIT // 2) + 0.5) - LOWEST_SKEW, 0, SKEWS - 1).astype(np.int64)
    mean = np.clip(nearest * FINE + prediction.mean, FINE * LOWEST, FINE * HIGHEST)
    phased = scale < PHASED
    centre = np.floor(np.where(phased, mean, mean + FINE // 2) / FINE)
    phase = np.floor((mean - centre * FINE) / (FINE // PHASES)).astype(np.int64)
    row = np.where(phased, scale * PHASES + phase, scale + PHASED * (PHASES - 1))
    return Expectation(
        np.clip(centre, LOWEST, HIGHEST).astype(np.int64), (row * SKEWS + skew).astype(np.uint16), raw.astype(np.uint8)
    )


def parts(values: NDArray[np.int64], expected: Expectation) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """(difference in units of 2^raw, low bits) of `values` (pixel,)."""
    raw = expected.raw.astype(np.int64)
    difference = values - expected.centre + ((1 << raw) >> 1)
    coarse = difference >> raw
    return coarse, (difference - (coarse << raw)).astype(np.uint32)


def price(values: NDArray[np.int64], expected: Expectation, tables: Tables) -> float:
    """About how many bits `write` takes: what lies beyond a table counts as its symbol alone."""
    reach = reaches()[expected.table]
    coarse, _ = parts(values, expected)
    symbols = np.clip(coarse + reach + FIRST, ABOVE, 2 * reach + ABOVE).astype(np.int32)
    return tables.cost(symbols, expected.table) + float(expected.raw.sum(dtype=np.int64))


def write(encoder: Encoder, values: NDArray[np.int64], expected: Expectation) -> None:
    """Code `values` (pixel,) of int32 range."""
    coarse, low = parts(values, expected)
    reach = reaches()[expected.table]
    below, above = coarse < -reach, coarse >= reach
    symbols = np.where(below, BELOW, np.where(above, ABOVE, coarse + reach + FIRST)).astype(np.int32)
    encoder.add(symbols, expected.table)
    far = below | above
    if far.any():
        excess = np.where(below, -reach - 1 - coarse, coarse - reach)[far]
        tokens, mantissas, bits = to_tokens(excess.astype(np.uint32))
        encoder.add(tokens, np.full(tokens.size, BEYOND, np.uint16))
        encoder.add_bits(mantissas, bits)
    encoder.add_bits(low, expected.raw)


def read(decoder: Decoder, expected: Expectation) -> NDArray[np.int64]:
    """The values that `write` coded. Raises CodecError where they leave the range of int32."""
    symbols = decoder.take(expected.table).astype(np.int64)
    coarse = symbols - FIRST - reaches()[expected.table]
    far = symbols < FIRST
    if far.any():
        tokens = decoder.take(np.full(int(far.sum()), BEYOND, np.uint16))
        excess = from_tokens(tokens, decoder.take_bits(mantissa_bits(tokens))).astype(np.int64)
        reach = reaches()[expected.table[far]]
        coarse[far] = np.where(symbols[far] == BELOW, -reach - 1 - excess, reach + excess)
    raw = expected.raw.astype(np.int64)
    low = decoder.take_bits(expected.raw).astype(np.int64)
    values = (coarse << raw) + low - ((1 << raw) >> 1) + expected.centre
    if values.size and (values.min() < LOWEST or values.max() > HIGHEST):
        raise CodecError("a stream gives values beyond 32 bits", fix="take another copy of the file")
    return values


@lru_cache
def reaches() -> NDArray[np.int64]:
    """`reach_of` every table, (table,)."""
    return np.array([reach_of(table) for table in range(TABLES)])


def shape(row: int) -> tuple[float, float, float]:
    """(scale in steps, skew a, mean of the prediction from the expected number) that table `row` stands for."""
    group, skew = divmod(row, SKEWS)
    if group < PHASED * PHASES:
        scale, mean = group // PHASES, (group % PHASES + 0.5) / PHASES
    else:
        scale, mean = group - PHASED * (PHASES - 1), 0.0
    return 2.0 ** ((scale + 0.5) / 4) / FINE, 2.0 ** ((skew + LOWEST_SKEW) / 2), mean


def family(row: int) -> Numbers:
    """Probabilities (symbol,) of table `row` by the formula; rounded once, when the shipped tables are made."""
    scale, skew, mean = shape(row)
    reach = reach_of(row)
    edges = (np.arange(-reach, reach + 1) - 0.5 - mean) / scale + np.log(skew)
    below = np.exp(-skew * np.logaddexp(0, -edges))
    # Above the mode from the other side, where it is no small difference of large numbers.
    above = -np.expm1(-skew * np.logaddexp(0, -edges))
    inside = np.where(edges[1:] > 0, above[:-1] - above[1:], below[1:] - below[:-1])
    probabilities = np.zeros(SYMBOLS)
    probabilities[[BELOW, ABOVE]] = below[0], above[-1]
    probabilities[FIRST : FIRST + inside.size] = inside
    return probabilities
