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
from eorestore.codec.pass_choice import best_set, choose_way, predicted, read_way, write_way
from eorestore.codec.pixel_predictor import FINE, Cell, Prediction, Surroundings
from eorestore.codec.plane_walk import Plan, coarsest_positions, walk
from eorestore.codec.predictive_weights import SETS, Constants, constants
from eorestore.codec.residuals import LOWEST, QUARTER, Expectation, expect, read, write
from eorestore.codec.tables import Tables
from eorestore.errors import CodecError

# What a band's head announces: a map of the numbers in use, copies of its own, the copies of the band before; or that
# all its pixels are one number, and nothing else.
GAPS, COPIES, SAME_COPIES, CONSTANT = 1, 2, 4, 8
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

    def predict(self, positions: NDArray[np.intp], seen: Surroundings, cell: Cell) -> Prediction:
        coded = self.free[positions]
        away = self.flat[positions] - seen.nearest
        if self.adaptive:
            way, prediction = choose_way(away, seen, coded, cell=cell, tables=self.tables)
        else:
            way = best_set(away, seen, cell)
            prediction = predicted(way, seen, cell)
        write_way(self.encoder, way, SETS)
        return prediction

    def code(self, positions: NDArray[np.intp], expected: Expectation) -> NDArray[np.int64]:
        values = self.flat[positions]
        write(self.encoder, values, expected)
        return values


@dataclass(frozen=True)
class _Reader:
    """The side that takes the pixels from a stream."""

    decoder: Decoder

    def predict(self, positions: NDArray[np.intp], seen: Surroundings, cell: Cell) -> Prediction:  # noqa: ARG002
        return predicted(read_way(self.decoder, SETS, len(seen.deviations)), seen, cell)

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

    adaptive: each pass is predicted in the way that is cheapest, not only by the shipped constants as they are.
    """
    least, most = int(plane[valid].min()), int(plane[valid].max())
    if least == most:
        return bytes([CONSTANT]) + put_varint(least - LOWEST), CodedPlane(np.full_like(plane, least), valid, None)
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
    if flags == CONSTANT:
        plane = np.full(valid.shape, front.varint(below=WRAP) + LOWEST, np.int64)
        return plane, CodedPlane(plane.astype(np.int32), valid, None)
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
