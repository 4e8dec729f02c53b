"""xarray DataArrays in, Rasters out."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from eorestore.errors import BandError, GridError
from eorestore.raster import SENTINEL2_L1C, Unit
from eorestore.raster.arrays import raster_from_dataarray

xarray = pytest.importorskip("xarray")
pytest.importorskip("rioxarray")

VALUES = np.random.default_rng(0).uniform(0, 1, (2, 5, 7))


def array(values: np.ndarray = VALUES, *, names: tuple[str, ...] = ("B2", "B8A")) -> xarray.DataArray:
    x, y = 600_005.0 + 10 * np.arange(7), 5_299_995.0 - 10 * np.arange(5)
    whole = xarray.DataArray(values, dims=("band", "y", "x"), coords={"band": list(names), "y": y, "x": x})
    return whole.rio.write_crs("EPSG:32632")


def test_values_names_and_place_are_kept():
    raster = raster_from_dataarray(array(), Unit.REFLECTANCE)
    np.testing.assert_allclose(raster.values, VALUES, rtol=1e-6)
    assert raster.values.dtype == np.float32
    assert raster.bands == SENTINEL2_L1C.select(["B02", "B8A"])
    assert rasterio.crs.CRS.from_wkt(raster.grid.crs) == rasterio.crs.CRS.from_epsg(32632)
    assert raster.grid.bounds == (600_000.0, 5_299_950.0, 600_070.0, 5_300_000.0)
    assert raster.valid.all()


def test_nan_in_any_band_makes_a_pixel_invalid_and_stays_out_of_the_values():
    values = VALUES.copy()
    values[1, 2, 3] = np.nan
    raster = raster_from_dataarray(array(values), Unit.REFLECTANCE)
    assert not raster.valid[2, 3]
    assert raster.valid.sum() == 34
    assert np.isfinite(raster.values).all()


def test_the_array_is_left_alone():
    values = VALUES.astype(np.float32)
    values[0, 0, 0] = np.nan
    raster_from_dataarray(array(values), Unit.REFLECTANCE)
    assert np.isnan(values[0, 0, 0])


def test_the_unit_is_that_of_the_caller():
    raster = raster_from_dataarray(array(names=("vv", "vh")), Unit.POWER)
    assert [(band.name, band.unit) for band in raster.bands] == [("VV", Unit.POWER), ("VH", Unit.POWER)]


def test_an_array_without_bands_is_refused():
    with pytest.raises(BandError, match="dimensions"):
        raster_from_dataarray(array().isel(band=0), Unit.REFLECTANCE)


def test_an_array_without_crs_is_refused():
    bare = xarray.DataArray(VALUES, dims=("band", "y", "x"), coords={"band": ["B02", "B03"]})
    with pytest.raises(GridError, match="no CRS"):
        raster_from_dataarray(bare, Unit.REFLECTANCE)
