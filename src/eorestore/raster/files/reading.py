"""Windows in from a GeoTIFF or a folder of per-band files, on the finest grid or on one aligned to."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from eorestore.errors import DataError, GridError
from eorestore.raster.align import Method, check_overlap, warped
from eorestore.raster.bands import BandSet, canonical_name
from eorestore.raster.encoding import Encoding
from eorestore.raster.files.array_files import open_arrays
from eorestore.raster.files.sources import SourcedBand
from eorestore.raster.files.thermal_geotiff import in_memory, thermal_geotiff
from eorestore.raster.grid import Grid, Window
from eorestore.raster.products import Declared, FileFacts, acquisition_date, band_files, describe, folder_tags
from eorestore.raster.raster import Raster


@dataclass(frozen=True)
class Member:
    """One file behind a RasterFile and the grid it has by itself."""

    path: Path
    grid: Grid
    names: tuple[str, ...]


@dataclass(frozen=True)
class RasterFile:
    """A raster on disk, read by windows; safe to read from several threads (each has its own handle).

    grid: the finest of its members' grids, or the one it was aligned to, or a crop of that.
    descriptions: band names as the file spells them. notes: what was decided by rule, for the log. sourced: where its
    pixels come from if they are not the file's bands as GDAL reads them.
    """

    path: Path
    bands: BandSet
    encoding: Encoding
    base: Grid
    members: tuple[Member, ...]
    descriptions: tuple[str, ...]
    tags: Mapping[str, str]
    notes: tuple[str, ...]
    crop_window: Window | None = None
    gap: float | None = None
    method: Method = "smooth"
    facts: FileFacts | None = None
    band_index: int | None = None
    sourced: SourcedBand | None = None
    _handles: threading.local = field(default_factory=threading.local, compare=False, repr=False)

    @property
    def grid(self) -> Grid:
        """The grid on which windows are counted."""
        return self.base if self.crop_window is None else self.base.crop(self.crop_window)

    @property
    def encoding_to_write(self) -> Encoding:
        """The file's encoding with the nodata value that it declares itself, if any."""
        return replace(self.encoding, nodata=self.facts.nodata if self.facts else None)

    @property
    def declares_scale(self) -> bool:
        """Whether the file itself carries scale and offset."""
        return self.facts is not None and (self.facts.scale, self.facts.offset) != (1.0, 0.0)

    @property
    def date(self) -> datetime | None:
        """Date of acquisition, where tags or names say it."""
        return acquisition_date(self.path, self.tags)

    @property
    def resampled(self) -> tuple[str, ...]:
        """Names of the bands whose own grid differs from the one they are read on."""
        return tuple(name for member in self.members if not member.grid.same_as(self.base) for name in member.names)

    def crop(self, window: Window) -> RasterFile:
        """The same file, restricted to a window."""
        if self.crop_window is not None:
            window = replace(
                window, row=window.row + self.crop_window.row, column=window.column + self.crop_window.column
            )
        return replace(self, crop_window=window, _handles=threading.local())

    def member_file(self, index: int) -> RasterFile:
        """One member by itself, on its own grid, cropped to the same ground."""
        member = self.members[index]
        grid = member.grid if self.crop_window is None else member.grid.crop(member.grid.window(self.grid.bounds))
        file = replace(
            self,
            path=member.path,
            bands=self.bands.select(member.names),
            base=member.grid,
            members=(member,),
            descriptions=(self.descriptions[index],),
            crop_window=None,
            gap=None,
            _handles=threading.local(),
        )
        return file if grid is member.grid else file.crop(member.grid.window(self.grid.bounds))

    def only(self, index: int) -> RasterFile:
        """One band of a single file."""
        return replace(
            self,
            bands=BandSet((self.bands.bands[index],)),
            descriptions=(self.descriptions[index],),
            band_index=index + 1,
            _handles=threading.local(),
        )

    def aligned(self, grid: Grid, *, name: str, method: Method = "smooth") -> RasterFile:
        """The same file seen on another grid as float32; outside it is NaN. Raises GridError without overlap.

        name: what the other grid belongs to, for the message. method: `nearest` for classes.
        """
        share = check_overlap(grid, self.grid, name=name, other_name=self.path.name)
        notes = self.notes
        if share < 0.999:
            notes = (*notes, f"{self.path.name} covers {share:.1%} of {name}")
        if self.grid.same_as(grid):
            return replace(self, notes=notes)
        notes = (*notes, f"{self.path.name}: warped onto the grid of {name}")
        encoding = Encoding("float32", self.encoding.scale, self.encoding.offset, self.encoding.nodata)
        return replace(
            self,
            base=grid,
            crop_window=None,
            encoding=encoding,
            notes=notes,
            gap=float("nan"),
            method=method,
            _handles=threading.local(),
        )

    def read_raw(self, window: Window | None = None) -> NDArray[Any]:
        """Values as stored, (band, y, x). Raises DataError where the file cannot be read."""
        window = window or Window(0, 0, *self.grid.size)
        origin = self.crop_window or Window(0, 0, 0, 0)
        place = RasterioWindow(window.column + origin.column, window.row + origin.row, window.width, window.height)
        try:
            sources = self._sources()
            if self._reads_source:
                inner = Window(place.row_off, place.col_off, place.height, place.width)
                own: NDArray[Any] = sources[0].read(inner)
                return own
            if len(sources) == 1:
                chosen = None if self.band_index is None else [self.band_index]
                whole: NDArray[Any] = sources[0].read(chosen, window=place)
                return whole.astype(self.encoding.dtype, copy=False)
            raw = np.empty((len(self.bands), *window.size), dtype=self.encoding.dtype)
            for row, (source, member) in enumerate(zip(sources, self.members, strict=True)):
                raw[row] = self._read_member(source, member, place)
        except (RasterioError, OSError) as error:
            raise DataError(
                f"{self.path.name} cannot be read: {_first_line(error)}",
                fix="fetch the file again; it may be truncated",
            ) from None
        return raw

    def read(self, window: Window | None = None) -> Raster:
        """Physical values of a window (whole by default)."""
        window = window or Window(0, 0, *self.grid.size)
        raw = self.read_raw(window)
        return Raster(self.encoding.decode(raw), self.encoding.valid(raw), self.bands, self.grid.crop(window))

    def _read_member(self, source: Any, member: Member, place: RasterioWindow) -> NDArray[Any]:  # noqa: ANN401
        """One band of a folder; a coarse band that ends within the last pixels of the grid is continued there."""
        if self.gap is not None or member.grid.same_as(self.base):
            whole: NDArray[Any] = source.read(1, window=place)
            return whole
        rows, columns = _covered(self.base, member.grid)
        down = np.clip(np.arange(place.row_off, place.row_off + place.height), *rows)
        across = np.clip(np.arange(place.col_off, place.col_off + place.width), *columns)
        top, left = int(down[0]), int(across[0])
        inside = RasterioWindow(left, top, int(across[-1]) - left + 1, int(down[-1]) - top + 1)
        known: NDArray[Any] = source.read(1, window=inside)
        continued: NDArray[Any] = known[np.ix_(down - top, across - left)]
        return continued

    @property
    def _reads_source(self) -> bool:
        return self.sourced is not None and self.members[0].grid.same_as(self.base)

    def _sources(self) -> list[Any]:
        if not hasattr(self._handles, "sources"):
            sources = []
            for member in self.members:
                same = member.grid.same_as(self.base)
                if self._reads_source and self.sourced is not None:
                    sources.append(self.sourced.opened())
                    continue
                dataset = _opened(member.path) if self.sourced is None else in_memory(self.sourced)
                sources.append(dataset if same else warped(dataset, self.base, gap=self.gap, method=self.method))
            self._handles.sources = sources
        return self._handles.sources  # type: ignore[no-any-return]


