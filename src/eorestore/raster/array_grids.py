"""Where the pixels of an HDF5 or NetCDF variable lie: HDF-EOS metadata and CF coordinates; opens no file.

CRSs are given as text that PROJ reads: a code, a PROJ string or WKT. Swaths, whose pixels have a place each, have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.raster.grid import Transform

LONGITUDE_LATITUDE = "EPSG:4326"
_UNEVEN = 0.05  # pixels by which a coordinate may leave its place on an even axis


@dataclass(frozen=True)
class Axis:
    """A one-dimensional coordinate in physical values, with its name and attributes."""

    name: str
    values: NDArray[np.float64]
    attributes: Mapping[str, Any]

    def is_called(self, *names: str) -> bool:
        """Whether its name or its standard_name is one of those."""
        return self.name.lower() in names or str(self.attributes.get("standard_name", "")).lower() in names


def eos_grid(text: str, name: str, size: tuple[int, int]) -> tuple[Transform, str] | None:
    """Transform and CRS of the HDF-EOS grid called `name` after StructMetadata; None where it is no known grid.

    Corners are metres of a sinusoidal projection, or packed degrees (DDDMMMSSS.SS) of a geographic one.
    """
    block = next((part for part in text.split("GROUP=GRID_")[1:] if f'GridName="{name}"' in part), "")
    corners = [
        re.search(rf"{key}=\(\s*([-+\d.eE]+)\s*,\s*([-+\d.eE]+)\s*\)", block)
        for key in ("UpperLeftPointMtrs", "LowerRightMtrs")
    ]
    if corners[0] is None or corners[1] is None:
        return None
    left, top, right, bottom = (float(corner[index]) for corner in corners if corner for index in (1, 2))
    if re.search(r"Projection=\w*GCTP_SNSOID", block):
        radius = re.search(r"ProjParams=\(\s*([\d.eE+]+)", block)
        crs = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={radius[1] if radius else '6371007.181'} +units=m +no_defs"
    elif re.search(r"Projection=\w*GCTP_GEO", block):
        left, top, right, bottom = (_degrees(value) for value in (left, top, right, bottom))
        crs = LONGITUDE_LATITUDE
    else:
        return None
    height, width = size
    return ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top), crs


def mapped_grid(mapping: Mapping[str, Any], x: Axis | None, y: Axis | None) -> tuple[Transform, str] | None:
    """Transform and CRS after the attributes of a CF grid mapping and its even axes; None where they do not say it.

    A GeoTransform as GDAL writes it needs no axes. Angles of a geostationary view become metres: x times the height.
    """
    crs = next((str(mapping[key]) for key in ("crs_wkt", "spatial_ref") if mapping.get(key)), "")
    kind = str(mapping.get("grid_mapping_name", "")).lower()
    if "GeoTransform" in mapping and crs:
        numbers = [float(number) for number in str(mapping["GeoTransform"]).split()]
        if len(numbers) == 6:
            c, a, b, f, d, e = numbers
            return (a, b, c, d, e, f), crs
    if x is None or y is None:
        return None
    factor = 1.0
    if kind == "geostationary":
        height = float(mapping["perspective_point_height"])
        in_radians = str(x.attributes.get("units", "rad")).lower().startswith("rad")
        factor = height if in_radians else 1.0
        crs = crs or (
            f"+proj=geos +h={height:.12g} +lon_0={float(mapping['longitude_of_projection_origin']):.12g}"
            f" +sweep={mapping.get('sweep_angle_axis', 'y')} +a={float(mapping.get('semi_major_axis', 6378137.0)):.12g}"
            f" +b={float(mapping.get('semi_minor_axis', 6356752.31414)):.12g} +units=m +no_defs"
        )
    elif kind == "latitude_longitude":
        crs = crs or LONGITUDE_LATITUDE
    transform = even_transform(x.values * factor, y.values * factor)
    return None if transform is None or not crs else (transform, crs)


def even_transform(x: NDArray[np.float64], y: NDArray[np.float64]) -> Transform | None:
    """The transform of pixels whose centres have these coordinates; None where steps are not even."""
    steps = []
    for values in (x, y):
        if len(values) < 2 or not np.isfinite(values).all() or values[0] == values[-1]:
            return None
        step = float(values[-1] - values[0]) / (len(values) - 1)
        even = values[0] + step * np.arange(len(values))
        if float(np.abs(values - even).max()) > _UNEVEN * abs(step):
            return None
        steps.append(step)
    across, down = steps
    return across, 0.0, float(x[0]) - across / 2, 0.0, down, float(y[0]) - down / 2


def _degrees(packed: float) -> float:
    """Degrees from DDDMMMSSS.SS."""
    size = abs(packed)
    whole, minutes, seconds = size // 1e6, size % 1e6 // 1e3, size % 1e3
    return float(np.copysign(whole + minutes / 60 + seconds / 3600, packed))
