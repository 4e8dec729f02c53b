"""What an .eoz file says of itself before the first tile, as bytes and back; knows no pixel, coder or GIS library.

    mode and coder | flags and tile side | parameters of the mode | model stamp | size | bands with units |
    type of values, scale, offset, nodata | CRS | transform | tags

Integers are varints, decimals the shortest that read back equal (`fields`). The first two bytes hold two numbers each:
mode and coder four bits, flags six and the tile two. Of a transform without rotation and with square pixels, three
numbers are written. Numbers in the file are positions in the tables below: append to them, never change them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from eorestore.codec.fields import Fields, damaged, deflate, inflate, put_bytes, put_number, put_text, put_varint
from eorestore.errors import BandError, CodecError
from eorestore.raster import Band, BandSet, Unit, Window
from eorestore.raster.bands import known_band
from eorestore.raster.encoding import Encoding
from eorestore.raster.grid import Transform

TILES = (0, 256, 512)  # sides by number; 0: the scene is one tile
UNITS = (
    Unit.REFLECTANCE, Unit.DECIBEL, Unit.POWER, Unit.AMPLITUDE, Unit.KELVIN, Unit.COUNT, Unit.INDEX, Unit.CLASS,
    Unit.METRE, Unit.LEVEL,
)  # fmt: skip
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
NAMES = ("", "VV", "VH", "HH", "HV")  # 0: the name is spelt out
MOST_IN_ONE = 1 << 23  # values of a scene that is one tile

_MOST_PIXELS = 1 << 40
_MOST_BANDS = 1 << 8
_MOST_TAGS = 16 << 20
_MOST_WKT = 1 << 20
_HAS_SCALE, _HAS_NODATA, _HAS_WKT, _HAS_TAGS, _NORTH_UP = 1, 2, 4, 8, 16
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Header:
    """What a file says of itself before the first pixel.

    mode, coder: numbers that `modes` and `tile_coder` give a meaning; parameters: numbers of the mode.
    stamp: up to 8 bytes that name the coder's model and its hash; empty where the coder has no model.
    tile: side of a tile in pixels, 0 where the scene is one tile. crs: EPSG code, or WKT, or "" for none.
    encoding: how the input held its values; the output holds them likewise or as float32.
    """

    mode: int
    coder: int
    size: tuple[int, int]
    bands: BandSet
    encoding: Encoding
    crs: int | str
    transform: Transform
    parameters: tuple[float, ...] = ()
    stamp: bytes = b""
    tile: int = 512
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def tile_grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        if self.tile == 0:
            return 1, 1
        return -(-self.size[0] // self.tile), -(-self.size[1] // self.tile)

    def tile_window(self, row: int, column: int) -> Window:
        """The pixels of a tile; those at the lower and right edge are cut."""
        side = self.tile or max(self.size)
        top, left = row * side, column * side
        return Window(top, left, min(side, self.size[0] - top), min(side, self.size[1] - left))


def pack_header(header: Header) -> bytes:
    """The header as bytes."""
    encoding, tags = header.encoding, json.dumps(dict(header.tags), ensure_ascii=False).encode()
    scaled = (encoding.scale, encoding.offset) != (1.0, 0.0)
    three = header.transform[0], header.transform[2], header.transform[5]
    flags = (
        scaled * _HAS_SCALE
        | (encoding.nodata is not None) * _HAS_NODATA
        | isinstance(header.crs, str) * _HAS_WKT
        | bool(header.tags) * _HAS_TAGS
        | (header.transform == _north_up(*three)) * _NORTH_UP
    )
    parts = [bytes([header.mode << 4 | header.coder, flags << 2 | TILES.index(header.tile)])]
    parts += [bytes([len(header.parameters)]), *map(put_number, header.parameters), put_bytes(header.stamp)]
    parts += [put_varint(header.size[0]), put_varint(header.size[1]), put_varint(len(header.bands))]
    for band in header.bands:
        known = NAMES.index(band.name) if band.name in NAMES[1:] else 0
        parts.append(bytes([known << 4 | UNITS.index(band.unit)]) + (b"" if known else put_text(band.name)))
    parts.append(bytes([DTYPES.index(encoding.dtype)]))
    if scaled:
        parts += [put_number(encoding.scale), put_number(encoding.offset)]
    if encoding.nodata is not None:
        parts.append(put_number(encoding.nodata))
    if isinstance(header.crs, str):
        plain = header.crs.encode()
        parts += [put_varint(len(plain)), put_bytes(deflate(plain))]
    else:
        parts.append(put_varint(header.crs))
    parts += map(put_number, three if flags & _NORTH_UP else header.transform)
    if header.tags:
        parts += [put_varint(len(tags)), put_bytes(deflate(tags))]
    return b"".join(parts)


def unpack_header(fields: Fields) -> Header:
    """The header at the front of `fields`. Raises CodecError where it is damaged or of a newer version."""
    first, second = fields.take(2)
    mode, coder, flags, tile = first >> 4, first & 15, second >> 2, second & 3
    if flags >= 2 * _NORTH_UP or tile >= len(TILES):
        raise CodecError("the file uses a feature that this eorestore does not know", fix="install a newer eorestore")
    parameters = tuple(fields.number() for _ in range(fields.byte()))
    stamp = fields.bytes()
    size = fields.varint(below=_MOST_PIXELS), fields.varint(below=_MOST_PIXELS)
    count = fields.varint(below=_MOST_BANDS)
    pixels = size[0] * size[1]
    if not count or not 0 < pixels < _MOST_PIXELS or (TILES[tile] == 0 and pixels * count > MOST_IN_ONE):
        raise damaged(f"{count} bands of {size[0]} x {size[1]} pixels are announced")
    bands = _unpack_bands(fields, count)
    dtype = _pick(DTYPES, fields.byte(), "a type of values")
    scale, offset = (fields.number(), fields.number()) if flags & _HAS_SCALE else (1.0, 0.0)
    nodata = fields.number() if flags & _HAS_NODATA else None
    crs = _inflated(fields, _MOST_WKT) if flags & _HAS_WKT else fields.varint()
    if flags & _NORTH_UP:
        transform = _north_up(fields.number(), fields.number(), fields.number())
    else:
        a, b, c, d, e, f = (fields.number() for _ in range(6))
        transform = (a, b, c, d, e, f)
    tags = _unpack_tags(_inflated(fields, _MOST_TAGS)) if flags & _HAS_TAGS else {}
    encoding = Encoding(dtype, scale, offset, nodata)
    return Header(mode, coder, size, bands, encoding, crs, transform, parameters, stamp, TILES[tile], tags)


def _north_up(side: float, left: float, top: float) -> Transform:
    """The transform of square pixels without rotation, row 0 in the north."""
    return side, 0.0, left, 0.0, -side, top


def _unpack_bands(fields: Fields, count: int) -> BandSet:
    bands = []
    for _ in range(count):
        byte = fields.byte()
        name = _pick(NAMES, byte >> 4, "a band name") or fields.text()
        known = known_band(name)
        bands.append(Band(name, _pick(UNITS, byte & 15, "a unit"), known.wavelength if known else None))
    try:
        return BandSet(tuple(bands))
    except BandError:
        raise damaged("a band is named twice") from None


def _inflated(fields: Fields, most: int) -> str:
    size = fields.varint(below=most)
    try:
        return inflate(fields.bytes(), size=size).decode()
    except UnicodeDecodeError:
        raise damaged("a text is not UTF-8") from None


def _unpack_tags(text: str) -> dict[str, str]:
    try:
        tags = json.loads(text)
    except ValueError:
        raise damaged("the tags are not JSON") from None
    if not isinstance(tags, dict):
        raise damaged("the tags are no names and values")
    return {str(key): str(value) for key, value in tags.items()}


def _pick(table: tuple[_Item, ...], number: int, what: str) -> _Item:
    if number >= len(table):
        raise CodecError(f"the file holds {what} that this eorestore does not know", fix="install a newer eorestore")
    return table[number]
