"""xarray DataArrays as Rasters; xarray itself is not imported, the array brings what is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import BandError, GridError
from eorestore.raster.bands import Band, BandSet, Unit, canonical_name, known_band
from eorestore.raster.grid import Grid
from eorestore.raster.raster import Raster


def raster_from_dataarray(array: Any, unit: Unit) -> Raster:  # noqa: ANN401 - the package is optional
    """A DataArray (band, y, x) with a `band` coordinate of names and a CRS (`.rio`) as a Raster in `unit`.

    NaN in any band makes a pixel invalid. Raises BandError and GridError.
    """
    if array.ndim != 3 or "band" not in array.coords:
        raise BandError(
            f"the array has dimensions {tuple(array.dims)}", fix="give (band, y, x) with a band coordinate of names"
        )
    names = [canonical_name(str(name)) for name in array.coords["band"].values]
    bands = BandSet(tuple(_band(name, unit) for name in names))
    accessor = getattr(array, "rio", None)
    if accessor is None or accessor.crs is None:
        raise GridError("the array has no CRS", fix="import rioxarray and call .rio.write_crs(...)")
    transform = tuple(float(value) for value in tuple(accessor.transform())[:6])
    values = np.asarray(array.values, dtype=np.float32)
    valid: NDArray[np.bool_] = np.all(np.isfinite(values), axis=0)
    a, b, c, d, e, f = transform
    grid = Grid(accessor.crs.to_wkt(), (a, b, c, d, e, f), *values.shape[1:])
    return Raster(np.nan_to_num(values), valid, bands, grid)


def dataarray_like(array: Any, raster: Raster) -> Any:  # noqa: ANN401 - the package is optional
    """A Raster as a DataArray of the kind that `array` is; NaN where not valid.

    A raster of another size than the array's gets coordinates of its own.
    """
    values = np.where(raster.valid, raster.values, np.float32(np.nan)).astype(array.dtype)
    if array.shape == values.shape:
        return array.copy(data=values)
    a, b, c, d, e, f = raster.grid.transform
    rows, columns = (np.arange(side) + 0.5 for side in raster.grid.size)
    band, y, x = array.dims
    coords = {band: array.coords["band"].values} | ({y: e * rows + f, x: a * columns + c} if b == d == 0 else {})
    other = type(array)(values, dims=array.dims, coords=coords, attrs=array.attrs, name=array.name)
    affine = type(array.rio.transform())(a, b, c, d, e, f)
    return other.rio.write_crs(array.rio.crs).rio.write_transform(affine)


def _band(name: str, unit: Unit) -> Band:
    known = known_band(name)
    return Band(name, unit, known.wavelength if known else None)
