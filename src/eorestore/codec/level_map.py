"""Pictures that use few of the numbers they span: numbered by rank instead, with a map of those in use.

Products that were half floats, or that were stretched, leave gaps at regular places; rounded to centidecibel every
third number may be free. A predictor cannot see that, the map can. Knows no prediction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.fields import Fields, damaged, deflate, inflate, put_bytes, put_varint

# A map of more numbers than this costs more than it can save; it also bounds what a damaged one can make us allocate.
MOST_LEVELS = 1 << 17
# Levels around a number over which it is judged how many are in use.
NEARBY = 33


def find_levels(values: NDArray[np.int32]) -> tuple[NDArray[np.int64], bytes] | None:
    """(levels in use, ascending, and their description), or None where a map of `values` (n,) would not pay."""
    if not values.size:
        return None
    lowest, span = int(values.min()), int(values.max()) - int(values.min()) + 1
    if span > min(MOST_LEVELS, 16 * values.size) or span < 2:
        return None
    counts = np.bincount(values.astype(np.int64) - lowest, minlength=span)
    used = counts > 0
    window = np.ones(min(NEARBY, span))
    share = np.convolve(used, window, mode="same") / np.convolve(np.ones(span), window, mode="same")
    saved = float((counts[used] * -np.log2(share[used])).sum())
    packed = describe(lowest, used)
    return (np.flatnonzero(used) + lowest, packed) if saved > 8 * len(packed) else None


def describe(lowest: int, used: NDArray[np.bool_]) -> bytes:
    """Levels in use from `lowest` on, (level,), as bytes: their lowest, their number, and the smaller of two maps."""
    sign = -2 * lowest - 1 if lowest < 0 else 2 * lowest
    # As bits it is small where levels are used at random, as bytes where they repeat: deflate sees repeated bytes.
    packed = deflate(np.packbits(used).tobytes())
    spread = deflate(used.astype(np.uint8).tobytes())
    bitwise = len(packed) <= len(spread)
    return put_varint(sign) + put_varint(2 * used.size + bitwise) + put_bytes(packed if bitwise else spread)


def read_levels(fields: Fields) -> NDArray[np.int64]:
    """The levels in use, ascending. Raises CodecError for a map that cannot be."""
    sign = fields.varint(below=1 << 32)
    lowest = -(sign + 1) // 2 if sign & 1 else sign // 2
    size, bitwise = divmod(fields.varint(below=2 * MOST_LEVELS + 2), 2)
    content = inflate(fields.bytes(), size=-(-size // 8) if bitwise else size)
    plain = np.frombuffer(content, np.uint8)
    used = np.unpackbits(plain, count=size) if bitwise else plain
    levels = np.flatnonzero(used) + lowest
    if not levels.size:
        raise damaged("a map of levels is empty")
    return levels
