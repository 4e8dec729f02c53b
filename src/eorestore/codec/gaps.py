"""The gaps of a tile as bytes, exactly: which pixels are valid, and what stood in the others; knows no coder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.decibel import MOST_MARKS
from eorestore.codec.fields import Fields, damaged, deflate, inflate, put_bytes, put_number

ALL_VALID, SHARED, BY_BAND, NONE_VALID = range(4)


def pack_gaps(
    valid: NDArray[np.bool_], marks: tuple[float, ...], labels: NDArray[np.uint8] | None
) -> tuple[int, bytes]:
    """Kind and bytes of the gaps; no bytes where all is valid. See `decibel.Observed`."""
    if valid.all():
        return ALL_VALID, b""
    parts = [bytes([len(marks)]), *map(put_number, marks)]
    if not valid.any():
        kind = NONE_VALID
    else:
        kind = SHARED if (valid == valid[:1]).all() else BY_BAND
        planes = valid[:1] if kind == SHARED else valid
        parts.append(put_bytes(deflate(np.packbits(planes).tobytes())))
    if len(marks) > 1 and labels is not None:
        parts.append(put_bytes(deflate(labels.tobytes())))
    return kind, b"".join(parts)


def unpack_gaps(
    kind: int, fields: Fields, shape: tuple[int, int, int]
) -> tuple[NDArray[np.bool_], tuple[float, ...], NDArray[np.uint8] | None]:
    """Valid mask (band, y, x), marks and labels. Raises CodecError."""
    if kind == ALL_VALID:
        return np.ones(shape, bool), (), None
    count = fields.byte()
    if count > MOST_MARKS:
        raise damaged(f"{count} marks of gaps are announced")
    marks = tuple(fields.number() for _ in range(count))
    valid = np.zeros(shape, bool)
    if kind != NONE_VALID:
        planes = (1, *shape[1:]) if kind == SHARED else shape
        pixels = planes[0] * planes[1] * planes[2]
        packed = inflate(fields.bytes(), size=-(-pixels // 8))
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=pixels)
        valid[:] = bits.reshape(planes).astype(bool)
    if count < 2:
        return valid, marks, None
    labels = np.frombuffer(inflate(fields.bytes(), size=int((~valid).sum())), np.uint8)
    if labels.size and labels.max() >= count:
        raise damaged("a gap has a mark that is not there")
    return valid, marks, labels
