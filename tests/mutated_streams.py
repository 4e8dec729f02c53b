"""Damage to the bytes of .eoz files, for tests and for benchmarks/damaged_streams.py; knows no pixel and no outcome."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from eorestore.codec.container import MAGIC, VERSION, ContainerReader, pack_front
from eorestore.codec.fields import Fields, put_bytes

_MOST_LOST = 16
_LONGEST_RUN = 64


def _flip_bits(content: bytearray, start: int, end: int, generator: np.random.Generator) -> None:
    for place in generator.integers(start, end, size=generator.integers(1, 4)):
        content[place] ^= 1 << int(generator.integers(8))


def _change_bytes(content: bytearray, start: int, end: int, generator: np.random.Generator) -> None:
    for place in generator.integers(start, end, size=generator.integers(1, 9)):
        content[place] = int(generator.integers(256))


def _overwrite_run(content: bytearray, start: int, end: int, generator: np.random.Generator) -> None:
    place = int(generator.integers(start, end))
    length = min(int(generator.integers(2, _LONGEST_RUN + 1)), len(content) - place)
    content[place : place + length] = generator.bytes(length) if generator.random() < 0.7 else bytes(length)


def _cut_short(content: bytearray, start: int, end: int, generator: np.random.Generator) -> None:
    del content[int(generator.integers(start, end)) :]


def _lose_bytes(content: bytearray, start: int, end: int, generator: np.random.Generator) -> None:
    place = int(generator.integers(start, end))
    del content[place : place + int(generator.integers(1, _MOST_LOST + 1))]


def _insert_bytes(content: bytearray, start: int, end: int, generator: np.random.Generator) -> None:
    place = int(generator.integers(start, end + 1))
    content[place:place] = generator.bytes(int(generator.integers(1, _MOST_LOST + 1)))


def _swap_runs(content: bytearray, start: int, end: int, generator: np.random.Generator) -> None:
    """Two runs of equal length change places; they do not overlap."""
    length = int(generator.integers(1, max((end - start) // 2, 2)))
    first = int(generator.integers(start, max(end - 2 * length, start) + 1))
    second = int(generator.integers(first + length, max(end - length, first + length) + 1))
    one, other = bytes(content[first : first + length]), bytes(content[second : second + length])
    if len(one) == len(other):
        content[first : first + length], content[second : second + length] = other, one


KINDS: Mapping[str, Callable[[bytearray, int, int, np.random.Generator], None]] = {
    "bits flipped": _flip_bits,
    "bytes changed": _change_bytes,
    "run overwritten": _overwrite_run,
    "cut short": _cut_short,
    "bytes lost": _lose_bytes,
    "bytes inserted": _insert_bytes,
    "runs swapped": _swap_runs,
}
"""What can happen between two places of a file, in place."""

TILES_SWAPPED = "tiles swapped"


def mutated(content: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    """(kind, the file after one kind of damage): half of the time in header and index, else in the tiles."""
    reader = ContainerReader(io.BytesIO(content))
    front, names = reader.bytes_before_tiles, [*KINDS, *([TILES_SWAPPED] if len(reader.tiles) > 1 else [])]
    kind = str(generator.choice(names))
    if kind == TILES_SWAPPED:
        return kind, content[:front] + b"".join(_two_swapped(_tiles_of(reader), generator))
    broken = bytearray(content)
    start, end = (0, front) if generator.random() < 0.5 else (front, len(content))
    KINDS[kind](broken, start, end, generator)
    return kind, bytes(broken)


def forged_front(content: bytes, generator: np.random.Generator) -> bytes:
    """The file with up to four bytes of header or index changed, and the checksum of both as if they were meant."""
    reader = ContainerReader(io.BytesIO(content))
    plain = Fields(content[len(MAGIC) + 1 :]).bytes()
    body = bytearray(plain)
    for place in generator.integers(len(body), size=generator.integers(1, 5)):
        body[place] = int(generator.integers(256))
    front = MAGIC + bytes([VERSION]) + put_bytes(bytes(body))
    return front + zlib.crc32(front).to_bytes(4, "little") + content[reader.bytes_before_tiles :]


def forged_tile(content: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    """(kind, the file with one tile damaged), index and checksums as if that were meant."""
    reader = ContainerReader(io.BytesIO(content))
    tiles = _tiles_of(reader)
    kind, place = str(generator.choice(list(KINDS))), int(generator.integers(len(tiles)))
    broken = bytearray(tiles[place])
    KINDS[kind](broken, 0, len(broken), generator)
    tiles[place] = bytes(broken)
    return kind, pack_front(reader.header, [(len(tile), zlib.crc32(tile)) for tile in tiles]) + b"".join(tiles)


def _tiles_of(reader: ContainerReader) -> list[bytes]:
    return [reader.tile(entry.row, entry.column) for entry in reader.tiles]


def _two_swapped(tiles: Sequence[bytes], generator: np.random.Generator) -> list[bytes]:
    out = list(tiles)
    first, second = generator.choice(len(out), size=2, replace=False)
    out[first], out[second] = out[second], out[first]
    return out