def _opened(path: Path) -> Any:  # noqa: ANN401
    """A dataset; that it lies nowhere has been said, or allowed, when its facts were read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def _covered(grid: Grid, other: Grid) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, first and last column of `grid` whose centres lie on `other`."""
    left, bottom, right, top = other.bounds
    (first_row, first_column), (last_row, last_column) = grid.pixel(left, top), grid.pixel(right, bottom)
    rows = max(math.ceil(first_row - 0.5), 0), min(math.floor(last_row - 0.5), grid.height - 1)
    columns = max(math.ceil(first_column - 0.5), 0), min(math.floor(last_column - 0.5), grid.width - 1)
    return rows, columns


def open_raster(
    path: str | os.PathLike[str],
    *,
    declared: Declared | None = None,
    tags: Mapping[str, str] | None = None,
    anywhere: bool = False,
) -> RasterFile:
    """A GeoTIFF (any raster GDAL reads), a folder of per-band files or a thermal product, read by windows.

    declared: bands, unit and Sentinel-2 offset as the caller states them; otherwise tags and the rules of
    `raster.products` say them, and `notes` tells which. anywhere: also a file without a CRS, whose grid then has an
    empty one. Raises DataError, BandError, UnitError, GridError.
    """
    path, declared = Path(path), declared or Declared()
    os.environ.setdefault("GDAL_CACHEMAX", "64")
    if not path.exists():
        raise DataError(f"{path} does not exist", fix="check the path")
    band = open_arrays(path, declared, tags or {}, anywhere=anywhere)
    if band is not None:
        return from_source(path, band)
    if path.is_dir():
        return _open_folder(path, declared, tags or {})
    facts, grid = _facts(path, tags or {}, anywhere=anywhere)
    band = thermal_geotiff(facts, grid, declared)
    if band is not None:
        return from_source(path, band)
    bands, encoding, notes = describe(facts, declared)
    said = tuple(text or name for text, name in zip(facts.descriptions, bands.names, strict=True))
    return RasterFile(
        path, bands, encoding, grid, (Member(path, grid, bands.names),), said, facts.tags, tuple(notes), facts=facts
    )


