"""Integer probability tables: how they are made of counts, checked and priced; knows no bitstream and no image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import CodecError

PRECISION = 16
TOTAL = 1 << PRECISION
FIX = "make tables with codec.tables.tables_from, or read those that the package ships"


@dataclass(frozen=True, eq=False)
class Tables:
    """Probabilities as integers: `counts` (table, symbol), each row sums to 2^16; 0 = the symbol cannot occur.

    A row has at least two symbols that can occur. Raises CodecError for anything else.
    """

    counts: NDArray[np.uint32]

    def __post_init__(self) -> None:
        counts = self.counts
        if counts.ndim != 2 or counts.dtype != np.uint32 or not counts.size:
            raise CodecError(f"tables are {counts.dtype} of shape {counts.shape}, not uint32 (table, symbol)", fix=FIX)
        wrong = (counts.sum(axis=1, dtype=np.uint64) != TOTAL) | ((counts > 0).sum(axis=1) < 2)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise CodecError(f"table {row} does not share 2^{PRECISION} out among two symbols or more", fix=FIX)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def symbols(self) -> int:
        """Length of the alphabet: symbols are 0 ... symbols - 1."""
        return int(self.counts.shape[1])

    @cached_property
    def bits(self) -> NDArray[np.float32]:
        """Cost of each symbol in bits, (table, symbol); infinite where it cannot occur. For choices while encoding."""
        with np.errstate(divide="ignore"):
            return (PRECISION - np.log2(self.counts)).astype(np.float32)

    def cost(self, symbols: NDArray[np.int32], indices: NDArray[np.uint16]) -> float:
        """Bits that `symbols` take under the tables `indices` (same shape), by Shannon's formula."""
        return float(self.bits[indices, symbols].sum(dtype=np.float64))


def tables_from(histograms: NDArray[np.integer] | NDArray[np.floating], *, floor: int = 1) -> Tables:
    """Tables nearest to `histograms` (table, symbol), any scale, none negative; no count falls below `floor`.

    The largest-remainder rule in integers where `histograms` are integers. A row without any mass becomes uniform.
    Raises CodecError: a negative or unbounded value, or more symbols than 2^16 / floor.
    """
    weights = np.asarray(histograms)
    if weights.ndim != 2 or not np.isfinite(weights).all() or (weights < 0).any():
        raise CodecError("histograms are not finite, not negative numbers of shape (table, symbol)", fix=FIX)
    count = weights.shape[1]
    free = TOTAL - floor * count
    if count < 2 or floor < 0 or free < 0:
        raise CodecError(f"{count} symbols of at least {floor} do not share out 2^{PRECISION}", fix=FIX)
    rows = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, 1)
    integers = np.issubdtype(rows.dtype, np.integer)
    mass = rows.astype(object) if integers else rows.astype(np.float64)
    whole = mass.sum(axis=1, keepdims=True)
    shares = mass * free // whole
    left = (mass * free - shares * whole).astype(np.float64) / whole.astype(np.float64)
    counts = shares.astype(np.int64)
    missing = free - counts.sum(axis=1)
    order = np.argsort(-left, axis=1, kind="stable")
    for row, more in enumerate(missing):
        counts[row, order[row, :more]] += 1
    return Tables((counts + floor).astype(np.uint32))
