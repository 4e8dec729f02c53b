"""What is compressed: pixels read by windows with bands, grid, encoding and tags, from a file or a Raster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from numpy.typing import NDArray

from eorestore.raster import BandSet, Grid, MemoryPixels, Pixels, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import RasterFile

_OURS = ("STATISTICS", "AREA_OR_POINT")


class Source(Pixels, Protocol):
    """Pixels by windows, and what else is known of the scene; the nodata value as it stands in the file."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What else is known of the scene."""


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
class RasterSource(MemoryPixels):
    """A Raster in memory; its invalid pixels are NaN."""

    tags: Mapping[str, str] = field(default_factory=dict)
