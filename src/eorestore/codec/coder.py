"""Integers to bytes and back: symbols under integer tables and raw bits; knows no image and no probability model.

Payload: the number of bytes of raw bits (7 bits a byte, low ones first, high bit = more follow), the raw bits (first
one in the highest bit of the first byte), then the 32-bit words of a stream asymmetric numeral system, little-endian,
without the zero bytes at its end. That system is Duda's range variant (Duda, "Asymmetric numeral systems: entropy
coding combining speed of Huffman coding with compression rate of arithmetic coding", 2013) as constriction (Bamler,
2022) has it: 64-bit state, 32-bit words, probabilities over 2^24. `coder_reference` states it in a page of Python.
It is a stack: the encoder pushes what the decoder takes last first. Symbols of one `add` are sorted by table, since
one call per table is far faster than one per symbol; the decoder knows the tables' indices and undoes that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import constriction
import numpy as np
from numpy.typing import NDArray

from eorestore.codec.tables import PRECISION, Tables
from eorestore.errors import CodecError

STREAM_PRECISION = 24
WORD = 4
PIECE = 1 << 16
FIX_STREAM = "the file is damaged: take another copy of it"
FIX_CALL = "encode with the tables that the indices and symbols belong to"

# Values below DIRECT are tokens themselves; above, a token holds the exponent and the MANTISSA bits after the top one.
DIRECT_BITS = 4
DIRECT = 1 << DIRECT_BITS
MANTISSA = 2
TOKENS = DIRECT + ((32 - DIRECT_BITS) << MANTISSA)


class Encoder:
    """Collects symbols and raw bits in the order of decoding; `finish` makes the payload."""

    def __init__(self, tables: Tables) -> None:
        self._models = _models(tables)
        self._groups: list[tuple[NDArray[np.int32], NDArray[np.uint16]]] = []
        self._bits: list[NDArray[np.uint8]] = []

    def add(self, symbols: NDArray[np.int32], indices: NDArray[np.uint16]) -> None:
        """Symbols (n,) with one table index each (n,). Raises CodecError where a table has no such symbol."""
        if symbols.shape != indices.shape or symbols.ndim != 1:
            raise CodecError(f"symbols {symbols.shape} and indices {indices.shape} differ", fix=FIX_CALL)
        self._groups.append((symbols, indices))

    def add_bits(self, values: NDArray[np.uint32], bits: int | NDArray[np.uint8]) -> None:
        """The low `bits` (0 to 32, one number for all or one each) of `values` (n,), without any coding."""
        widths = np.broadcast_to(np.asarray(bits, dtype=np.uint8), values.shape)
        for piece in _pieces(values.size):
            repeated = np.repeat(values[piece].astype(np.uint32), widths[piece])
            self._bits.append((repeated >> _shifts(widths[piece]) & 1).astype(np.uint8))

    def finish(self) -> bytes:
        """The payload. Raises CodecError where a symbol cannot occur under its table."""
        stack = constriction.stream.stack.AnsCoder()
        for symbols, indices in reversed(self._groups):
            order, runs = _by_table(indices)
            ordered = symbols[order].astype(np.int32)
            for table, run in reversed(runs):
                model, occurring = self._models.row(table)
                some = ordered[run]
                self._models.check(table, some)
                stack.encode_reverse(
                    some if occurring is None else np.searchsorted(occurring, some).astype(np.int32), model
                )
        raw = np.packbits(np.concatenate(self._bits)).tobytes() if self._bits else b""
        words: NDArray[np.uint32] = stack.get_compressed()
        return _varint(len(raw)) + raw + words.astype("<u4").tobytes().rstrip(b"\0")


class Decoder:
    """Reads a payload of `Encoder` by the same tables, in the order of encoding.

    A damaged payload gives other symbols or a CodecError; memory and time are bounded by what is asked for.
    """

    def __init__(self, payload: bytes, tables: Tables) -> None:
        self._models = _models(tables)
        length, start = _read_varint(payload)
        if length > len(payload) - start:
            raise CodecError(f"a stream of {len(payload)} bytes announces {length} bytes of raw bits", fix=FIX_STREAM)
        self._raw = np.frombuffer(payload, np.uint8, length, start)
        self._position = 0
        words = payload[start + length :]
        if words.endswith(b"\0"):
            raise CodecError("a stream ends with a zero byte", fix=FIX_STREAM)
        padded = words + b"\0" * (-len(words) % WORD)
        self._stack = constriction.stream.stack.AnsCoder(np.frombuffer(padded, "<u4").astype(np.uint32))

    def take(self, indices: NDArray[np.uint16]) -> NDArray[np.int32]:
        """The next symbols (n,), one for each table index (n,)."""
        order, runs = _by_table(indices)
        symbols, sorted_ = np.empty((2, indices.size), np.int32)
        for table, run in runs:
            model, occurring = self._models.row(table)
            taken = self._stack.decode(model, run.stop - run.start)
            sorted_[run] = taken if occurring is None else occurring[taken]
        symbols[order] = sorted_
        return symbols

    def take_bits(self, bits: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """The next raw values (n,), `bits` (n,) of 0 to 32 each. Raises CodecError past the end."""
        total = int(bits.sum(dtype=np.int64))
        end = self._position + total
        if end > self._raw.size * 8:
            raise CodecError(f"a stream has {self._raw.size * 8} raw bits, bit {end} is wanted", fix=FIX_STREAM)
        values = np.zeros(bits.shape, np.uint32)
        for piece in _pieces(bits.size):
            widths = bits[piece]
            ends = np.cumsum(widths, dtype=np.int64)
            first, skipped = divmod(self._position, 8)
            self._position += int(ends[-1])
            flat = np.unpackbits(self._raw[first : -(-self._position // 8)])[skipped:][: ends[-1]]
            present = widths > 0
            if present.any():
                weighted = flat.astype(np.uint32) << _shifts(widths)
                values[piece][present] = np.add.reduceat(weighted, (ends - widths)[present], dtype=np.uint32)
        return values

    def finish(self) -> None:
        """Raises CodecError unless all was taken that the payload holds."""
        unread = self._raw.size * 8 - self._position
        padding = self._raw[-1] & ((1 << unread) - 1) if 0 < unread < 8 else 0
        if unread >= 8 or padding or not self._stack.is_empty():
            raise CodecError("a stream holds more than its symbols", fix=FIX_STREAM)


def to_tokens(magnitudes: NDArray[np.uint32]) -> tuple[NDArray[np.int32], NDArray[np.uint32], NDArray[np.uint8]]:
    """(token, mantissa, bits of the mantissa) of values below 2^32: small ones are tokens themselves.

    From 16 on, four tokens share an octave and the lower bits are left to `add_bits`; the hybrid integers of JPEG XL
    (ISO/IEC 18181-1) with exponent 4, two top bits and no low bit in the token.
    """
    values = magnitudes.astype(np.uint32)
    # Exact: a float64 holds any 32-bit integer, and frexp splits it without rounding.
    exponents = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
    large = values >= DIRECT
    bits = np.where(large, exponents - MANTISSA, 0).astype(np.uint8)
    top = (values >> bits).astype(np.int64) & ((1 << MANTISSA) - 1)
    tokens = np.where(large, DIRECT + ((exponents - DIRECT_BITS) << MANTISSA) + top, values.astype(np.int64))
    mantissa = values & ((np.uint32(1) << bits.astype(np.uint32)) - np.uint32(1))
    return tokens.astype(np.int32), mantissa.astype(np.uint32), bits


def mantissa_bits(tokens: NDArray[np.int32]) -> NDArray[np.uint8]:
    """How many raw bits follow each token of `to_tokens`."""
    return np.where(tokens < DIRECT, 0, ((tokens - DIRECT) >> MANTISSA) + DIRECT_BITS - MANTISSA).astype(np.uint8)


def from_tokens(tokens: NDArray[np.int32], mantissa: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Undoes `to_tokens`. Tokens are 0 ... TOKENS - 1, mantissas are below 2^`mantissa_bits`."""
    bits = mantissa_bits(tokens).astype(np.uint32)
    top = (((tokens - DIRECT) & ((1 << MANTISSA) - 1)) | (1 << MANTISSA)).astype(np.uint32)
    return np.where(tokens < DIRECT, tokens.astype(np.uint32), (top << bits) | mantissa)


