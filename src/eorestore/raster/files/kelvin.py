"""A thermal file of integers as one of float32 kelvin, window by window; knows no product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eorestore.raster.bands import Unit
from eorestore.raster.files.reading import RasterFile, from_source
from eorestore.raster.files.sources import KELVIN, SourcedBand
from eorestore.raster.grid import Window


def in_kelvin(file: RasterFile) -> RasterFile:
    """The file with one thermal band as float32 kelvin, NaN where not valid; itself where it is so, or is none.

    A result written in the file's own integers could agree with it no better than to half a step.
    """
    thermal = len(file.bands) == 1 and file.bands.bands[0].unit is Unit.KELVIN
    if not thermal or not file.encoding.is_integer:
        return file
    band = SourcedBand(
        file.members[0].path,
        file.bands.bands[0],
        file.descriptions[0],
        KELVIN,
        file.grid,
        lambda: _Decoded(file),
        file.notes,
        file.tags,
    )
    return from_source(file.path, band)


@dataclass(frozen=True)
class _Decoded:
    """Kelvin of a file of integers."""

    file: RasterFile

    def read(self, window: Window) -> NDArray[np.float32]:
        """Kelvin (band, y, x), NaN where there is none."""
        raw = self.file.read_raw(window)
        kelvin = self.file.encoding.decode(raw).astype(np.float32)
        return np.where(self.file.encoding.valid(raw), kelvin, np.float32(np.nan))