def from_source(path: Path, band: SourcedBand) -> RasterFile:
    """A file whose one band comes from a source."""
    member = Member(band.path, band.grid, (band.band.name,))
    return RasterFile(
        path, BandSet((band.band,)), band.encoding, band.grid, (member,), (band.description,), band.tags, band.notes,
        facts=band.facts, sourced=band,
    )  # fmt: skip


def gdal_version() -> str:
    """Version of the GDAL library that rasterio brings."""
    return str(rasterio.__gdal_version__)


def _open_folder(folder: Path, declared: Declared, tags: Mapping[str, str]) -> RasterFile:
    files = band_files(folder)
    if declared.bands is not None:
        wanted = [canonical_name(name) for name in declared.bands]
        absent = [name for name in wanted if name not in files]
        if absent:
            raise DataError(f"{folder.name} has no file for {', '.join(absent)}", fix=f"it holds {', '.join(files)}")
        files = {name: files[name] for name in wanted}
    everything = {**folder_tags(folder), **tags}
    opened = {name: _facts(path, everything) for name, path in files.items()}
    finest = min((grid for _, grid in opened.values()), key=lambda grid: grid.pixel_size)
    members, units = [], []
    for name, (facts, grid) in opened.items():
        if facts.count != 1:
            raise DataError(f"{facts.path.name} has {facts.count} bands", fix="give one band a file in a folder")
        check_overlap(finest, grid, name=folder.name, other_name=facts.path.name)
        members.append(Member(facts.path, grid, (name,)))
        units.append(facts.units[0])
    first = next(iter(opened.values()))[0]
    dtypes = {facts.dtype for facts, _ in opened.values()}
    shared = dict(set.intersection(*(set(facts.tags.items()) for facts, _ in opened.values())))
    together = replace(
        first, path=folder, count=len(files), descriptions=tuple(files), units=tuple(units),
        dtype=str(np.result_type(*dtypes)), tags=shared,
    )  # fmt: skip
    bands, encoding, notes = describe(together, replace(declared, bands=None))
    file = RasterFile(
        folder, bands, encoding, finest, tuple(members), tuple(files), shared, tuple(notes), facts=together
    )
    if file.resampled:
        height, width = finest.size
        notes.append(f"{folder.name}: {', '.join(file.resampled)} resampled to {height} x {width} pixels (bilinear)")
    gap = None if encoding.is_integer else float("nan")
    return replace(file, notes=tuple(notes), gap=gap)


def _facts(path: Path, tags: Mapping[str, str], *, anywhere: bool = False) -> tuple[FileFacts, Grid]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                if source.crs is None and not anywhere:
                    raise GridError(f"{path.name} has no CRS", fix="georeference it: gdal_edit -a_srs EPSG:... FILE")
                kind = np.dtype(source.dtypes[0]).kind
                if kind not in "uif":
                    raise DataError(f"{path.name} holds {source.dtypes[0]} values", fix="give integers or floats")
                facts = FileFacts(
                    path, source.count, source.dtypes[0], source.nodata, source.descriptions, source.units,
                    source.scales[0], source.offsets[0], {**source.tags(), **tags},
                )  # fmt: skip
                if len(set(source.scales)) > 1 or len(set(source.offsets)) > 1:
                    raise DataError(f"{path.name} scales its bands differently", fix="store one scale and offset")
                crs = "" if source.crs is None else source.crs.to_wkt()
                grid = Grid(crs, tuple(source.transform)[:6], source.height, source.width)
    except (RasterioError, OSError) as error:
        raise DataError(f"{path} cannot be opened: {_first_line(error)}", fix="give a raster that GDAL reads") from None
    return facts, grid


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
