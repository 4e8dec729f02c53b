"""An .eoz file as pixels: any window by reading its tiles alone, damaged tiles named; knows no command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.container import ContainerReader
from eorestore.codec.decibel import Observed, own_mark
from eorestore.codec.seams import OPPOSITE, REACH, SIDES, line_at, smoothed
from eorestore.codec.tile import TilePipe
from eorestore.codec.tile_coder import coder_entry
from eorestore.errors import CodecError, DataError
from eorestore.raster import BandSet, Grid, Raster, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files.crs import wkt_of

THREADS = 2  # tiles that are decoded at a time
_NAMED = 8  # damaged tiles that an error spells out

Place = tuple[int, int]
"""Row and column of a tile."""


@dataclass(frozen=True)
class DamagedTile:
    """A tile that cannot be decoded, and why."""

    row: int
    column: int
    window: Window
    reason: str

    def __str__(self) -> str:
        place = f"rows {self.window.row} to {self.window.row + self.window.height - 1}"
        place += f", columns {self.window.column} to {self.window.column + self.window.width - 1}"
        return f"tile row {self.row}, column {self.column} ({place}): {self.reason}"


class StoredScene:
    """An open .eoz file.

    keep_going: damaged tiles become nodata and are listed in `damaged`, instead of an error.
    seams: False leaves the tiles of lossy modes just as they were coded, without `codec.seams` at their borders.
    Raises DataError where the file is none, CodecError where its header is damaged or of a newer version.
    """

    def __init__(self, file: Path | BinaryIO, *, keep_going: bool = False, seams: bool = True) -> None:
        self.keep_going = keep_going
        self.damaged: dict[tuple[int, int], DamagedTile] = {}
        self._decoded: dict[Place, Observed | DamagedTile] = {}
        if isinstance(file, Path):
            try:
                self._file: BinaryIO = file.open("rb")
            except OSError as error:
                raise DataError(f"{file} cannot be opened: {error.strerror}", fix="check the path") from None
        else:
            self._file = file
        try:
            self._container = ContainerReader(self._file)
            self.header = self._container.header
            self.pipe = TilePipe(self.header, decoding=True)
            crs = self.header.crs
            wkt = crs if isinstance(crs, str) else wkt_of(crs)
        except (DataError, CodecError):
            self._file.close()
            raise
        self.grid = Grid(wkt, self.header.transform, *self.header.size)
        self._reach = REACH if seams and not self.pipe.integers else 0

    @property
    def bands(self) -> BandSet:
        """Bands in the order of the values."""
        return self.header.bands

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags of the scene."""
        return self.header.tags

    @property
    def encoding(self) -> Encoding:
        """What decoded values mean: as the input's own where they were kept, else float32 in the same unit."""
        own = self.header.encoding
        return own if self.pipe.step == 0 else replace(own, dtype="float32", scale=1.0, offset=0.0)

    @property
    def coder_name(self) -> str:
        """Name of the coder of the tiles."""
        return coder_entry(self.header.coder).name

    @property
    def header_bytes(self) -> int:
        """Bytes before the first tile."""
        return self._container.bytes_before_tiles

    @property
    def whole(self) -> Window:
        """The window of all pixels."""
        return Window(0, 0, *self.header.size)

    def read_raw(self, window: Window | None = None) -> NDArray[Any]:
        """Decoded values (band, y, x) of a window; only tiles that it touches are read.

        Raises CodecError that names the damaged tiles, or DataError for a window outside the scene.
        """
        window = window or self.whole
        self._check(window)
        values = np.empty((len(self.bands), *window.size), self.pipe.dtype)
        touched = list(self._touched(window))
        beside = {tile: self._beside(tile, window) for tile in touched}
        self._decode([*touched, *(place for places in beside.values() for place in places.values())])
        found: list[DamagedTile] = []
        for tile in touched:
            place = self.header.tile_window(*tile)
            both = _common(place, window)
            inside, target = both.relative_to(place), both.relative_to(window)
            stored = self._tile(tile, beside[tile], found)
            values[:, target.rows, target.columns] = stored[:, inside.rows, inside.columns]
        if found and not self.keep_going:
            raise damage_error(found)
        self.damaged.update({(tile.row, tile.column): tile for tile in found})
        return values

    def read(self, window: Window | None = None) -> Raster:
        """Physical values of a window as a Raster. Raises CodecError and DataError."""
        window = window or self.whole
        raw = self.read_raw(window)
        return Raster(self.encoding.decode(raw), self.encoding.valid(raw), self.bands, self.grid.crop(window))

    def strips(self, window: Window | None = None) -> Iterator[tuple[Window, NDArray[Any]]]:
        """The pixels of a window, one row of tiles after the other."""
        window = window or self.whole
        self._check(window)
        side = self.header.tile or self.header.size[0]
        top, end = window.row, window.row + window.height
        while top < end:
            bottom = min((top // side + 1) * side, end)
            strip = Window(top, window.column, bottom - top, window.width)
            yield strip, self.read_raw(strip)
            top = bottom

    def check(self) -> tuple[DamagedTile, ...]:
        """Decode every tile of the file and return those that are damaged."""
        found: list[DamagedTile] = []
        for tile in self._touched(self.whole):
            self._decode([tile])
            self._tile(tile, {}, found)
        return tuple(found)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _touched(self, window: Window) -> Iterator[Place]:
        """Row and column of every tile that shares a pixel with a window."""
        side = self.header.tile or max(self.header.size)
        for row in range(window.row // side, (window.row + window.height - 1) // side + 1):
            for column in range(window.column // side, (window.column + window.width - 1) // side + 1):
                yield row, column

    def _beside(self, tile: Place, window: Window) -> dict[str, Place]:
        """The sides of a tile at which the window comes so near to a neighbour that this one matters."""
        place = self.header.tile_window(*tile)
        both = _common(place, window)
        distances = {
            "above": both.row - place.row,
            "below": place.row + place.height - both.row - both.height,
            "left": both.column - place.column,
            "right": place.column + place.width - both.column - both.width,
        }
        rows, columns = self.header.tile_grid
        near = {side: (tile[0] + SIDES[side][0], tile[1] + SIDES[side][1]) for side in SIDES}
        return {
            side: (row, column)
            for side, (row, column) in near.items()
            if distances[side] < self._reach and 0 <= row < rows and 0 <= column < columns
        }

    def _decode(self, tiles: Iterable[Place]) -> None:
        """Have these tiles decoded, and no others kept: the next strip finds those that it shares with this one."""
        kept = {tile: self._decoded[tile] for tile in tiles if tile in self._decoded}
        missing = [tile for tile in dict.fromkeys(tiles) if tile not in kept]
        contents = [self._content(tile) for tile in missing]
        with ThreadPoolExecutor(THREADS, "eorestore-tiles") as pool:
            decoded = pool.map(self._unpacked, missing, contents)
            self._decoded = {**kept, **dict(zip(missing, decoded, strict=True))}

    def _content(self, tile: Place) -> bytes | CodecError:
        try:
            return self._container.tile(*tile)
        except CodecError as error:
            return error

    def _unpacked(self, tile: Place, content: bytes | CodecError) -> Observed | DamagedTile:
        place = self.header.tile_window(*tile)
        try:
            if isinstance(content, CodecError):
                raise content
            observed = self.pipe.unpack(content, place.size)
        except CodecError as error:
            return DamagedTile(*tile, place, error.message)
        return replace(observed, values=observed.values.astype(np.float32)) if self._reach else observed

    def _tile(self, tile: Place, beside: Mapping[str, Place], found: list[DamagedTile]) -> NDArray[Any]:
        """Stored values of a tile that was decoded; where it is damaged it is added to `found`, and they are gaps."""
        observed = self._decoded[tile]
        if isinstance(observed, Observed):
            lines = {
                side: line_at(neighbour, OPPOSITE[side])
                for side, place in beside.items()
                if isinstance(neighbour := self._decoded[place], Observed)
            }
            try:
                return self.pipe.stored(smoothed(observed, lines, step=self.pipe.step) if lines else observed)
            except CodecError as error:
                observed = DamagedTile(*tile, self.header.tile_window(*tile), error.message)
        found.append(observed)
        mark = own_mark(self.header.encoding)
        if np.dtype(self.pipe.dtype).kind != "f" and not np.isfinite(mark):
            mark = 0.0
        return np.full((len(self.bands), *observed.window.size), mark).astype(self.pipe.dtype)

    def _check(self, window: Window) -> None:
        height, width = self.header.size
        inside = 0 <= window.row < window.row + window.height <= height
        if not (inside and 0 <= window.column < window.column + window.width <= width):
            raise DataError(
                f"the window of rows {window.row} to {window.row + window.height - 1}, columns {window.column} to "
                f"{window.column + window.width - 1} does not lie in the scene of {height} x {width} pixels",
                fix="give COL ROW WIDTH HEIGHT inside it",
            )


def _common(one: Window, other: Window) -> Window:
    """The pixels of both windows, which share some."""
    top, left = max(one.row, other.row), max(one.column, other.column)
    bottom = min(one.row + one.height, other.row + other.height)
    right = min(one.column + one.width, other.column + other.width)
    return Window(top, left, bottom - top, right - left)


def damage_error(found: Sequence[DamagedTile]) -> CodecError:
    """One error for all damaged tiles."""
    some = "; ".join(str(tile) for tile in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return CodecError(
        f"{len(found)} damaged tile{'s' if len(found) > 1 else ''}: {some}{more}",
        fix="take another copy of the file, or add --keep-going to write the intact tiles",
    )
