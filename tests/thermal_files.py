"""Small thermal products in their documented layouts; pixel values are drawn, layouts are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import rasterio
from rasterio.transform import Affine
from scipy.io import netcdf_file

SIZE = (12, 10)
UTM = rasterio.crs.CRS.from_epsg(32617)

STRUCT = """GROUP=SwathStructure
END_GROUP=SwathStructure
GROUP=GridStructure
\tGROUP=GRID_1
\t\tGridName="VIIRS_Grid_Daily_1km_LST21"
\t\tXDim=10
\t\tYDim=12
\t\tUpperLeftPointMtrs=(0.000000,5559752.598333)
\t\tLowerRightMtrs=(1111950.519667,4447802.078667)
\t\tProjection=HE5_GCTP_SNSOID
\t\tProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)
\t\tSphereCode=-1
\tEND_GROUP=GRID_1
END_GROUP=GridStructure
END
"""

MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = IMAGE_ATTRIBUTES
    DATE_ACQUIRED = 2021-07-04
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    RADIANCE_MULT_BAND_10 = 3.3420E-04
    RADIANCE_ADD_BAND_10 = 0.10000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
  GROUP = LEVEL1_THERMAL_CONSTANTS
    K1_CONSTANT_BAND_10 = 774.8853
    K2_CONSTANT_BAND_10 = 1321.0789
  END_GROUP = LEVEL1_THERMAL_CONSTANTS
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def numbers(low: int, high: int, dtype: str = "uint16", size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, size).astype(dtype)


def tiff(
    path: Path, values: np.ndarray, *, names=None, units=None, scale=None, offset=None, tags=None, **profile
) -> Path:
    values = values if values.ndim == 3 else values[None]
    whole = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
        "dtype": values.dtype, "crs": UTM, "transform": Affine(30, 0, 600_000, 0, -30, 4_200_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **(whole | profile)) as file:
        file.write(values)
        if names:
            file.descriptions = names
        if units:
            file.units = units
        if scale is not None:
            file.scales, file.offsets = [scale] * len(values), [offset or 0.0] * len(values)
        file.update_tags(**(tags or {}))
    return path


def hdf(path: Path, variables: Mapping[str, tuple[np.ndarray, Mapping[str, object]]], **attributes) -> Path:
    """Variables by path, each with its attributes."""
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for name, (values, told) in variables.items():
            chunked = {"chunks": True, "compression": "gzip"} if np.ndim(values) == 2 else {}
            file.create_dataset(name, data=values, **chunked).attrs.update(told)
    return path


def ecostress(path: Path, values: np.ndarray, quality: np.ndarray | None = None) -> Path:
    """L2 LSTE of version 1: a swath in the group SDS."""
    flags = np.zeros(values.shape, np.uint16) if quality is None else quality
    error = np.full(values.shape, 25, np.uint8)
    return hdf(
        path,
        {
            "SDS/LST": (values, {"units": "K", "scale_factor": 1.0}),
            "SDS/LST_err": (error, {"units": "K"}),
            "SDS/QC": (flags, {}),
        },
    )


def viirs(path: Path, values: np.ndarray) -> Path:
    """VNP21A1D: an HDF-EOS5 grid of tile h18v04."""
    fields = "HDFEOS/GRIDS/VIIRS_Grid_Daily_1km_LST21/Data Fields"
    return hdf(
        path,
        {
            f"{fields}/LST_1KM": (values, {"units": "K", "_FillValue": np.uint16(0)}),
            f"{fields}/QC": (np.zeros(values.shape, np.uint16), {}),
            "HDFEOS INFORMATION/StructMetadata.0": (np.bytes_(STRUCT), {}),
        },
    )


def slstr(folder: Path, values: np.ndarray) -> Path:
    """SL_2_LST: a folder of NetCDF files, packed by the CF conventions."""
    folder.mkdir()
    packed = {"scale_factor": 0.002, "add_offset": 290.0, "_FillValue": np.int16(-32768), "units": "K"}
    error = {"scale_factor": 0.002, "_FillValue": np.int16(-32768), "units": "K"}
    hdf(
        folder / "LST_in.nc",
        {"LST": (values, packed), "LST_uncertainty": (np.full(values.shape, 500, np.int16), error)},
        start_time="2022-08-01T10:11:12.000000Z",
    )
    return folder


def goes(path: Path, values: np.ndarray, quality: np.ndarray, x: np.ndarray, y: np.ndarray) -> Path:
    """ABI L2 CMIP of a thermal channel: packed int16 that means uint16, angles in radians, DQF."""
    packed = {
        "scale_factor": np.float32(0.05), "add_offset": np.float32(150.0), "_FillValue": np.int16(-1),
        "_Unsigned": "true", "units": "K", "grid_mapping": "goes_imager_projection",
    }  # fmt: skip
    mapping = {
        "grid_mapping_name": "geostationary", "perspective_point_height": 35786023.0, "sweep_angle_axis": "x",
        "semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.31414, "longitude_of_projection_origin": -75.0,
    }  # fmt: skip

    def angle(values: np.ndarray, name: str) -> tuple[np.ndarray, dict[str, object]]:
        step = (values[-1] - values[0]) / (len(values) - 1)
        told = {"units": "rad", "standard_name": name, "scale_factor": step, "add_offset": values[0]}
        return np.arange(len(values), dtype=np.int16), told

    return hdf(
        path,
        {
            "CMI": (values.view(np.int16), packed),
            "DQF": (quality.astype(np.int8), {"_FillValue": np.int8(-1), "_Unsigned": "true"}),
            "x": angle(x, "projection_x_coordinate"),
            "y": angle(y, "projection_y_coordinate"),
            "goes_imager_projection": (np.int32(0), mapping),
            "min_brightness_temperature": (np.float32(200), {"units": "K"}),
        },
        time_coverage_start="2023-05-06T12:00:20.1Z",
    )


def amsr2(path: Path, channels: Mapping[str, np.ndarray]) -> Path:
    """L1B: a swath for each channel."""
    names = {f"Brightness Temperature ({channel})": values for channel, values in channels.items()}
    attributes = {"SCALE FACTOR": np.float32(0.01), "UNIT": "K"}
    return hdf(path, {name: (values, attributes) for name, values in names.items()})


def classic(path: Path, values: np.ndarray, *, unit: str, **attributes) -> Path:
    """NetCDF-3 on even longitudes and latitudes, as climate data come."""
    with netcdf_file(path, "w") as file:
        height, width = values.shape[-2:]
        file.createDimension("time", 1)
        file.createDimension("lat", height)
        file.createDimension("lon", width)
        latitude, longitude = (file.createVariable(name, "d", (name,)) for name in ("lat", "lon"))
        latitude[:], longitude[:] = 48.0 - 0.25 * np.arange(height), 5.0 + 0.25 * np.arange(width)
        latitude.units, longitude.units = "degrees_north", "degrees_east"
        stored = file.createVariable("tas", values.dtype, ("time", "lat", "lon"))
        stored[:] = values[None]
        stored.units = unit
        for name, value in attributes.items():
            setattr(stored, name, value)
    return path
