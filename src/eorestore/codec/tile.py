"""One tile from stored values to bytes and back: gaps, escapes and a coder's payload; knows no file and no neighbour.

    kind of gaps | escapes? (one byte) | gaps | escapes | payload of the coder

A tile without a valid pixel has no payload.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.decibel import Observed, fill_gaps, observe_decibel, observe_raw, raw_from_decibel
from eorestore.codec.escapes import clip_to_windows, pack_escapes, put_back
from eorestore.codec.fields import Fields, damaged, put_bytes
from eorestore.codec.gaps import NONE_VALID, pack_gaps, unpack_gaps
from eorestore.codec.header import Header
from eorestore.codec.modes import Mode, mode_of, unpack_parameters
from eorestore.codec.tile_coder import TileCoder, coder_entry, load_coder
from eorestore.errors import CodecError, UnitError
from eorestore.raster.encoding import Encoding

_HAS_ESCAPES = 4
_SLACK = 1e-5  # dB by which float32 may exceed a bound


@dataclass(frozen=True)
class Score:
    """What coding did to valid values; sums over tiles add up.

    squares: of errors in dB, both sides clipped to the windows. largest: error in dB without clipping.
    power, power_decoded: sums of linear intensity.
    """

    count: int = 0
    squares: float = 0.0
    largest: float = 0.0
    power: float = 0.0
    power_decoded: float = 0.0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.count + other.count,
            self.squares + other.squares,
            max(self.largest, other.largest),
            self.power + other.power,
            self.power_decoded + other.power_decoded,
        )

    @property
    def rmse(self) -> float:
        """Root mean square error in dB."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    @property
    def psnr(self) -> float:
        """PSNR30 = 20 log10(30 / RMSE) in dB; infinite without error."""
        return 20 * math.log10(30 / self.rmse) if self.rmse > 0 else math.inf

    @property
    def bias(self) -> float:
        """10 log10 of mean decoded intensity over mean intensity, in dB."""
        return 10 * math.log10(self.power_decoded / self.power) if self.power > 0 and self.power_decoded > 0 else 0.0


