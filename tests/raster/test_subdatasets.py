"""Several rasters in one file for GDAL: NetCDF stands in for HDF4, which the GDAL of the tests may not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import netcdf_file

from eorestore.errors import BandError, GridError
from eorestore.raster import THERMAL, Window
from eorestore.raster.files.subdatasets import open_subdatasets
from eorestore.raster.products import Declared
from thermal_files import SIZE

NIGHT = Declared(bands=("LST_Night_1km",))


def write(path: Path, *, placed: bool = True) -> Path:
    with netcdf_file(path, "w") as file:
        file.createDimension("lat", SIZE[0])
        file.createDimension("lon", SIZE[1])
        if placed:
            latitude, longitude = (file.createVariable(name, "d", (name,)) for name in ("lat", "lon"))
            latitude[:], longitude[:] = 48.0 - 0.25 * np.arange(SIZE[0]), 5.0 + 0.25 * np.arange(SIZE[1])
            latitude.units, longitude.units = "degrees_north", "degrees_east"
            crs = file.createVariable("crs", "i", ())
            crs.grid_mapping_name, crs.semi_major_axis, crs.inverse_flattening = "latitude_longitude", 6378137.0, 298.25
        for name, first in (("LST_Day_1km", 290.0), ("LST_Night_1km", 280.0), ("Emis_31", 1.0)):
            stored = file.createVariable(name, "f", ("lat", "lon"))
            stored[:] = first + np.arange(np.prod(SIZE)).reshape(SIZE) / 100
            if placed:
                stored.grid_mapping = "crs"
            stored.units = "1" if name == "Emis_31" else "K"
    return path


def test_the_chosen_raster_is_read_with_its_place(tmp_path):
    band = open_subdatasets(write(tmp_path / "a.nc"), NIGHT, {}, anywhere=False)
    values = band.opened().read(Window(1, 2, 3, 4))
    expected = 280 + np.arange(np.prod(SIZE)).reshape(SIZE) / 100
    np.testing.assert_allclose(values[0], expected[1:4, 2:6], rtol=1e-6)
    assert (band.band.name, band.description, band.path.name) == (THERMAL.names[0], "LST_Night_1km", "a.nc")
    assert band.grid.transform == pytest.approx((0.25, 0, 4.875, 0, -0.25, 48.125))


def test_which_one_must_be_said_and_emissivity_is_none(tmp_path):
    with pytest.raises(BandError, match="several temperatures: LST_Day_1km, LST_Night_1km"):
        open_subdatasets(write(tmp_path / "a.nc"), Declared(), {}, anywhere=False)


def test_one_without_a_place_is_refused_where_that_matters(tmp_path):
    path = write(tmp_path / "a.nc", placed=False)
    with pytest.raises(GridError, match="no CRS"):
        open_subdatasets(path, NIGHT, {}, anywhere=False)
    assert open_subdatasets(path, NIGHT, {}, anywhere=True).grid.crs == ""
