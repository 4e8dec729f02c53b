"""PNG files from uint8 arrays with zlib alone; knows no raster and no stretch."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError
from eorestore.reports.writing import write_complete, write_in_parts

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey + alpha, RGB, RGBA


def write_png(path: Path | str, pixels: NDArray[np.uint8]) -> None:
    """Write `encode_png(pixels)` to `path`, under its name only when complete. Raises WriteError."""
    write_complete(Path(path), encode_png(pixels))


def write_png_strips(path: Path | str, strips: Iterable[NDArray[np.uint8]], *, size: tuple[int, int]) -> None:
    """Write a PNG of (height, width) from strips of whole rows, of which one at a time is in memory.

    strips: uint8 (y, x) or (y, x, channel), from the top, together of `size`. Raises WriteError, DataError.
    """
    write_in_parts(Path(path), _parts(strips, size))


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of a uint8 array (y, x) or (y, x, channel) with 1 to 4 channels. Raises DataError.

    Eight bits a sample, not interlaced, every row filtered by the method of least absolute sum that the PNG
    specification (W3C, third edition, section 12.7) recommends.
    """
    size = (pixels.shape[0], pixels.shape[1]) if pixels.ndim > 1 else (0, 0)
    return b"".join(_parts([pixels], size))


def _parts(strips: Iterable[NDArray[np.uint8]], size: tuple[int, int]) -> Iterator[bytes]:
    """The pieces of a file."""
    compressor = zlib.compressobj(level=6)
    above: NDArray[np.uint8] | None = None
    done = 0
    for pixels in strips:
        image = pixels[..., None] if pixels.ndim == 2 else pixels
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in _COLOUR_TYPES or 0 in image.shape:
            raise DataError(
                f"no picture can be made of a {pixels.dtype} array of shape {pixels.shape}",
                fix="give uint8 values as (y, x) or (y, x, channel) with 1 to 4 channels",
            )
        if above is None:
            kind = _COLOUR_TYPES[image.shape[2]]
            yield _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 8, kind, 0, 0, 0))
        done += len(image)
        if data := compressor.compress(_filter_rows(image, above)):
            yield _chunk(b"IDAT", data)
        above = image[-1]
    if above is None or done != size[0] or above.shape[0] != size[1]:
        raise DataError(f"{done} rows of a picture of {size[0]} x {size[1]}", fix="give all of its rows")
    yield _chunk(b"IDAT", compressor.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _filter_rows(image: NDArray[np.uint8], above: NDArray[np.uint8] | None) -> bytes:
    """Rows with their filter byte in front: none, sub, up or Paeth, whichever leaves least.

    above: the row before the first.
    """
    height, width, channels = image.shape
    here = image.astype(np.int16)
    left = np.zeros_like(here)
    left[:, 1:] = here[:, :-1]
    up = np.zeros_like(here)
    up[1:] = here[:-1]
    if above is not None:
        up[0] = above
    corner = np.zeros_like(here)
    corner[:, 1:] = up[:, :-1]
    rows = np.empty((height, 1 + width * channels), dtype=np.uint8)
    least = np.full(height, np.iinfo(np.int64).max)
    for number, guess in ((0, None), (1, left), (2, up), (4, _paeth(left, up, corner))):
        residual = (here if guess is None else here - guess).astype(np.uint8).reshape(height, -1)
        cost = np.abs(residual.view(np.int8).astype(np.int64)).sum(axis=1)
        better = cost < least
        rows[better, 0] = number
        rows[better, 1:] = residual[better]
        least = np.minimum(least, cost)
    return rows.tobytes()


def _paeth(left: NDArray[np.int16], up: NDArray[np.int16], corner: NDArray[np.int16]) -> NDArray[np.int16]:
    """Of left, up and corner the one nearest to left + up - corner; ties in that order."""
    to_left, to_up = np.abs(up - corner), np.abs(left - corner)
    to_corner = np.abs(left + up - 2 * corner)
    nearest = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