class _StreamModels:
    """constriction's models of the rows of `Tables`, each built when it is first needed."""

    def __init__(self, counts: NDArray[np.uint32]) -> None:
        self._counts = counts
        self._known: dict[int, tuple[Any, NDArray[np.int32] | None]] = {}

    def row(self, table: int) -> tuple[Any, NDArray[np.int32] | None]:
        """(model, symbols that can occur); None where they are the first of the alphabet, so that they count alike."""
        known = self._known.get(table)
        if known is not None:
            return known
        if not 0 <= table < len(self._counts):
            raise CodecError(f"table {table} of {len(self._counts)} is asked for", fix=FIX_CALL)
        counts = self._counts[table]
        occurring = np.flatnonzero(counts).astype(np.int32)
        # constriction gives each symbol 1 / 2^24 and shares the rest out by these weights; they sum to that rest, so
        # its factor is exactly 1 and the probability is exactly count / 2^16 on every machine.
        weights = counts[occurring].astype(np.float64) * 2 ** (STREAM_PRECISION - PRECISION) - 1
        model = constriction.stream.model.Categorical(weights, lazy=False, perfect=False)
        self._known[table] = model, None if occurring[-1] == occurring.size - 1 else occurring
        return self._known[table]

    def check(self, table: int, symbols: NDArray[np.int32]) -> None:
        """Raises CodecError where a symbol cannot occur."""
        if symbols.min() < 0 or symbols.max() >= self._counts.shape[1] or not self._counts[table, symbols].all():
            raise CodecError(f"a symbol of {symbols.min()} ... {symbols.max()} is not in table {table}", fix=FIX_CALL)


