"""An .eoz file as bytes: header, index of tiles with checksums, tiles; knows no pixel, coder or GIS library.

    "EOZ" version | length | header, index | CRC32 of all before | tile 0 | tile 1 | ...

    index = length and CRC32 of every tile, row by row

The index stands before the tiles, so that a file that was cut short still gives those that are whole.
"""

from __future__ import annotations

import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from eorestore.codec.fields import Fields, damaged, put_bytes, put_varint
from eorestore.codec.header import Header, pack_header, unpack_header
from eorestore.errors import CodecError, DataError, WriteError

MAGIC = b"EOZ"
VERSION = 1

_MOST_HEADER = 1 << 26
_MOST_TILE = 1 << 28
_LONGEST_LENGTH = 4  # bytes of a varint below `_MOST_HEADER`


@dataclass(frozen=True)
class TileEntry:
    """Where a tile lies in the file, and the checksum of its bytes."""

    row: int
    column: int
    offset: int
    length: int
    crc: int


class ContainerWriter:
    """Takes tiles row by row and writes the file when the last has come; until then nothing stands under `path`.

    Tiles wait in a file beside it, so that memory stays that of one tile. Raises WriteError.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header = path, header
        self._index: list[tuple[int, int]] = []
        self._body = path.with_name(f".{path.name}.{os.getpid()}.tiles.partial")
        self._whole = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._body.open("wb")
        except OSError as error:
            raise self._error(error) from None

    def add(self, tile: bytes) -> None:
        """The next tile."""
        self._index.append((len(tile), zlib.crc32(tile)))
        try:
            self._file.write(tile)
        except OSError as error:
            raise self._error(error) from None

    @property
    def size(self) -> int:
        """Bytes of the file as it would be written now."""
        return len(pack_front(self.header, self._index)) + sum(length for length, _ in self._index)

    def restart(self, header: Header) -> None:
        """Drop all tiles and go on with another header."""
        self.header, self._index = header, []
        self._file.seek(0)
        self._file.truncate()

    def finish(self) -> int:
        """Write header, index and tiles, give the file its name, and return the bytes before the first tile."""
        head = pack_front(self.header, self._index)
        try:
            self._file.close()
            with self._whole.open("wb") as out, self._body.open("rb") as body:
                out.write(head)
                shutil.copyfileobj(body, out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())
            self._whole.replace(self.path)
        except OSError as error:
            raise self._error(error) from None
        return len(head)

    def __enter__(self) -> ContainerWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._body.unlink(missing_ok=True)
        self._whole.unlink(missing_ok=True)

    def _error(self, error: OSError) -> WriteError:
        return WriteError(
            f"{self.path} cannot be written: {error}", fix="check the folder, its rights and the free space"
        )


def pack_front(header: Header, index: list[tuple[int, int]]) -> bytes:
    """All bytes before the first tile. index: length and CRC32 of every tile, row by row."""
    rows, columns = header.tile_grid
    if len(index) != rows * columns:
        raise CodecError(f"{len(index)} tiles were given for {rows * columns} places", fix="give every tile once")
    body = b"".join((pack_header(header), *(put_varint(length) + crc.to_bytes(4, "little") for length, crc in index)))
    front = MAGIC + bytes([VERSION]) + put_bytes(body)
    return front + zlib.crc32(front).to_bytes(4, "little")


class ContainerReader:
    """Header, index and single tiles of an open file; reads what is asked for and nothing else.

    Raises CodecError where the header is damaged or newer than this version.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        front = file.read(4)
        if len(front) < 4 or front[:3] != MAGIC:
            raise DataError("this is no .eoz file", fix="give what eorestore compress wrote")
        if front[3] != VERSION:
            raise CodecError(
                f"the file has format version {front[3]}, this eorestore reads version {VERSION}",
                fix="install a newer eorestore",
            )
        front += file.read(_LONGEST_LENGTH)
        length = Fields(front[4:])
        size = length.varint(below=_MOST_HEADER)
        start = len(front) - length.left
        front += file.read(max(start + size + 4 - len(front), 0))
        whole, crc = front[: start + size], front[start + size : start + size + 4]
        if len(crc) < 4 or zlib.crc32(whole).to_bytes(4, "little") != crc:
            raise damaged("the header does not match its checksum")
        fields = Fields(whole[start:])
        self.header = unpack_header(fields)
        self.bytes_before_tiles = start + size + 4
        self.tiles = self._unpack_index(fields)
        fields.finish()

    def tile(self, row: int, column: int) -> bytes:
        """The bytes of a tile. Raises CodecError where they are missing or do not match their checksum."""
        entry = self.tiles[row * self.header.tile_grid[1] + column]
        self._file.seek(entry.offset)
        content = self._file.read(entry.length)
        if len(content) < entry.length:
            raise damaged(f"the file ends within tile row {row}, column {column}")
        if zlib.crc32(content) != entry.crc:
            raise damaged(f"tile row {row}, column {column} does not match its checksum")
        return content

    def _unpack_index(self, fields: Fields) -> tuple[TileEntry, ...]:
        rows, columns = self.header.tile_grid
        if rows * columns * 5 > fields.left:
            raise damaged("the index is too short for the size of the scene")
        offset, entries = self.bytes_before_tiles, []
        for place in range(rows * columns):
            length, crc = fields.varint(below=_MOST_TILE), int.from_bytes(fields.take(4), "little")
            entries.append(TileEntry(place // columns, place % columns, offset, length, crc))
            offset += length
        return tuple(entries)
