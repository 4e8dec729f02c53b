"""Values outside the coded window of decibel, as a list of places and excesses; knows no coder.

A coder of decibel sees values clipped to the window. What the clipping would cost more than `margin` is listed: the
place as the gap to the one before, the excess in units of `resolution` centi-dB, both as varints and deflated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.fields import Fields, damaged, deflate, inflate, put_bytes, put_varint
from eorestore.processing.normalize import WINDOW_SPAN

_CENTI = 100.0


def clip_to_windows(decibel: NDArray[np.float64], windows: tuple[float, ...]) -> NDArray[np.float64]:
    """(band, y, x) clipped to [low, low + WINDOW_SPAN] by band."""
    low = np.array(windows)[:, None, None]
    return np.clip(decibel, low, low + WINDOW_SPAN)


def pack_escapes(
    decibel: NDArray[np.float64], valid: NDArray[np.bool_], windows: tuple[float, ...], *, step: float
) -> bytes:
    """What lies outside the windows by more than two steps, to a quarter of a step; empty where nothing does."""
    excess = np.where(valid, decibel - clip_to_windows(decibel, windows), 0.0)
    margin, resolution = 2 * step, max(round(_CENTI * step / 4), 1)
    places = np.flatnonzero(np.abs(excess) > margin)
    if not places.size:
        return b""
    units = np.rint(excess.reshape(-1)[places] * (_CENTI / resolution)).astype(np.int64)
    gaps = np.diff(places, prepend=0)
    coded = [_varints(gaps), _varints(np.where(units < 0, -2 * units - 1, 2 * units))]
    parts = [put_varint(resolution), put_varint(len(places))]
    parts += [put_varint(len(plain)) + put_bytes(deflate(plain)) for plain in coded]
    return b"".join(parts)


def put_back(content: bytes, decibel: NDArray[np.float64], windows: tuple[float, ...]) -> None:
    """Set the listed values in `decibel` (band, y, x), in place. Raises CodecError."""
    fields = Fields(content)
    resolution, count = fields.varint(below=1 << 16), fields.varint(below=decibel.size + 1)
    lists = []
    for _ in range(2):
        # a place or an excess takes at most five bytes
        size = fields.varint(below=5 * count + 1)
        lists.append(_integers(inflate(fields.bytes(), size=size), count))
    fields.finish()
    places = np.cumsum(lists[0])
    if (places >= decibel.size).any():
        raise damaged("a value outside the window lies outside the tile")
    excess = np.where(lists[1] & 1, -(lists[1] + 1), lists[1]) / 2 * (resolution / _CENTI)
    bands = places // (decibel.shape[1] * decibel.shape[2])
    low = np.array(windows)[bands]
    decibel.reshape(-1)[places] = np.where(excess < 0, low, low + WINDOW_SPAN) + excess


def _varints(values: NDArray[np.int64]) -> bytes:
    return b"".join(put_varint(value) for value in values.tolist())


def _integers(content: bytes, count: int) -> NDArray[np.int64]:
    fields = Fields(content)
    values = np.array([fields.varint(below=1 << 32) for _ in range(count)], dtype=np.int64)
    fields.finish()
    return values
