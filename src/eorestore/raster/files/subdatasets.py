"""Temperatures from files that hold several rasters for GDAL (HDF4-EOS): as far as the GDAL at hand reads them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eorestore.errors import DataError
from eorestore.raster.files.sources import KELVIN, SourcedBand, named, placeless
from eorestore.raster.files.thermal_geotiff import TiffSource
from eorestore.raster.grid import Grid
from eorestore.raster.products import Declared
from eorestore.raster.thermal_products import Conversion, Product, choose_variable, hdf_product


def open_subdatasets(path: Path, declared: Declared, tags: Mapping[str, str], *, anywhere: bool) -> SourcedBand:
    """The temperature among the rasters of a file, chosen by the rules for HDF5, as float32 kelvin.

    Raises DataError where this GDAL does not read the format, BandError, UnitError, GridError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as whole:
                places = {place.rpartition(":")[2].strip('/"'): place for place in whole.subdatasets}
            found, grids = {}, {}
            for name, place in places.items():
                product, grid = _facts(name, place)
                if grid is not None:
                    found[name], grids[name] = product, grid
    except (RasterioError, OSError):
        raise DataError(
            f"{path.name} is HDF4, which is not read by GDAL {rasterio.__gdal_version__} as it is installed",
            fix="fetch the product as HDF5, NetCDF or GeoTIFF, or convert it: gdal_translate of a GDAL with HDF4",
        ) from None
    chosen = choose_variable(path.name, found, declared)
    product, grid = found[chosen] or Product("temperature as declared", Conversion(), "uif"), grids[chosen]
    told: list[str] = []
    if not grid.crs:
        grid, told = placeless(grid.size, file=path.name, anywhere=anywhere)
    return SourcedBand(
        path, named(product, declared, by_variable=True), chosen, KELVIN, grid,
        partial(TiffSource, places[chosen], product.conversion, None, {}),
        (*product.notes(f"{path.name}: {chosen}"), *told), tags,
    )  # fmt: skip


def _facts(name: str, place: str) -> tuple[Product | None, Grid | None]:
    """What a raster holds by rule, and where it lies; no grid for one that is no plane of numbers."""
    with rasterio.open(place) as source:
        dtype = np.dtype(source.dtypes[0])
        if source.count != 1 or dtype.kind not in "uif":
            return None, None
        product = hdf_product(name, dtype, {"units": source.units[0] or "", **source.tags(1)})
        crs = "" if source.crs is None else source.crs.to_wkt()
        return product, Grid(crs, tuple(source.transform)[:6], source.height, source.width)
