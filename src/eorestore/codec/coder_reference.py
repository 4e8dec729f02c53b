"""A second reader of coder's payloads, slow and without any library: the format in a page; knows no image.

It is here so that a payload can be read when no constriction runs any more, and so that tests can tell whether the
format still is what this page says. Equations of range asymmetric numeral systems: Duda (2013), section on rANS; the
tail, which starts from an empty state and reads zeros below the last word, is constriction's (Bamler, 2022).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.tables import PRECISION, Tables

PROBABILITY_BITS = 24
WORD_BITS = 32
STATE_BITS = 64


class ReferenceDecoder:
    """`coder.Decoder` with Python integers: same calls, same values, no check of damaged payloads."""

    def __init__(self, payload: bytes, tables: Tables) -> None:
        start = next(position for position, byte in enumerate(payload) if byte < 128) + 1
        length = sum((byte & 127) << (7 * position) for position, byte in enumerate(payload[:start]))
        self._bits = "".join(f"{byte:08b}" for byte in payload[start : start + length])
        words = payload[start + length :]
        self._words = [int.from_bytes(words[at : at + 4], "little") for at in range(0, len(words), 4)]
        self._state = 0
        self._refill()
        self._refill()
        self._counts = tables.counts.astype(np.int64) << (PROBABILITY_BITS - PRECISION)

    def take(self, indices: NDArray[np.uint16]) -> NDArray[np.int32]:
        """Symbols in the order of their table index, equal indices from left to right."""
        symbols = np.empty(indices.size, np.int32)
        for position in np.argsort(indices, kind="stable"):
            symbols[position] = self._symbol(self._counts[indices[position]])
        return symbols

    def take_bits(self, bits: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Big-endian numbers of the given lengths."""
        values = []
        for length in bits.tolist():
            values.append(int("0" + self._bits[:length], 2))
            self._bits = self._bits[length:]
        return np.asarray(values, np.uint32)

    def finish(self) -> None:
        """Nothing to do: this reader trusts its payload."""

    def _symbol(self, counts: NDArray[np.int64]) -> int:
        within = self._state % (1 << PROBABILITY_BITS)
        ends = counts.cumsum()
        symbol = int(np.searchsorted(ends, within, side="right"))
        start = int(ends[symbol] - counts[symbol])
        self._state = (self._state >> PROBABILITY_BITS) * int(counts[symbol]) + within - start
        if self._state < 1 << (STATE_BITS - WORD_BITS):
            self._refill()
        return symbol

    def _refill(self) -> None:
        if self._words:
            self._state = self._state << WORD_BITS | self._words.pop()
