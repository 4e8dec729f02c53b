"""One tile of decibel planes as few bytes: block cosines, quantised by rate and distortion, coded in learned contexts.

Drawing of the encoder; the decoder goes back up:

    (band, y, x) dB -> blocks.forward -> coefficients -> integers -> codec.coder
                                            |  rate and distortion: each may go one step down, or to nought
                                            contexts -> table of each coefficient

Radiometry: what is lost in quantising is lost from the speckle, and a smoother plane of decibels has a lower mean
intensity. The tables know the squared error that each symbol stands for, hence the variance s^2 of the error around a
pixel, and log-normal errors lower the mean by ln(10) / 20 s^2 dB; that much is added, smoothly over the tile. What then
still separates the mean intensity of the tile from the true one is sent in a byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from eorestore.codec import blocks
from eorestore.codec.blocks import BlockGrid
from eorestore.codec.coder import DIRECT, Decoder, Encoder, from_tokens, mantissa_bits, to_tokens
from eorestore.codec.contexts import BandContext, IntegerNetwork
from eorestore.codec.tables import Tables
from eorestore.errors import CodecError

SMALLEST_STEP = 0.1  # decibel
STEPS_PER_OCTAVE = 32
LARGEST_INDEX = 255
LEVEL = -16.0  # decibel; constants are coded relative to it
_PRICE = 0.12  # squared steps that a bit is worth, at the best balance of rate and distortion
_ROUNDS = 2
_START = 0.3  # levels are rounded down to begin with, but for this much
_CONSTANT_ERROR = 1 / 12  # squared steps, of constants, which are rounded to the nearest
_SHIFT_UNIT = 0.01  # decibel, of the byte that repairs a tile's mean
_MOST_SHIFT = 0.6  # decibel; speckle of 4.4 looks that is lost altogether lowers the mean by 0.51
_LARGESTLEVEL = 1 << 24
_SEEN = 0.02  # share of valid pixels around one that is filled from them
_SLOPE = math.log(10) / 20
_FIX = "the file is damaged: take another copy of it"


@dataclass(frozen=True, eq=False)
class FidelityModel:
    """What was learned: contexts to tables, and what each symbol of a table stands for.

    offsets: (table, DIRECT + 1) mean distance of the true coefficient from its level, in steps, away from nought.
    errors: (table, DIRECT + 1) mean squared error after it, in squared steps; the last column is for larger levels.
    """

    network: IntegerNetwork
    tables: Tables
    offsets: NDArray[np.float32]
    errors: NDArray[np.float32]


def step_of(index: int) -> float:
    """The quantisation step in decibel of a step's index, 0 to 255: 0.1 dB to 25 dB."""
    return SMALLEST_STEP * 2.0 ** (index / STEPS_PER_OCTAVE)


