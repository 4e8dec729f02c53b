"""One tile of decibel planes as few bytes: block cosines, quantised by rate and distortion, coded in learned contexts.

Drawing of the encoder; the decoder goes back up:

    (band, y, x) dB -> block_transform.forward -> coefficients -> integers -> codec.coder
                                            |  rate and distortion: the cheapest chains (dependent_quantiser)
                                            contexts -> table of each coefficient

Radiometry: what is lost in quantising is lost from the speckle, and a smoother plane of decibels has a lower mean
intensity. The tables know the squared error that each symbol stands for, hence the variance s^2 of the error around a
pixel, and log-normal errors lower the mean by ln(10) / 20 s^2 dB; that much is added, smoothly over the tile. What then
still separates the mean intensity of the tile from the true one is sent in a byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from eorestore.codec import block_transform
from eorestore.codec.block_transform import BlockGrid
from eorestore.codec.coder import Decoder, Encoder, from_tokens, mantissa_bits, to_tokens
from eorestore.codec.contexts import BandContext
from eorestore.codec.dependent_quantiser import UNIT, Chains, magnitudes, seconds
from eorestore.codec.fidelity_levels import (
    cheapest,
    levels_shown,
    predicted_away,
    restored,
    squared_errors,
    steps_of,
)
from eorestore.codec.fidelity_model import FidelityModel, read_model
from eorestore.codec.radiometry import LEVEL, between_centres, filled, mean_shift
from eorestore.codec.tables import Tables
from eorestore.errors import CodecError

_SMALLEST, _PER_OCTAVE, _LARGEST_INDEX = 0.1, 32, 255  # of steps, as the contexts know them
_PRICE = 0.12  # squared steps that a bit is worth, at the best balance of rate and distortion
_ROUNDS = 2
_START = 0.3  # levels are rounded down to begin with, but for this much
_SHIFT_UNIT = 0.01  # decibel, of the byte that repairs a tile's mean
_MOST_SHIFT = 2.5  # decibel; speckle of one look that is lost altogether lowers the mean by that much
_LARGESTLEVEL = 1 << 24
_SLOPE = math.log(10) / 20
_GROUP_ENDS = np.array([2, 5, 9, 16, 28, 255])  # last ring of each group that has a gain of its own
_GROUPS = len(_GROUP_ENDS)
_GAIN_UNIT = 64
_FIX = "the file is damaged: take another copy of it"


def step_index(step: float) -> int:
    """What the contexts know of a step in decibel: 32 an octave from 0.1 dB on, at most 255.

    Steps of four digits, as files hold them, are farther from the middle between two than any rounding.
    """
    return min(max(round(_PER_OCTAVE * math.log2(step / _SMALLEST)), 0), _LARGEST_INDEX)


@dataclass(frozen=True, eq=False)
class FidelityCoder:
    """The tile coder `fidelity`: (band, y, x) float32 decibel and what of it is valid, to bytes and back.

    step: of quantisation, in decibel. price: squared steps that a bit is worth to the encoder.
    """

    step: float
    model: FidelityModel = field(default_factory=read_model)
    price: float = _PRICE

    @property
    def stamp(self) -> bytes:
        """Four bytes that name the model."""
        return self.model.stamp

    def encode(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> bytes:
        """The tile's bytes. Bands are coded one after the other, each knowing those before."""
        grid = BlockGrid.over(*values.shape[1:])
        encoder = Encoder(self.model.tables)
        heads: list[bytes] = []
        before: CodedBand | None = None
        for plane, seen in zip(values, valid, strict=True):
            full = filled(plane, seen)
            coded = self.coded(full, grid, before, encoder)
            shift = mean_shift(full, _shown(self.model, coded, self.step), seen)
            heads.append(replace(coded.head, shift=int(np.clip(round(shift / _SHIFT_UNIT), -127, 127))).written())
            before = coded
        return b"".join(heads) + encoder.finish()

    def decode(self, payload: bytes, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Undoes `encode`; 0 where nothing is valid. Raises CodecError for bytes that no tile of this shape has."""
        grid = BlockGrid.over(*valid.shape[1:])
        heads, start = _read_heads(payload, grid, bands=len(valid), tables=len(self.model.tables))
        decoder = Decoder(payload[start:], self.model.tables)
        planes = []
        before: CodedBand | None = None
        for head, seen in zip(heads, valid, strict=True):
            before = _decoded(self, decoder, grid, head, before)
            plane = _shown(self.model, before, self.step) + np.float32(head.shift * _SHIFT_UNIT)
            planes.append(np.where(seen, plane, np.float32(0)))
        decoder.finish()
        return np.stack(planes)

    def coded(
        self, plane: NDArray[np.float32], grid: BlockGrid, before: CodedBand | None, encoder: Encoder | None
    ) -> CodedBand:
        """One band (y, x) without holes as levels, put into `encoder` if there is one."""
        coefficients = block_transform.forward(plane - np.float32(LEVEL), grid)
        gains = () if before is None else best_gains(coefficients, before.coefficients)
        predicted = _predicted(gains, before, grid)
        left = (coefficients - predicted) / steps_of(grid, self.step)
        levels = self._quantised(left, self.context(grid, before))
        head, context, numbers = _code(self.model, encoder, self.context(grid, before), levels)
        shown = predicted + levels_shown(self.model, levels, numbers, steps_of(grid, self.step))
        return CodedBand(replace(head, gains=gains), context, levels, numbers, shown)

    def context(self, grid: BlockGrid, before: CodedBand | None) -> BandContext:
        """A context that knows nothing yet but the band before."""
        known = None if before is None else before.context
        return BandContext(grid, step_index=step_index(self.step), before=known)

    def _quantised(self, scaled: NDArray[np.float32], context: BandContext) -> NDArray[np.int64]:
        """Levels in the grid's shape, of the cheapest chains; the tables that price them are those of a round before.

        scaled: coefficients in steps.
        """
        constants = np.rint(scaled[0, 0]).astype(np.int64)
        size = (np.abs(scaled) / UNIT).astype(np.float32)
        negative = scaled < 0
        levels = np.floor(size / 2 + _START).astype(np.int64)
        rings = _last_ring(np.rint(size / 2).astype(np.int64))
        second = np.zeros(levels.shape, np.uint8)
        for _ in range(_ROUNDS):
            fresh = BandContext(context.grid, step_index=step_index(self.step), before=context.before)
            levels[0, 0] = constants
            numbers = _numbers(self.model, fresh, levels, second, rings=rings)
            levels = cheapest(self.model, size, numbers, price=self.price)
            levels[~context.grid.present] = 0
            second = seconds(levels)
        levels = np.where(negative, -levels, levels)
        levels[0, 0] = constants
        return levels


@dataclass(frozen=True)
class BandHead:
    """What a band's payload begins with.

    rings: later ones are nought and not coded. constants: table of theirs. shift: of the mean, in 0.01 dB.
    gains: of the prediction from the band before, in 1/64, one for each group of rings; none for the first band.
    """

    rings: int
    constants: int
    shift: int = 0
    gains: tuple[int, ...] = ()

    def written(self) -> bytes:
        """The head as bytes."""
        return bytes([self.rings, self.constants, self.shift & 255, *(gain & 255 for gain in self.gains)])


def _read_heads(payload: bytes, grid: BlockGrid, *, bands: int, tables: int) -> tuple[list[BandHead], int]:
    """Heads of all bands, and where the coded symbols begin."""
    size = 3 * bands + _GROUPS * (bands - 1)
    if len(payload) < size:
        raise CodecError(f"a tile of {bands} bands has {len(payload)} bytes", fix=_FIX)
    heads, start = [], 0
    for band in range(bands):
        count = _GROUPS if band else 0
        rings, constants = payload[start : start + 2]
        shift, *gains = np.frombuffer(payload, np.int8, 1 + count, start + 2).tolist()
        if rings > sum(grid.shape[:2]) - 2 or constants >= tables:
            raise CodecError(f"a tile announces {rings} rings of frequencies and table {constants}", fix=_FIX)
        heads.append(BandHead(rings, constants, shift, tuple(gains)))
        start += 3 + count
    return heads, start


@dataclass(frozen=True, eq=False)
class CodedBand:
    """A band between bytes and pixels.

    levels: signed, in the grid's shape. numbers: the table of each. coefficients: what both stand for, in decibel.
    """

    head: BandHead
    context: BandContext
    levels: NDArray[np.int64]
    numbers: NDArray[np.uint16]
    coefficients: NDArray[np.float32]


def best_gains(coefficients: NDArray[np.float32], before: NDArray[np.float32]) -> tuple[int, ...]:
    """Least-squares factors of the band before by groups of rings, in 1/64."""
    groups = _groups(coefficients.shape)
    gains = []
    for group in range(_GROUPS):
        ours, theirs = coefficients[groups == group], before[groups == group]
        power = float((theirs.astype(np.float64) ** 2).sum())
        gain = float((ours.astype(np.float64) * theirs).sum()) / power if power else 0.0
        gains.append(int(np.clip(round(gain * _GAIN_UNIT), -127, 127)))
    return tuple(gains)


def _predicted(gains: tuple[int, ...], before: CodedBand | None, grid: BlockGrid) -> NDArray[np.float32]:
    if before is None:
        return np.zeros(grid.shape, np.float32)
    factors = np.array([*gains, 0], np.float32) / np.float32(_GAIN_UNIT)
    return factors[_groups(grid.shape)][:, :, None, None] * before.coefficients


def _groups(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """The group of each frequency, (vertical, horizontal); the last number for the constants, which have none."""
    rings = np.add.outer(np.arange(shape[0]), np.arange(shape[1]))
    return np.where(rings > 0, np.searchsorted(_GROUP_ENDS, rings), _GROUPS)


def _last_ring(levels: NDArray[np.int64]) -> int:
    """The last ring of frequencies in which a level is not nought."""
    frequency = np.add.outer(*(np.arange(count) for count in levels.shape[:2]))
    return int((frequency * np.any(levels, axis=(2, 3))).max())


def _numbers(
    model: FidelityModel,
    context: BandContext,
    levels: NDArray[np.int64],
    second: NDArray[np.uint8],
    *,
    rings: int,
) -> NDArray[np.uint16]:
    """The first quantiser's table of every coefficient up to a ring, given those before it; 0 for the others."""
    meant = context.padded(magnitudes(np.abs(levels), second))
    numbers = np.zeros(meant.size, np.uint16)
    context.tell_constants(np.abs(predicted_away(levels[0, 0])))
    for step in context.steps():
        if step.ring <= rings:
            numbers[step.places] = model.network(context.features(step))
            context.tell(step, meant[step.places])
    return context.unpadded(numbers)


def _code(
    model: FidelityModel, encoder: Encoder | None, context: BandContext, levels: NDArray[np.int64]
) -> tuple[BandHead, BandContext, NDArray[np.uint16]]:
    left = predicted_away(levels[0, 0])
    table = _best_table(model.tables, left)
    rings = _last_ring(levels)
    second = seconds(levels)
    second[np.add.outer(*(np.arange(count) for count in levels.shape[:2])) > rings] = 0  # which nobody codes
    numbers = _numbers(model, context, levels, second, rings=rings) + second * np.uint16(model.network.tables)
    if encoder is not None:
        _put(encoder, left.reshape(-1), np.full(left.size, table, np.uint16))
        flat, tables = context.padded(levels), context.padded(numbers)
        for step in context.steps():
            if step.ring <= rings:
                _put(encoder, flat[step.places], tables[step.places].astype(np.uint16))
    return BandHead(rings, table), context, numbers


def _decoded(
    coder: FidelityCoder, decoder: Decoder, grid: BlockGrid, head: BandHead, before: CodedBand | None
) -> CodedBand:
    network = coder.model.network
    context, chains = coder.context(grid, before), Chains(grid)
    left = _taken(decoder, np.full(grid.shape[2] * grid.shape[3], head.constants, np.uint16)).reshape(grid.shape[2:])
    context.tell_constants(np.abs(left))
    flat = context.padded(np.zeros(grid.shape, np.int64))
    numbers = np.zeros(flat.size, np.uint16)
    for step in context.steps():
        if step.ring <= head.rings:
            second = chains.second(step)
            numbers[step.places] = network(context.features(step)) + second * np.uint16(network.tables)
            flat[step.places] = _taken(decoder, numbers[step.places])
            chains.tell(step, flat[step.places])
            context.tell(step, magnitudes(np.abs(flat[step.places]), second))
    levels, tables = context.unpadded(flat), context.unpadded(numbers)
    levels[0, 0] = restored(left)
    shown = _predicted(head.gains, before, grid) + levels_shown(coder.model, levels, tables, steps_of(grid, coder.step))
    return CodedBand(head, context, levels, tables, shown)


def _put(encoder: Encoder, levels: NDArray[np.int64], numbers: NDArray[np.uint16]) -> None:
    tokens, mantissa, bits = to_tokens(np.abs(levels).astype(np.uint32))
    encoder.add(tokens, numbers)
    encoder.add_bits(mantissa, bits)
    signs = levels[levels != 0] < 0
    encoder.add_bits(signs.astype(np.uint32), 1)


def _taken(decoder: Decoder, numbers: NDArray[np.uint16]) -> NDArray[np.int64]:
    tokens = decoder.take(numbers)
    levels = from_tokens(tokens, decoder.take_bits(mantissa_bits(tokens))).astype(np.int64)
    if levels.size and levels.max() > _LARGESTLEVEL:
        raise CodecError(f"a tile holds a level of {levels.max()}", fix=_FIX)
    present = levels > 0
    negative = decoder.take_bits(np.ones(int(present.sum()), np.uint8)).astype(bool)
    levels[present] = np.where(negative, -levels[present], levels[present])
    return levels


def _best_table(tables: Tables, levels: NDArray[np.int64]) -> int:
    tokens = to_tokens(np.abs(levels).astype(np.uint32))[0].reshape(-1)
    return int(tables.bits[:, tokens].sum(axis=1).argmin())


def _shown(model: FidelityModel, band: CodedBand, step: float) -> NDArray[np.float32]:
    """The decibel plane (y, x) of a band, its intensity repaired as far as the tables know."""
    grid = band.context.grid
    errors = squared_errors(model, band.levels, band.numbers, steps_of(grid, step))
    variance = np.where(grid.present, errors, np.float32(0)).sum(axis=(0, 1)) / grid.areas
    lost = np.minimum(_SLOPE * variance, _MOST_SHIFT).astype(np.float32)
    return block_transform.inverse(band.coefficients, grid) + np.float32(LEVEL) + between_centres(lost, grid)
