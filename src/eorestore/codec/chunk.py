"""Chunks of an array to bytes and back: tiles of at most 512 pixels, each with a checksum; knows no array library.

    length and CRC32 of every tile, plane by plane and row by row | tiles

The leading axes of a chunk are folded: as many planes as the settings name bands are coded together.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.chunk_settings import ChunkSettings
from eorestore.codec.decibel import fill_gaps, raw_from_decibel
from eorestore.codec.fields import Fields, damaged, put_varint
from eorestore.codec.header import DTYPES, Header
from eorestore.codec.modes import CENTIBEL, CODERS_OF_MODES, Mode, Wish, default_windows, pack_parameters, step_of
from eorestore.codec.tile import TilePipe
from eorestore.codec.tile_coder import load_coder, model_stamp
from eorestore.errors import CodecError, UsageError
from eorestore.raster import Band, BandSet, Unit
from eorestore.raster.encoding import Encoding

SIDE = 512
_NO_PLACE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def settings_for(wish: Wish, *, unit: str, bands: tuple[str, ...]) -> ChunkSettings:
    """Settings that keep what `wish` promises. Raises UsageError for what has to be searched over a scene."""
    wish = wish.checked()
    if wish.bits is not None or wish.psnr is not None:
        raise UsageError("a chunk is coded by itself; no rate is searched", fix="give a quality or a max_error")
    if wish.mode is Mode.LOSSLESS:
        step = 0.0 if Unit.parse(unit) is Unit.COUNT else CENTIBEL
    else:
        step = 2 * wish.max_error if wish.max_error is not None else step_of(wish.quality or 0.0)
    coder = CODERS_OF_MODES[wish.mode]
    windows = default_windows(_bands(bands or ("",), Unit.parse(unit)))
    stamp = model_stamp(load_coder(coder, step=step, windows=windows)).hex()
    return ChunkSettings(int(wish.mode), coder, step, Unit.parse(unit).value, bands, stamp)


def encode_chunk(array: NDArray[Any], settings: ChunkSettings, *, nodata: float | None = None) -> bytes:
    """A chunk of two axes or more. nodata: the array's fill value; pixels that carry it, or NaN, cost almost nothing.

    Raises UsageError where the axes or the type do not go with the settings, DataError for values out of range.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    pipe = _pipe(settings, array.dtype.name, nodata)
    tiles = []
    for place, rows, columns in _places(array.shape, settings):
        tiles.append(pipe.encode(np.ascontiguousarray(_planes(array, settings)[place, :, rows, columns])))
    index = b"".join(put_varint(len(tile)) + zlib.crc32(tile).to_bytes(4, "little") for tile in tiles)
    return index + b"".join(tiles)


def decode_chunk(
    payload: bytes, settings: ChunkSettings, *, shape: tuple[int, ...], dtype: str, nodata: float | None = None
) -> NDArray[Any]:
    """The chunk that `encode_chunk` was given. Raises CodecError where the bytes are damaged."""
    pipe = _pipe(settings, dtype, nodata)
    fields, array = Fields(payload), np.empty(shape, dtype)
    planes = _planes(array, settings)
    places = list(_places(shape, settings))
    index = [(fields.varint(), int.from_bytes(fields.take(4), "little")) for _ in places]
    for number, ((length, crc), (place, rows, columns)) in enumerate(zip(index, places, strict=True)):
        tile = fields.take(length)
        if zlib.crc32(tile) != crc:
            raise damaged(f"tile {number} of a chunk does not match its checksum")
        size = rows.stop - rows.start, columns.stop - columns.start
        planes[place, :, rows, columns] = _decoded(pipe, tile, size, dtype)
    fields.finish()
    return array


def _decoded(pipe: TilePipe, tile: bytes, size: tuple[int, int], dtype: str) -> NDArray[Any]:
    """Values of a tile in the chunk's own type; float64 keeps its fill value to the last bit."""
    if pipe.step == 0 or dtype == "float32":
        return pipe.decode(tile, size)
    observed = pipe.unpack(tile, size)
    values = raw_from_decibel(observed, pipe.header.encoding, pipe.unit).astype(dtype)
    fill_gaps(values, observed, pipe.header.encoding)
    return values


def _places(shape: tuple[int, ...], settings: ChunkSettings) -> Iterator[tuple[int, slice, slice]]:
    """Number of the stack of planes, rows and columns of every tile."""
    if len(shape) < 2 or min(shape) < 1:
        raise UsageError(f"a chunk of shape {shape} holds no image", fix="chunk along y and x, the last two axes")
    stacked = math.prod(shape[:-2])
    bands = max(len(settings.bands), 1)
    if stacked % bands:
        raise UsageError(
            f"a chunk of shape {shape} does not stack {', '.join(settings.bands)}",
            fix=f"chunk the band axis by {bands}",
        )
    height, width = shape[-2:]
    for place in range(stacked // bands):
        for top in range(0, height, SIDE):
            for left in range(0, width, SIDE):
                yield place, slice(top, min(top + SIDE, height)), slice(left, min(left + SIDE, width))


def _planes(array: NDArray[Any], settings: ChunkSettings) -> NDArray[Any]:
    """The chunk as (stack, band, y, x)."""
    return array.reshape(-1, max(len(settings.bands), 1), *array.shape[-2:])


@lru_cache(maxsize=32)
def _pipe(settings: ChunkSettings, dtype: str, nodata: float | None) -> TilePipe:
    if dtype not in DTYPES:
        raise UsageError(f"an array of {dtype} cannot be compressed", fix="store it as an integer or float32")
    encoding = Encoding(dtype, nodata=nodata)
    if settings.step == 0 and not encoding.is_integer:
        raise UsageError(f"an array of {dtype} holds no counts", fix="give unit='decibel', 'power' or 'amplitude'")
    bands = _bands(settings.bands or ("",), Unit.parse(settings.unit))
    parameters = pack_parameters(settings.step, default_windows(bands), bands)
    try:
        stamp = bytes.fromhex(settings.stamp)
    except ValueError:
        raise CodecError("the codec's stamp is not hexadecimal", fix="mend the array's metadata") from None
    header = Header(
        settings.mode, settings.coder, (SIDE, SIDE), bands, encoding, 0, _NO_PLACE, parameters, stamp, SIDE
    )  # fmt: skip
    return TilePipe(header, decoding=True)


def _bands(names: tuple[str, ...], unit: Unit) -> BandSet:
    return BandSet(tuple(Band(name, unit) for name in names))
