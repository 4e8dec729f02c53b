"""Pixels that are no plain bands of a GDAL file: what a reader of them gives to a RasterFile; knows no format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import GridError
from eorestore.raster.bands import Band, canonical_name
from eorestore.raster.encoding import Encoding
from eorestore.raster.grid import Grid, Window
from eorestore.raster.products import Declared, FileFacts
from eorestore.raster.thermal_products import INFRARED, Conversion, Product, Quality

KELVIN = Encoding("float32", nodata=float("nan"))
_COUNTED = 1 << 22  # pixels up to which those outside the range are counted on opening


class PixelSource(Protocol):
    """An open file that gives raw values by window."""

    def read(self, window: Window) -> NDArray[Any]:
        """Raw values (band, y, x) of a window of the whole file."""


@dataclass(frozen=True)
class SourcedBand:
    """One band behind a PixelSource, with what a RasterFile says of it.

    path: the file on disk. opened: opens the source, once for each thread. encoding: of what the source gives.
    """

    path: Path
    band: Band
    description: str
    encoding: Encoding
    grid: Grid
    opened: Callable[[], PixelSource]
    notes: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def facts(self) -> FileFacts:
        """The band as a file of its own would state it."""
        coded = self.encoding
        return FileFacts(
            self.path, 1, coded.dtype, coded.nodata, (self.description,), (str(self.band.unit),), coded.scale,
            coded.offset, self.tags,
        )  # fmt: skip


@dataclass(frozen=True)
class ArraySource:
    """Kelvin from a stored array that is sliced like one of numpy (h5py, a memory map), with its quality layer.

    values: (..., y, x) where all axes before the last two have length 1.
    """

    values: Any
    conversion: Conversion
    flags: Any = None
    quality: Quality | None = None
    unsigned: bool = False

    def read(self, window: Window) -> NDArray[np.float32]:
        """Kelvin (1, y, x), NaN where there is none."""
        kelvin = self.conversion.kelvin(self.stored(window))
        if self.flags is not None and self.quality is not None:
            flags = np.asarray(self.flags[_place(self.flags, window)])
            kelvin[self.quality.is_missing(flags)] = np.nan
        return kelvin[None]

    def stored(self, window: Window) -> NDArray[Any]:
        """Numbers (y, x) as they are stored."""
        stored = np.asarray(self.values[_place(self.values, window)])
        return stored.view(stored.dtype.str.replace("i", "u")) if self.unsigned else stored


def range_note(source: ArraySource, size: tuple[int, int], *, file: str) -> list[str]:
    """How many pixels hold a number that is no possible temperature; nothing of large files and of microwaves."""
    if size[0] * size[1] > _COUNTED or source.conversion.limits != INFRARED:
        return []
    count = int(source.conversion.is_outside(source.stored(Window(0, 0, *size))).sum())
    return [f"{file}: {count} pixels are outside the range and count as missing"] if count else []


def placeless(size: tuple[int, int], *, file: str, anywhere: bool) -> tuple[Grid, list[str]]:
    """A grid without a CRS for an array that lies on none, and a note. Raises GridError where that will not do."""
    if not anywhere:
        raise GridError(
            f"{file} has no CRS: its pixels lie on no regular grid",
            fix="enlarge it as it is, or put it on a grid first (a GeoTIFF with a CRS)",
        )
    note = f"{file}: no regular grid (a swath or a plain array), so the result has no georeference"
    return Grid("", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), *size), [note]


def named(product: Product, declared: Declared, *, by_variable: bool) -> Band:
    """The band under the name that the caller gives it; where names choose a variable the product's own."""
    if by_variable or declared.bands is None:
        return product.band
    return Band(canonical_name(declared.bands[0]), product.band.unit, product.band.wavelength)


def _place(values: Any, window: Window) -> tuple[int | slice, ...]:  # noqa: ANN401 - a dataset or an array
    return (*(0,) * (len(values.shape) - 2), window.rows, window.columns)