class TilePipe:
    """Codes and decodes the tiles of scenes with one header. Raises CodecError for what it does not know.

    decoding: the header comes from a file, so that its model must be the installed one.
    """

    def __init__(self, header: Header, *, decoding: bool) -> None:
        self.header, self.mode = header, mode_of(header.mode)
        self.step, self.windows = unpack_parameters(header.parameters, header.bands)
        self.integers = coder_entry(header.coder).integers
        stamp = header.stamp if decoding else None
        self.coder: TileCoder = load_coder(header.coder, step=self.step, windows=self.windows, stamp=stamp)
        self.unit = header.bands.bands[0].unit
        if self.step == 0 and not (self.integers and header.encoding.is_integer):
            raise CodecError("the file has no step for decibel", fix="install a newer eorestore")
        if self.step and len({band.unit for band in header.bands}) > 1:
            raise UnitError("the bands have several units", fix="compress them to files of their own")

    @property
    def dtype(self) -> str:
        """Type of decoded values: the input's own for integers as they are, else float32."""
        return self.header.encoding.dtype if self.step == 0 else "float32"

    def observe(self, raw: NDArray[Any]) -> Observed:
        """Stored values (band, y, x) as integers, or as decibel."""
        if self.step == 0:
            return observe_raw(raw, self.header.encoding)
        return observe_decibel(raw, self.header.encoding, self.unit)

    def encode(self, raw: NDArray[Any]) -> bytes:
        """Stored values (band, y, x) as bytes."""
        return self.pack(self.observe(raw))

    def pack(self, observed: Observed) -> bytes:
        """Observed values as bytes."""
        kind, gaps = pack_gaps(observed.valid, observed.marks, observed.labels)
        if kind == NONE_VALID:
            return bytes([kind]) + gaps
        values, escapes = observed.values, b""
        if self.step and self.integers:
            values = np.rint(values / self.step).astype(np.int32)
        elif self.step:
            if self.mode is not Mode.QUICKLOOK:
                escapes = pack_escapes(values, observed.valid, self.windows, step=self.step)
            clipped = clip_to_windows(values, self.windows)
            values = np.where(observed.valid, clipped, 0).astype(np.float32)
        payload = self.coder.encode(values, observed.valid)
        front = bytes([kind | bool(escapes) * _HAS_ESCAPES]) + gaps
        return front + (put_bytes(escapes) if escapes else b"") + payload

    def decode(self, tile: bytes, size: tuple[int, int]) -> NDArray[Any]:
        """Stored values (band, y, x) of a tile of (height, width). Raises CodecError."""
        return self.stored(self.unpack(tile, size))

    def stored(self, observed: Observed) -> NDArray[Any]:
        """What `unpack` gave as stored values (band, y, x). Raises CodecError."""
        if self.step:
            return raw_from_decibel(observed, self.header.encoding, self.unit)
        limits = np.iinfo(self.dtype)
        if observed.values.min() < limits.min or observed.values.max() > limits.max:
            raise damaged(f"a value does not fit {self.dtype}")
        raw = observed.values.astype(self.dtype)
        fill_gaps(raw, observed, self.header.encoding)
        return raw

    def unpack(self, tile: bytes, size: tuple[int, int]) -> Observed:
        """What `pack` was given, up to the errors of the mode."""
        fields = Fields(tile)
        first = fields.byte()
        if first >= 2 * _HAS_ESCAPES:
            raise CodecError("a tile uses a feature that this eorestore does not know", fix="install a newer eorestore")
        shape = (len(self.header.bands), *size)
        valid, marks, labels = unpack_gaps(first % _HAS_ESCAPES, fields, shape)
        if first % _HAS_ESCAPES == NONE_VALID:
            fields.finish()
            return Observed(np.zeros(shape, np.float64 if self.step else np.int32), valid, marks, labels)
        escapes = fields.bytes() if first & _HAS_ESCAPES else b""
        values = self.coder.decode(fields.rest(), valid)
        if values.shape != shape:
            raise damaged(f"a tile holds {values.shape} values instead of {shape}")
        if self.step and self.integers:
            values = values * self.step
        elif self.step:
            if not np.isfinite(values).all():
                raise damaged("a tile holds values that are not finite")
            values = clip_to_windows(values.astype(np.float64), self.windows)
            if escapes:
                put_back(escapes, values, self.windows)
        return Observed(np.where(valid, values, 0), valid, marks, labels)

    def verify(self, observed: Observed, tile: bytes) -> Score:
        """Decode a coded tile and measure it. Raises CodecError where the mode's promise is broken."""
        raw = self.decode(tile, observed.valid.shape[1:])
        back = self.observe(raw) if self.step == 0 else observe_decibel(raw, _as_written(self.header), self.unit)
        if not np.array_equal(back.valid, observed.valid):
            raise _broken("valid pixels are not the same after decoding")
        valid, original, decoded = observed.valid, observed.values, back.values
        errors = np.abs(decoded - original)[valid]
        count, largest = int(valid.sum()), float(errors.max(initial=0))
        if self.step == 0:
            if largest:
                raise _broken("integers are not the same after decoding")
            return Score(count)
        if self.integers and largest > self.step / 2 + _SLACK:
            raise _broken(f"an error of {largest:.6f} dB exceeds {self.step / 2:g} dB")
        clipped = clip_to_windows(decoded, self.windows) - clip_to_windows(original, self.windows)
        squares = float(np.square(clipped[valid]).sum())
        powers = [float((10.0 ** (values[valid] / 10)).sum()) for values in (original, decoded)]
        return Score(count, squares, largest, *powers)


def _as_written(header: Header) -> Encoding:
    return replace(header.encoding, dtype="float32", scale=1.0, offset=0.0)


def _broken(what: str) -> CodecError:
    return CodecError(f"the check after coding failed: {what}", fix="report this with the scene; nothing was written")