_MODELS: WeakKeyDictionary[Tables, _StreamModels] = WeakKeyDictionary()


def _models(tables: Tables) -> _StreamModels:
    return _MODELS.setdefault(tables, _StreamModels(tables.counts))


def _by_table(indices: NDArray[np.uint16]) -> tuple[NDArray[np.intp], list[tuple[int, slice]]]:
    """(order that sorts by table and keeps the rest, the tables that occur and where each stands in that order)."""
    counts = np.bincount(indices)
    ends = np.cumsum(counts)
    runs = [(int(table), slice(int(ends[table] - counts[table]), int(ends[table]))) for table in np.flatnonzero(counts)]
    return np.argsort(indices, kind="stable"), runs


def _pieces(size: int) -> Iterator[slice]:
    """Slices that bound the memory in which values are spread out into single bits."""
    for start in range(0, size, PIECE):
        yield slice(start, start + PIECE)


def _shifts(widths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """For each bit of values `widths` bits long, laid end to end: how far from the value's lowest bit it stands."""
    ends = np.cumsum(widths, dtype=np.int64)
    return (np.repeat(ends, widths) - 1 - np.arange(ends[-1] if ends.size else 0)).astype(np.uint32)


def _varint(number: int) -> bytes:
    groups = []
    while number >= 128:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _read_varint(payload: bytes) -> tuple[int, int]:
    """(number, position behind it)."""
    number = 0
    for position, byte in enumerate(payload[:5]):
        number |= (byte & 127) << (7 * position)
        if byte < 128:
            return number, position + 1
    raise CodecError("a stream has no length of its raw bits", fix=FIX_STREAM)
