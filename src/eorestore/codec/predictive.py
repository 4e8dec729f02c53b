"""Lossless coder of tiles of whole numbers by interlaced prediction; knows no unit, no file and no other tile.

Each band of a tile: the pixels of a coarse grid by their differences, then the rest in passes (`plane_walk`). A band
after the first is predicted from the one before it as well. Two things are looked for first and used where they make
the tile smaller: pixels that a resampling by nearest neighbour has doubled (`duplicates`), and numbers that never
occur (`level_map`). The predictor's constants and the tables ship with the package, made by
benchmarks/fit_predictive_coder.py; what they are is part of the format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.coder import Decoder, Encoder
from eorestore.codec.duplicates import copies_of, find_lattice, read_lattice
from eorestore.codec.fields import Fields, damaged, put_bytes, put_varint
from eorestore.codec.level_map import find_levels, read_levels
from eorestore.codec.pixel_predictor import FINE, UNIT, WEIGHT, Cell, Numbers, Prediction, Surroundings
from eorestore.codec.plane_walk import Plan, coarsest_positions, walk
from eorestore.codec.predictive_weights import SETS, Constants, constants
from eorestore.codec.residuals import LOWEST, QUARTER, Expectation, expect, price, read, write
from eorestore.codec.tables import Tables
from eorestore.errors import CodecError

# What a band's head announces: a map of the numbers in use, copies of its own, the copies of the band before.
GAPS, COPIES, SAME_COPIES = 1, 2, 4
SET_BITS = SETS.bit_length()
WEIGHT_BITS = 16
# The spread of a pass is up to so many quarters of an octave beside the predicted one.
WIDEST = 16
WIDER_BITS = 5
SPREADS = 160
WRAP = 1 << 32


class PredictiveCoder:
    """`TileCoder` of int32 (band, y, x): exact where valid, 0 elsewhere; what is not valid costs nothing."""

    def __init__(self) -> None:
        self._constants = constants()

    @property
    def stamp(self) -> bytes:
        """What names the constants."""
        return self._constants.stamp

    def encode(self, values: NDArray[np.int32], valid: NDArray[np.bool_]) -> bytes:
        """The tile as bytes. Raises CodecError: not int32 of three axes, or a mask of another shape."""
        if values.dtype != np.int32 or values.ndim != 3 or values.shape != valid.shape:
            raise CodecError(
                f"a tile is {values.dtype} {values.shape} with a mask {valid.shape}",
                fix="give int32 (band, y, x) and a bool mask of that shape",
            )
        if not valid.any():
            return b""
        encoder = Encoder(self._constants.tables)
        front = b""
        before: CodedPlane | None = None
        for plane, mask in zip(values, valid, strict=True):
            if mask.any():
                head, before = encode_plane(plane, mask, before=before, encoder=encoder, shipped=self._constants)
                front += head
        return put_bytes(front) + encoder.finish()

    def decode(self, payload: bytes, valid: NDArray[np.bool_]) -> NDArray[np.int32]:
        """The tile, 0 where not valid. Raises CodecError for bytes that cannot be a tile with this mask."""
        values = np.zeros(valid.shape, np.int32)
        fields = Fields(payload)
        if not valid.any():
            fields.finish()
            return values
        front = Fields(fields.bytes())
        decoder = Decoder(fields.rest(), self._constants.tables)
        before: CodedPlane | None = None
        for plane, mask in zip(values, valid, strict=True):
            if mask.any():
                decoded, before = decode_plane(front, mask, before=before, decoder=decoder, shipped=self._constants)
                plane[mask] = decoded[mask]
        front.finish()
        decoder.finish()
        return values


@dataclass(frozen=True)
class CodedPlane:
    """A band that is done: its numbers as they were coded, everywhere, its mask, and the sources of its copies."""

    plane: NDArray[np.int32]
    valid: NDArray[np.bool_]
    source: NDArray[np.intp] | None


@dataclass(frozen=True)
class _Writer:
    """The side that knows the pixels, (y * x,)."""

    encoder: Encoder
    flat: NDArray[np.int64]
    free: NDArray[np.bool_]
    tables: Tables
    adaptive: bool

    def choose(self, positions: NDArray[np.intp], seen: Surroundings, cell: Cell) -> Numbers:
        chosen = self.free[positions]
        away = self.flat[positions[chosen]] - seen.nearest[chosen]
        deviations = seen.deviations[:, chosen]
        errors = np.abs(away - cell.guesses @ deviations / WEIGHT).sum(axis=1)
        best = int(errors.argmin())
        own = _own_weights(deviations, away) if self.adaptive and away.size > 16 * len(deviations) else None
        if own is not None:
            error = np.abs(away - own @ deviations / WEIGHT).sum()
            if away.size * np.log2((errors[best] + 1) / (error + 1)) > (WEIGHT_BITS + 1) * own.size:
                self.encoder.add_bits(np.array([SETS], np.uint32), SET_BITS)
                self.encoder.add_bits((own % (1 << WEIGHT_BITS)).astype(np.uint32), WEIGHT_BITS)
                return own
        self.encoder.add_bits(np.array([best], np.uint32), SET_BITS)
        return np.asarray(cell.guesses[best])

    def widen(self, positions: NDArray[np.intp], nearest: Numbers, prediction: Prediction) -> int:
        wider = self._wider(positions, nearest, prediction) if self.adaptive else 0
        self.encoder.add_bits(np.array([wider != 0], np.uint32), 1)
        if wider:
            self.encoder.add_bits(np.array([wider + WIDEST], np.uint32), WIDER_BITS)
        return wider

    def _wider(self, positions: NDArray[np.intp], nearest: Numbers, prediction: Prediction) -> int:
        chosen = self.free[positions]
        values, nearest = self.flat[positions[chosen]], nearest[chosen]
        some = Prediction(prediction.mean[chosen], prediction.spread[chosen], prediction.skew[chosen])
        away = np.abs((values - nearest) * FINE - some.mean) + FINE / 4
        ratio = float(np.median(np.log2(away) - some.spread / UNIT)) if values.size else 0.0
        wider = int(np.clip(round(4 * ratio), -WIDEST, WIDEST - 1))
        if abs(wider) < 2:
            return 0
        before, after = (price(values, expect(nearest, some, wider=by), self.tables) for by in (0, wider))
        return wider if after + WIDER_BITS < before else 0

    def code(self, positions: NDArray[np.intp], expected: Expectation) -> NDArray[np.int64]:
        values = self.flat[positions]
        write(self.encoder, values, expected)
        return values


@dataclass(frozen=True)
class _Reader:
    """The side that takes the pixels from a stream."""

    decoder: Decoder

    def choose(self, positions: NDArray[np.intp], seen: Surroundings, cell: Cell) -> Numbers:  # noqa: ARG002
        best = self._number(SET_BITS)
        if best < SETS:
            return np.asarray(cell.guesses[best])
        if best > SETS:
            raise damaged(f"a pass uses set {best} of {SETS}")
        bits = np.full(len(seen.deviations), WEIGHT_BITS, np.uint8)
        return self.decoder.take_bits(bits).astype(np.uint16).view(np.int16).astype(np.float64)

    def widen(self, positions: NDArray[np.intp], nearest: Numbers, prediction: Prediction) -> int:  # noqa: ARG002
        return self._number(WIDER_BITS) - WIDEST if self._number(1) else 0

    def _number(self, bits: int) -> int:
        return int(self.decoder.take_bits(np.array([bits], np.uint8))[0])

    def code(self, positions: NDArray[np.intp], expected: Expectation) -> NDArray[np.int64]:  # noqa: ARG002 - as _Writer
        return read(self.decoder, expected)


def encode_plane(
    plane: NDArray[np.int32],
    valid: NDArray[np.bool_],
    *,
    before: CodedPlane | None,
    encoder: Encoder,
    shipped: Constants,
    adaptive: bool = True,
) -> tuple[bytes, CodedPlane]:
    """(head, what the next band is predicted from); the symbols go to `encoder`.

    adaptive: a pass may carry weights of its own, and another spread than is predicted.
    """
    flags, parts = 0, b""
    source = None
    if before is not None and before.source is not None and _copied_alike(plane, valid, before):
        flags, source = SAME_COPIES, before.source
    elif (lattice := find_lattice(plane, valid)) is not None:
        flags, source, parts = COPIES, copies_of(lattice, valid), lattice.pack()
    plan = _plan(valid, source)
    numbers = plane.astype(np.int64)
    found = find_levels(plane[plan.free.reshape(valid.shape)])
    if found is not None:
        flags |= GAPS
        parts += found[1]
        numbers = np.searchsorted(found[0], numbers)
    flat = numbers.ravel()
    corners = coarsest_positions(valid.shape)
    starts = flat[corners[plan.free[corners]]]
    start = int(np.median(flat[plan.free]))
    steps = _wrapped(np.diff(starts, prepend=start))
    spread = _spread_of(steps)
    write(encoder, steps, _evenly(steps.size, spread))
    side = _Writer(encoder, flat, plan.free, shipped.tables, adaptive)
    walked = walk(plan, _filled(starts, plan, start), side=side, cells=shipped.cells, before=_plane_of(before))
    head = bytes([flags]) + parts + put_varint(start - LOWEST) + bytes([spread])
    return head, CodedPlane(walked.astype(np.int32), valid, source)


def decode_plane(
    front: Fields, valid: NDArray[np.bool_], *, before: CodedPlane | None, decoder: Decoder, shipped: Constants
) -> tuple[NDArray[np.int64], CodedPlane]:
    """(the plane, what the next band is predicted from)."""
    flags = front.byte()
    if flags > (GAPS | COPIES | SAME_COPIES) or (flags & COPIES and flags & SAME_COPIES):
        raise damaged(f"a band announces {flags}")
    source = None
    if flags & SAME_COPIES:
        if before is None or before.source is None or not np.array_equal(before.valid, valid):
            raise damaged("a band has the copies of a band that has none")
        source = before.source
    elif flags & COPIES:
        source = copies_of(read_lattice(front), valid)
    levels = read_levels(front) if flags & GAPS else None
    start = front.varint(below=WRAP) + LOWEST
    spread = front.byte()
    plan = _plan(valid, source)
    corners = coarsest_positions(valid.shape)
    steps = read(decoder, _evenly(int(plan.free[corners].sum()), spread))
    starts = _wrapped(start + np.cumsum(steps))
    side = _Reader(decoder)
    walked = walk(plan, _filled(starts, plan, start), side=side, cells=shipped.cells, before=_plane_of(before))
    coded = CodedPlane(walked.astype(np.int32), valid, source)
    if levels is None:
        return walked, coded
    wrong = valid & ((walked < 0) | (walked >= levels.size))
    if wrong.any():
        raise damaged("a number is beyond the map of levels")
    return levels[np.clip(walked, 0, levels.size - 1)], coded


def _copied_alike(plane: NDArray[np.int32], valid: NDArray[np.bool_], before: CodedPlane) -> bool:
    """Whether the copies of the band before are copies in this one, too."""
    if before.source is None or not np.array_equal(before.valid, valid):
        return False
    return bool(np.array_equal(plane.ravel()[before.source], plane.ravel()))


def _plan(valid: NDArray[np.bool_], source: NDArray[np.intp] | None) -> Plan:
    flat = valid.ravel()
    free = flat if source is None else flat & (source == np.arange(flat.size))
    return Plan((valid.shape[0], valid.shape[1]), flat, free, source)


def _plane_of(before: CodedPlane | None) -> NDArray[np.int32] | None:
    return None if before is None else before.plane


def _own_weights(deviations: Numbers, away: Numbers) -> Numbers:
    """Weights (deviation,) over WEIGHT that guess pixels of this very pass best in the least-squares sense."""
    squares = deviations @ deviations.T
    damping = (1e-6 * np.trace(squares) + 1) / len(squares) * np.eye(len(squares))
    weights = np.linalg.solve(squares + damping, deviations @ away) * WEIGHT
    limit = 1 << WEIGHT_BITS - 1
    return np.clip(np.round(weights), -limit, limit - 1)


def _evenly(count: int, spread: int) -> Expectation:
    """What is expected of `count` differences between neighbours of the coarsest level."""
    zeros = np.zeros(count)
    return expect(zeros, Prediction(zeros, zeros + spread * QUARTER, zeros))


def _spread_of(steps: NDArray[np.int64]) -> int:
    """The class of scale that suits differences: the mean absolute value of a logistic variable is 1.39 scales."""
    mean = float(np.abs(steps).mean()) if steps.size else 0.0
    return int(np.clip(np.floor(4 * np.log2(mean / 1.39 * FINE + 1)), 0, SPREADS))


def _filled(starts: NDArray[np.int64], plan: Plan, start: int) -> NDArray[np.int64]:
    """Values of the coarsest level: those that are coded, and the one before where none is."""
    coded = plan.free[coarsest_positions(plan.shape)]
    return np.concatenate([[start], starts])[np.cumsum(coded)].astype(np.int64)


def _wrapped(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Modulo 2^32 into the range of int32: a difference of two such numbers keeps to 32 bits."""
    return (numbers - LOWEST) % WRAP + LOWEST
