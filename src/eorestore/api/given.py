"""What callers may give: paths, Rasters, DataArrays."""

from __future__ import annotations

import os
from typing import Any

from eorestore.raster import Raster, Unit

PathLike = str | os.PathLike[str]


def as_raster(array: Any, unit: Unit) -> Raster:  # noqa: ANN401 - a DataArray, whose package is optional
    """A Raster itself, or a DataArray in `unit` as one. Raises BandError, GridError."""
    if isinstance(array, Raster):
        return array
    from eorestore.raster.arrays import raster_from_dataarray

    return raster_from_dataarray(array, unit)
