"""An .eoz file as pixels: any window by reading its tiles alone, damaged tiles named; knows no command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.container import ContainerReader
from eorestore.codec.decibel import own_mark
from eorestore.codec.tile import TilePipe
from eorestore.codec.tile_coder import coder_entry
from eorestore.errors import CodecError, DataError
from eorestore.raster import BandSet, Grid, Raster, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files.crs import wkt_of

_NAMED = 8  # damaged tiles that an error spells out


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
    """An open .eoz file. keep_going: damaged tiles become nodata and are listed in `damaged`, instead of an error.

    Raises DataError where the file is none, CodecError where its header is damaged or of a newer version.
    """

    def __init__(self, file: Path | BinaryIO, *, keep_going: bool = False) -> None:
        self.keep_going = keep_going
        self.damaged: dict[tuple[int, int], DamagedTile] = {}
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
        found: list[DamagedTile] = []
        for row, column in self._touched(window):
            place = self.header.tile_window(row, column)
            top, left = max(place.row, window.row), max(place.column, window.column)
            bottom = min(place.row + place.height, window.row + window.height)
            right = min(place.column + place.width, window.column + window.width)
            both = Window(top, left, bottom - top, right - left)
            inside, target = both.relative_to(place), both.relative_to(window)
            tile = self._tile(row, column, found)
            values[:, target.rows, target.columns] = tile[:, inside.rows, inside.columns]
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
        for row, column in self._touched(self.whole):
            self._tile(row, column, found)
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

    def _touched(self, window: Window) -> Iterator[tuple[int, int]]:
        """Row and column of every tile that shares a pixel with a window."""
        side = self.header.tile or max(self.header.size)
        for row in range(window.row // side, (window.row + window.height - 1) // side + 1):
            for column in range(window.column // side, (window.column + window.width - 1) // side + 1):
                yield row, column

    def _tile(self, row: int, column: int, found: list[DamagedTile]) -> NDArray[Any]:
        """Decoded values of a tile; where it is damaged it is added to `found` and its values are gaps."""
        place = self.header.tile_window(row, column)
        try:
            return self.pipe.decode(self._container.tile(row, column), place.size)
        except CodecError as error:
            found.append(DamagedTile(row, column, place, error.message))
        mark = own_mark(self.header.encoding)
        if np.dtype(self.pipe.dtype).kind != "f" and not np.isfinite(mark):
            mark = 0.0
        return np.full((len(self.bands), *place.size), mark).astype(self.pipe.dtype)

    def _check(self, window: Window) -> None:
        height, width = self.header.size
        inside = 0 <= window.row < window.row + window.height <= height
        if not (inside and 0 <= window.column < window.column + window.width <= width):
            raise DataError(
                f"the window of rows {window.row} to {window.row + window.height - 1}, columns {window.column} to "
                f"{window.column + window.width - 1} does not lie in the scene of {height} x {width} pixels",
                fix="give COL ROW WIDTH HEIGHT inside it",
            )


def damage_error(found: Sequence[DamagedTile]) -> CodecError:
    """One error for all damaged tiles."""
    some = "; ".join(str(tile) for tile in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return CodecError(
        f"{len(found)} damaged tile{'s' if len(found) > 1 else ''}: {some}{more}",
        fix="take another copy of the file, or add --keep-going to write the intact tiles",
    )
