"""What is compressed: pixels read by windows with bands, grid, encoding and tags, from a file or a Raster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eorestore.raster import BandSet, Grid, Raster, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import RasterFile

_OURS = ("STATISTICS", "AREA_OR_POINT")


class Source(Protocol):
    """Pixels by windows; encoding: what the values mean, and the nodata value as it stands in the file."""

    @property
    def bands(self) -> BandSet:
        """Bands in the order of the values."""
        ...

    @property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        ...

    @property
    def encoding(self) -> Encoding:
        """What stored values mean."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """What else is known of the scene."""
        ...

    def read_raw(self, window: Window | None = None) -> NDArray[Any]:
        """Stored values (band, y, x) of a window."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A raster on disk. nodata: declared by the caller where the file declares none."""

    file: RasterFile
    nodata: float | None = None

    @property
    def bands(self) -> BandSet:
        """Bands as the file, or the caller, names them."""
        return self.file.bands

    @property
    def grid(self) -> Grid:
        """The file's grid."""
        return self.file.grid

    @property
    def encoding(self) -> Encoding:
        """The file's own: scales that a product's rule supplies are not part of it."""
        own = self.file.encoding_to_write
        if not self.file.declares_scale:
            own = replace(own, scale=1.0, offset=0.0)
        return own if self.nodata is None else replace(own, nodata=self.nodata)

    @property
    def tags(self) -> Mapping[str, str]:
        """The file's tags, without statistics of pixels, which may change."""
        return {key: text for key, text in self.file.tags.items() if not key.startswith(_OURS)}

    def read_raw(self, window: Window | None = None) -> NDArray[Any]:
        """Stored values of a window. Raises DataError."""
        return self.file.read_raw(window)


@dataclass(frozen=True)
class RasterSource:
    """A Raster in memory; its invalid pixels are NaN."""

    raster: Raster
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def encoding(self) -> Encoding:
        """float32 with NaN as nodata."""
        return Encoding("float32", nodata=float("nan"))

    @property
    def bands(self) -> BandSet:
        """The raster's bands."""
        return self.raster.bands

    @property
    def grid(self) -> Grid:
        """The raster's grid."""
        return self.raster.grid

    def read_raw(self, window: Window | None = None) -> NDArray[Any]:
        """Values of a window, NaN where not valid."""
        part = self.raster if window is None else self.raster.crop(window)
        return np.where(part.valid, part.values, np.float32(np.nan))
