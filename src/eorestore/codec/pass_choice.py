"""How one pass of a tile is predicted, chosen by price: by which weights, and whether the network has a say.

Most passes take one of the shipped sets of weights and the network as it is. A kind of product that the constants were
not fitted to may bring weights of its own, correct the network's spread, or do without it: one spread and one skew for
all pixels of the pass, which is all there is to know about speckle without correlation. Knows no order of passes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.coder import Decoder, Encoder
from eorestore.codec.fields import damaged
from eorestore.codec.pixel_predictor import (
    FINE,
    UNIT,
    WEIGHT,
    Cell,
    Numbers,
    Prediction,
    Surroundings,
    context,
    guess_by,
    predict,
)
from eorestore.codec.residuals import LOWEST_SKEW, QUARTER, SKEWS, expect, price
from eorestore.codec.tables import Tables

NETWORK, WIDENED, PLAIN = 0, 1, 2
KIND_BITS = 2
WEIGHT_BITS = 16
# A corrected spread lies within so many quarters of an octave; a plain one is a class, with a skew and a shift.
WIDEST = 16
WIDER_BITS, SPREAD_BITS, SKEW_BITS, SHIFT_BITS = 5, 8, 4, 16
# Least squares and quantiles want so many pixels for each weight.
PIXELS_PER_WEIGHT = 16
SAMPLE = 4096
QUANTILES = (0.15, 0.5, 0.85)


@dataclass(frozen=True)
class Way:
    """`own` weights (deviation,) over WEIGHT, or the shipped set number `chosen`; `kind` and what it takes."""

    chosen: int
    own: Numbers | None = None
    kind: int = NETWORK
    wider: int = 0
    spread: int = 0
    skew: int = 0
    shift: int = 0


def predicted(way: Way, seen: Surroundings, cell: Cell) -> Prediction:
    """The prediction of every pixel of a pass."""
    weights = cell.guesses[way.chosen] if way.own is None else way.own
    if way.kind == PLAIN:
        guess = guess_by(seen, weights)
        spread = float(way.spread * QUARTER + QUARTER // 2)
        skew = float((way.skew + LOWEST_SKEW) * UNIT // 2)
        return Prediction(guess + way.shift, np.full(guess.size, spread), np.full(guess.size, skew))
    prediction = predict(context(seen, weights), cell)
    return widened(prediction, way.wider) if way.wider else prediction


def widened(prediction: Prediction, wider: int) -> Prediction:
    """The same with another spread."""
    return Prediction(prediction.mean, prediction.spread + wider * QUARTER, prediction.skew)


def write_way(encoder: Encoder, way: Way, sets: int) -> None:
    """Raw bits that `read_way` understands."""
    _put(encoder, sets if way.own is not None else way.chosen, sets.bit_length())
    if way.own is not None:
        encoder.add_bits((way.own % (1 << WEIGHT_BITS)).astype(np.uint32), WEIGHT_BITS)
    _put(encoder, way.kind, KIND_BITS)
    if way.kind == WIDENED:
        _put(encoder, way.wider + WIDEST, WIDER_BITS)
    elif way.kind == PLAIN:
        _put(encoder, way.spread, SPREAD_BITS)
        _put(encoder, way.skew, SKEW_BITS)
        _put(encoder, way.shift % (1 << SHIFT_BITS), SHIFT_BITS)


def read_way(decoder: Decoder, sets: int, weights: int) -> Way:
    """What `write_way` wrote, for a pass of `weights` deviations. Raises CodecError."""
    chosen = _number(decoder, sets.bit_length())
    if chosen > sets:
        raise damaged(f"a pass uses set {chosen} of {sets}")
    own = None
    if chosen == sets:
        bits = np.full(weights, WEIGHT_BITS, np.uint8)
        own, chosen = decoder.take_bits(bits).astype(np.uint16).view(np.int16).astype(np.float64), 0
    kind = _number(decoder, KIND_BITS)
    if kind == WIDENED:
        return Way(chosen, own, kind, wider=_number(decoder, WIDER_BITS) - WIDEST)
    if kind == PLAIN:
        spread, skew, shift = (_number(decoder, bits) for bits in (SPREAD_BITS, SKEW_BITS, SHIFT_BITS))
        half = 1 << SHIFT_BITS - 1
        return Way(chosen, own, kind, spread=spread, skew=skew, shift=(shift + half) % (2 * half) - half)
    if kind != NETWORK:
        raise damaged(f"a pass is predicted in way {kind}")
    return Way(chosen, own)


def best_set(away: Numbers, seen: Surroundings, cell: Cell) -> Way:
    """The shipped set that guesses pixels best; `away` (pixel,) are their distances from the nearest, in steps."""
    return Way(int(np.abs(away - cell.guesses @ seen.deviations / WEIGHT).sum(axis=1).argmin()))


def choose_way(
    away: Numbers, seen: Surroundings, coded: NDArray[np.bool_], *, cell: Cell, tables: Tables
) -> tuple[Way, Prediction]:
    """The way that codes the `coded` pixels of a pass in the fewest bits, and its prediction of all pixels.

    away: distances of the pixels from the nearest, in steps; where not coded they do not matter.
    """
    whole = bool(coded.all())
    some = seen if whole else Surroundings(seen.nearest[coded], seen.deviations[:, coded])
    known = away if whole else away[coded]
    usual = best_set(known, some, cell)
    found = [(usual, predicted(usual, seen, cell))]
    if known.size >= PIXELS_PER_WEIGHT * len(seen.deviations):
        own = _own_weights(some.deviations, known)
        for way in (usual, Way(0, own)):
            plain = _plain(way, known, some, cell)
            found.append((plain, predicted(plain, seen, cell)))
        sums = [np.abs(known - by @ some.deviations / WEIGHT).sum() + 1 for by in (cell.guesses[usual.chosen], own)]
        if known.size * np.log2(sums[0] / sums[1]) > WEIGHT_BITS * own.size:
            found.append((Way(0, own), predicted(Way(0, own), seen, cell)))
        for way, prediction in found.copy():
            wider = 0 if way.kind == PLAIN else _wider(known, prediction.of(coded))
            if wider:
                found.append((replace(way, kind=WIDENED, wider=wider), widened(prediction, wider)))
    if len(found) == 1:
        return found[0]
    costs = [_side_bits(way) + _price(known, prediction.of(coded), tables) for way, prediction in found]
    return found[int(np.argmin(costs))]


def _price(away: Numbers, prediction: Prediction, tables: Tables) -> float:
    return price(away.astype(np.int64), expect(np.zeros(away.size), prediction), tables)


def _side_bits(way: Way) -> int:
    more = {NETWORK: 0, WIDENED: WIDER_BITS, PLAIN: SPREAD_BITS + SKEW_BITS + SHIFT_BITS}[way.kind]
    return more + (0 if way.own is None else WEIGHT_BITS * way.own.size)


def _wider(away: Numbers, prediction: Prediction) -> int:
    """By how much the spread is off, judged by the median; 0 where it is about right."""
    distance = np.abs(away * FINE - prediction.mean) + FINE / 4
    wider = round(4 * float(np.median(np.log2(distance) - prediction.spread / UNIT)))
    return int(np.clip(wider, -WIDEST, WIDEST - 1)) if abs(wider) > 1 else 0


def _plain(way: Way, away: Numbers, seen: Surroundings, cell: Cell) -> Way:
    """The same weights with one spread, skew and shift for all, of the highest likelihood on a sample."""
    weights = cell.guesses[way.chosen] if way.own is None else way.own
    every = slice(None, None, -(-away.size // SAMPLE))
    left = away[every] * FINE - guess_by(Surroundings(seen.nearest[every], seen.deviations[:, every]), weights)
    # Pixels are whole steps; spread over a step they have the quantiles of what they were rounded from.
    left = left + (np.arange(left.size) % FINE - (FINE - 1) / 2)
    low, middle, high = np.quantile(left, QUANTILES)
    best, least = way, np.inf
    for skew in range(SKEWS):
        sharpness = 2.0 ** ((skew + LOWEST_SKEW) / 2)
        ideal = -np.log(np.asarray(QUANTILES) ** (-1 / sharpness) - 1) - np.log(sharpness)
        scale = max((high - low) / (ideal[2] - ideal[0]), 1.0)
        mode = middle - scale * ideal[1]
        edge = (left - mode) / scale + np.log(sharpness)
        length = np.log(scale / sharpness) + np.mean(edge + (1 + sharpness) * np.logaddexp(0, -edge))
        if length < least:
            least = length
            spread = int(np.clip(np.floor(np.log2(scale) * UNIT / QUARTER), 0, (1 << SPREAD_BITS) - 1))
            limit = (1 << SHIFT_BITS - 1) - 1
            shift = int(np.clip(np.round(mode), -limit, limit))
            best = replace(way, kind=PLAIN, spread=spread, skew=skew, shift=shift)
    return best


def _own_weights(deviations: Numbers, away: Numbers) -> Numbers:
    """Weights (deviation,) over WEIGHT that guess pixels of this very pass best in the least-squares sense."""
    squares = deviations @ deviations.T
    damping = (1e-6 * np.trace(squares) + 1) / len(squares) * np.eye(len(squares))
    weights = np.linalg.solve(squares + damping, deviations @ away) * WEIGHT
    limit = 1 << WEIGHT_BITS - 1
    return np.asarray(np.clip(np.round(weights), -limit, limit - 1))


def _put(encoder: Encoder, number: int, bits: int) -> None:
    encoder.add_bits(np.array([number], np.uint32), bits)


def _number(decoder: Decoder, bits: int) -> int:
    return int(decoder.take_bits(np.array([bits], np.uint8))[0])