@dataclass(frozen=True, eq=False)
class FidelityCoder:
    """The tile coder `fidelity`: (band, y, x) float32 decibel and what of it is valid, to bytes and back.

    index: of the quantisation step. price: squared steps that a bit is worth to the encoder.
    """

    model: FidelityModel
    index: int
    price: float = _PRICE

    def encode(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> bytes:
        """The tile's bytes. Bands are coded one after the other, each knowing those before."""
        grid = BlockGrid.over(*values.shape[1:])
        encoder = Encoder(self.model.tables)
        heads, before = [], None
        for plane, seen in zip(values, valid, strict=True):
            context = self._context(grid, before)
            full = filled(plane, seen)
            levels = self.quantised(full, context)
            coded = _code(self.model, encoder, self._context(grid, before), levels)
            shift = mean_shift(full, _shown(self.model, coded, step_of(self.index)), seen)
            heads.append(replace(coded.head, shift=int(np.clip(round(shift / _SHIFT_UNIT), -127, 127))).written())
            before = coded.context
        return b"".join(heads) + encoder.finish()

    def decode(self, payload: bytes, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Undoes `encode`; 0 where nothing is valid. Raises CodecError for bytes that no tile of this shape has."""
        grid = BlockGrid.over(*valid.shape[1:])
        start = _BandHead.SIZE * len(valid)
        if len(payload) < start:
            raise CodecError(f"a tile of {len(valid)} bands has {len(payload)} bytes", fix=_FIX)
        decoder = Decoder(payload[start:], self.model.tables)
        planes, before = [], None
        for band, seen in enumerate(valid):
            head = _BandHead.read(payload[band * _BandHead.SIZE :], grid, tables=len(self.model.tables))
            coded = _decoded(self.model, decoder, self._context(grid, before), head)
            plane = _shown(self.model, coded, step_of(self.index)) + np.float32(head.shift * _SHIFT_UNIT)
            planes.append(np.where(seen, plane, np.float32(0)))
            before = coded.context
        decoder.finish()
        return np.stack(planes)

    def _context(self, grid: BlockGrid, before: BandContext | None) -> BandContext:
        return BandContext(grid, step_index=self.index, before=before)

    def quantised(self, plane: NDArray[np.float32], context: BandContext) -> NDArray[np.int64]:
        """Levels in the grid's shape: of the nearest one, the one below and nought, that of the least cost."""
        scaled = blocks.forward(plane - np.float32(LEVEL), context.grid) / np.float32(step_of(self.index))
        size = np.abs(scaled)
        nearest = np.rint(size).astype(np.int64)
        levels = np.floor(size + _START).astype(np.int64)
        levels[0, 0] = nearest[0, 0]
        negative = scaled < 0
        for _ in range(_ROUNDS):
            fresh = BandContext(context.grid, step_index=self.index, before=context.before)
            levels[0, 0] = nearest[0, 0]
            numbers = _numbers(self.model, fresh, np.where(negative, -levels, levels))
            levels = self._cheapest(size, nearest, numbers)
        levels[0, 0] = nearest[0, 0]
        return np.where(negative, -levels, levels)

    def _cheapest(
        self, size: NDArray[np.float32], nearest: NDArray[np.int64], numbers: NDArray[np.uint16]
    ) -> NDArray[np.int64]:
        best, least = np.zeros_like(nearest), np.full(size.shape, np.inf, np.float32)
        for level in (nearest, np.maximum(nearest - 1, 0), np.zeros_like(nearest)):
            tokens, _, mantissa = to_tokens(level.astype(np.uint32))
            bits = self.model.tables.bits[numbers, tokens] + mantissa + (level > 0)
            away = size - level - self.model.offsets[numbers, np.minimum(level, DIRECT)]
            cost = away**2 + np.float32(self.price) * bits
            best = np.where(cost < least, level, best)
            least = np.minimum(cost, least)
        return best


@dataclass(frozen=True)
class _BandHead:
    """rings: later ones are nought and not coded. constants: table of theirs. shift: of the mean, in 0.01 dB."""

    SIZE: ClassVar[int] = 3

    rings: int
    constants: int
    shift: int = 0

    def written(self) -> bytes:
        return bytes([self.rings, self.constants, self.shift & 255])

    @classmethod
    def read(cls, data: bytes, grid: BlockGrid, *, tables: int) -> _BandHead:
        rings, constants, shift = data[: cls.SIZE]
        if rings > sum(grid.shape[:2]) - 2 or constants >= tables:
            raise CodecError(f"a tile announces {rings} rings of frequencies and table {constants}", fix=_FIX)
        return cls(rings, constants, shift - 256 if shift > 127 else shift)


@dataclass(frozen=True, eq=False)
class _CodedBand:
    """A band between bytes and pixels. levels: signed, in the grid's shape. numbers: the table of each."""

    head: _BandHead
    context: BandContext
    levels: NDArray[np.int64]
    numbers: NDArray[np.uint16]


def _numbers(model: FidelityModel, context: BandContext, levels: NDArray[np.int64]) -> NDArray[np.uint16]:
    """The table of every coefficient, given those before it, in the grid's shape."""
    flat = context.padded(np.abs(levels))
    numbers = np.zeros(flat.size, np.uint16)
    context.tell_constants(np.abs(predicted_away(levels[0, 0])))
    for step in context.steps():
        numbers[step.places] = model.network(context.features(step))
        context.tell(step, flat[step.places])
    return context.unpadded(numbers)


def _code(model: FidelityModel, encoder: Encoder, context: BandContext, levels: NDArray[np.int64]) -> _CodedBand:
    left = predicted_away(levels[0, 0])
    table = _best_table(model.tables, left)
    _put(encoder, left.reshape(-1), np.full(left.size, table, np.uint16))
    context.tell_constants(np.abs(left))
    frequency = np.add.outer(*(np.arange(count) for count in levels.shape[:2]))
    rings = int((frequency * np.any(levels, axis=(2, 3))).max())
    flat = context.padded(levels)
    numbers = np.zeros(flat.size, np.uint16)
    for step in context.steps():
        if step.ring <= rings:
            symbols = flat[step.places]
            numbers[step.places] = model.network(context.features(step))
            _put(encoder, symbols, numbers[step.places])
            context.tell(step, np.abs(symbols))
    return _CodedBand(_BandHead(rings, table), context, levels, context.unpadded(numbers))


def _decoded(model: FidelityModel, decoder: Decoder, context: BandContext, head: _BandHead) -> _CodedBand:
    shape = context.grid.shape
    left = _taken(decoder, np.full(shape[2] * shape[3], head.constants, np.uint16)).reshape(shape[2:])
    context.tell_constants(np.abs(left))
    flat = context.padded(np.zeros(shape, np.int64))
    numbers = np.zeros(flat.size, np.uint16)
    for step in context.steps():
        if step.ring <= head.rings:
            numbers[step.places] = model.network(context.features(step))
            flat[step.places] = _taken(decoder, numbers[step.places])
            context.tell(step, np.abs(flat[step.places]))
    levels = context.unpadded(flat)
    levels[0, 0] = _constants(left)
    return _CodedBand(head, context, levels, context.unpadded(numbers))


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


def predicted_away(constants: NDArray[np.int64]) -> NDArray[np.int64]:
    """Constants (row, column) less the median of left, above, and left + above - corner (LOCO-I, Weinberger 2000)."""
    above, left, corner = np.zeros_like(constants), np.zeros_like(constants), np.zeros_like(constants)
    above[1:], left[:, 1:], corner[1:, 1:] = constants[:-1], constants[:, :-1], constants[:-1, :-1]
    predicted = np.clip(above + left - corner, np.minimum(above, left), np.maximum(above, left))
    predicted[0], predicted[:, 0] = left[0], above[:, 0]
    return constants - predicted


def _constants(left_over: NDArray[np.int64]) -> NDArray[np.int64]:
    """Undoes `predicted_away`."""
    rows = [[int(value) for value in row] for row in left_over]
    for y, row in enumerate(rows):
        for x in range(len(row)):
            above, left = (rows[y - 1][x] if y else 0), (row[x - 1] if x else 0)
            if y and x:
                corner = rows[y - 1][x - 1]
                row[x] += min(max(above + left - corner, min(above, left)), max(above, left))
            else:
                row[x] += above or left
    return np.array(rows, np.int64)


def _best_table(tables: Tables, levels: NDArray[np.int64]) -> int:
    tokens = to_tokens(np.abs(levels).astype(np.uint32))[0].reshape(-1)
    return int(tables.bits[:, tokens].sum(axis=1).argmin())


def _shown(model: FidelityModel, band: _CodedBand, step: float) -> NDArray[np.float32]:
    """The decibel plane (y, x) that levels stand for, its intensity repaired as far as the tables know."""
    size = np.abs(band.levels)
    column = np.minimum(size, DIRECT)
    offsets = np.where(size > 0, model.offsets[band.numbers, column], np.float32(0))
    errors = model.errors[band.numbers, column]
    offsets[0, 0], errors[0, 0] = 0, _CONSTANT_ERROR
    grid = band.context.grid
    plane = blocks.inverse((np.sign(band.levels) * (size + offsets)).astype(np.float32) * np.float32(step), grid)
    variance = np.where(grid.present, errors, np.float32(0)).sum(axis=(0, 1)) * step**2 / grid.areas
    lost = np.minimum(_SLOPE * variance, _MOST_SHIFT).astype(np.float32)
    return plane + np.float32(LEVEL) + _between_centres(lost, grid)


def _between_centres(values: NDArray[np.float32], grid: BlockGrid) -> NDArray[np.float32]:
    """Values of blocks (row, column) as a plane (y, x), linear between the blocks' centres."""
    places = []
    for sizes in (grid.heights, grid.widths):
        ends = np.cumsum(sizes)
        centres = ends - (np.array(sizes) + 1) / 2
        places.append(np.interp(np.arange(ends[-1]), centres, np.arange(len(sizes))))
    rows, columns = np.meshgrid(*places, indexing="ij", sparse=False)
    plane: NDArray[np.float32] = map_coordinates(values, [rows, columns], order=1, mode="nearest", output=np.float32)
    return plane


def mean_shift(plane: NDArray[np.float32], shown: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Decibel that `shown` must be raised by to have the mean intensity of `plane` over valid pixels."""
    if not valid.any():
        return 0.0
    true, now = (np.mean(10.0 ** (image[valid].astype(np.float64) / 10)) for image in (plane, shown))
    return float(10 * np.log10(true / now))


def filled(plane: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The plane (y, x) with smooth values where nothing is valid, which cost little; all `LEVEL` without any."""
    if valid.all():
        return plane.astype(np.float32)
    if not valid.any():
        return np.full(plane.shape, LEVEL, np.float32)
    known = np.where(valid, plane, 0).astype(np.float64)
    out = np.full(plane.shape, known.sum() / valid.sum())
    for width in (32.0, 8.0, 2.0):
        weight = gaussian_filter(valid.astype(np.float64), width)
        near = weight > _SEEN
        out[near] = gaussian_filter(known, width)[near] / weight[near]
    return np.where(valid, plane, out).astype(np.float32)
