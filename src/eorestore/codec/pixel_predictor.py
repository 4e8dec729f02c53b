"""What a pixel will be, from its neighbours: a mean, a spread and a skew, in whole numbers; knows no bitstream.

    neighbours - nearest -> weights (one of several sets) -> first guess
    neighbours - first guess, over their mean distance to it -> two hidden layers -> shift of the guess, spread, skew

Encoder and decoder must agree to the last bit on any machine. All is float64, and every sum over neighbours or inputs
is one of whole numbers that stays below 2^53: exact in any order, so a matrix product is the same on every BLAS with
any number of threads. What is not whole goes through single additions, multiplications, divisions and floors, which
IEEE 754 rounds in one way only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# A step between pixel values is cut into FINE parts; weights of the first guess are over WEIGHT.
FINE = 16
WEIGHT = 4096
# What the network sees is in UNIT parts: of the mean distance of the neighbours to the guess, or of an octave.
UNIT = 64
LIMIT = 1023
HIDDEN_LIMIT = 4095
# The network's weights are over NETWORK.
NETWORK = 512
# Pixels at a time: what does not fit the cache takes twice the time.
PIECE = 2048


@dataclass(frozen=True)
class Cell:
    """Constants of one pass at one level: `guesses` (set, neighbour) and the network's layers (out, in) and (out,).

    Whole numbers in float64.
    """

    guesses: Numbers
    weights: tuple[Numbers, ...]
    biases: tuple[Numbers, ...]


@dataclass(frozen=True)
class Surroundings:
    """What a pass knows of its pixels: `nearest` (pixel,), `deviations` from it (neighbour, pixel) in whole steps.

    The rows are the neighbours in the pass's order, without the nearest, then eight of the band before where there is
    one: its pixels around this one, from the pixel of that band at this very place.
    """

    nearest: Numbers
    deviations: Numbers


@dataclass(frozen=True)
class Context:
    """What the network sees: `guess` (pixel,) from the nearest in parts of a step, `inputs` (input, pixel).

    `distance` (pixel,) is the neighbours' mean distance to the guess, in parts of a step, `octave` its logarithm.
    """

    guess: Numbers
    inputs: Numbers
    distance: Numbers
    octave: Numbers


@dataclass(frozen=True)
class Prediction:
    """(pixel,) each: `mean` from the nearest, in parts of a step; `spread` and `skew`, logarithms in UNIT an octave."""

    mean: Numbers
    spread: Numbers
    skew: Numbers

    def of(self, chosen: NDArray[np.bool_]) -> Prediction:
        """That of some of the pixels."""
        if chosen.all():
            return self
        return Prediction(self.mean[chosen], self.spread[chosen], self.skew[chosen])


def surroundings(values: Numbers, before: tuple[Numbers, Numbers] | None) -> Surroundings:
    """From neighbour values (neighbour, pixel) and, of the band before, (this place (pixel,), around it (8, pixel))."""
    nearest = values[0]
    own = values[1:] - nearest
    if before is None:
        return Surroundings(nearest, own)
    return Surroundings(nearest, np.concatenate([own, before[1] - before[0]]))


def context(seen: Surroundings, guesses: Numbers) -> Context:
    """First guess by one set of weights (deviation,), and what the network sees of the rest."""
    count, pixels = seen.deviations.shape
    inputs = np.empty((count + 3, pixels))
    guess, distance = np.empty((2, pixels))
    for piece in _pieces(pixels):
        deviations, apart = seen.deviations[:, piece], inputs[:-2, piece]
        guess[piece] = _guess(deviations, guesses)
        apart[0] = 0
        np.multiply(deviations, FINE, out=apart[1:])
        apart -= guess[piece]
        # One part each keeps the mean away from zero: pixels are rounded, so equal ones need not be.
        distance[piece] = (np.abs(apart).sum(axis=0) + (count + 1)) / (count + 1)
        apart *= UNIT / distance[piece]
        np.floor(apart, out=apart)
        np.clip(apart, -LIMIT, LIMIT, out=apart)
    octave = logarithm(distance)
    typical = octave.sum() // max(pixels, 1)
    inputs[-2] = np.clip(octave - typical, -LIMIT, LIMIT)
    inputs[-1] = np.clip((octave - 8 * UNIT) // 4, -LIMIT, 0)
    return Context(guess, inputs, distance, octave)


def guess_by(seen: Surroundings, guesses: Numbers) -> Numbers:
    """The first guess alone (pixel,), from the nearest, in parts of a step."""
    guess = np.empty(seen.nearest.size)
    for piece in _pieces(guess.size):
        guess[piece] = _guess(seen.deviations[:, piece], guesses)
    return guess


def predict(seen: Context, cell: Cell) -> Prediction:
    """The network's view of each pixel."""
    outputs = np.empty((len(cell.biases[-1]), seen.guess.size))
    for piece in _pieces(seen.guess.size):
        values = seen.inputs[:, piece]
        for weights, biases in zip(cell.weights[:-1], cell.biases[:-1], strict=True):
            values = weights @ values
            values += biases[:, None]
            values *= 1 / NETWORK
            np.floor(values, out=values)
            np.clip(values, 0, HIDDEN_LIMIT, out=values)
        outputs[:, piece] = np.floor((cell.weights[-1] @ values + cell.biases[-1][:, None]) / NETWORK)
    shift, spread, skew = outputs
    return Prediction(seen.guess + np.floor(shift * seen.distance / UNIT), seen.octave + spread, skew)


def logarithm(numbers: Numbers) -> Numbers:
    """Base-2 logarithm of positive numbers in whole parts, UNIT an octave, within one part or so.

    By the exponent and a parabola over the mantissa, since libraries round their logarithms differently.
    """
    mantissas, exponents = np.frexp(numbers)
    above = 2 * mantissas - 1
    parts: Numbers = np.floor((exponents - 1 + above + above * (1 - above) * 0.34375) * UNIT)
    return parts


def _guess(deviations: Numbers, guesses: Numbers) -> Numbers:
    return np.asarray(np.floor((guesses @ deviations + WEIGHT // FINE // 2) * (FINE / WEIGHT)))


def _pieces(size: int) -> Iterator[slice]:
    for start in range(0, size, PIECE):
        yield slice(start, start + PIECE)
