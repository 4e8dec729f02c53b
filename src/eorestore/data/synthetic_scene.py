"""An invented place as Sentinel-2 and Sentinel-1 would see it, on a true grid; for the demo and the tests, no file."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eorestore.data.synthetic_land import draw_land
from eorestore.data.synthetic_signatures import backscatter, reflectance
from eorestore.errors import ConfigError
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, Grid, Raster

UTM_32N = (
    'PROJCS["WGS 84 / UTM zone 32N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",0],'
    'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH],'
    'AUTHORITY["EPSG","32632"]]'
)
"""EPSG:32632 as well-known text, written out so that no GIS library is needed."""

_PIXEL_M = 10.0
_LEAST = 32


@dataclass(frozen=True)
class SceneSettings:
    """What the invented place is like.

    looks: number of looks of the SAR speckle (Sentinel-1 GRD has 4 to 5). relief_m: metres from valley to hills.
    towns: settlements, the first of them a town, the others villages; 0 or more.
    sun_zenith_deg, sun_azimuth_deg (clockwise from north): for the shading of slopes.
    """

    looks: float = 5.0
    relief_m: float = 120.0
    towns: int = 3
    sun_zenith_deg: float = 40.0
    sun_azimuth_deg: float = 150.0

    def __post_init__(self) -> None:
        if self.looks <= 0 or self.relief_m < 0 or self.towns < 0:
            raise ConfigError(
                f"looks {self.looks}, relief_m {self.relief_m}, towns {self.towns}",
                fix="give a positive number of looks, and no negative relief or towns",
            )
        if not self.sun_zenith_deg >= 0 or self.sun_zenith_deg > 80:
            raise ConfigError(f"sun_zenith_deg is {self.sun_zenith_deg}", fix="keep the sun within 80 degrees")


@dataclass(frozen=True)
class SyntheticScene:
    """optical: 13 bands of L1C reflectance; sar: VV, VH in decibel, on the same grid.

    landcover: (y, x) uint8, values of `LandCover`. height: (y, x) float32, metres.
    """

    optical: Raster
    sar: Raster
    landcover: NDArray[np.uint8]
    height: NDArray[np.float32]


def synthetic_scene(
    size: tuple[int, int],
    *,
    generator: np.random.Generator,
    settings: SceneSettings | None = None,
) -> SyntheticScene:
    """An invented clear scene of (height, width) pixels at 10 m in UTM zone 32 north.

    The same generator state gives the same place. Raises ConfigError for sides below 32 pixels.
    """
    if min(size) < _LEAST:
        raise ConfigError(f"a scene of {size[0]} x {size[1]} pixels is too small", fix=f"use at least {_LEAST}")
    settings = settings or SceneSettings()
    sun = math.radians(settings.sun_zenith_deg), math.radians(settings.sun_azimuth_deg)
    land = draw_land(size, relief_m=settings.relief_m, towns=settings.towns, generator=generator)
    # Corners on multiples of 60 m, so that pixels of 10, 20 and 60 m begin together, as in a Sentinel-2 tile.
    east, north = 600_000 + 60 * generator.integers(0, 800), 5_300_040 + 60 * generator.integers(0, 800)
    grid = Grid(UTM_32N, (_PIXEL_M, 0.0, float(east), 0.0, -_PIXEL_M, float(north)), *size)
    valid = np.ones(size, dtype=bool)
    optical = reflectance(land, sun=sun, pixel_m=_PIXEL_M, generator=generator)
    sar = backscatter(land, looks=settings.looks, pixel_m=_PIXEL_M, generator=generator)
    return SyntheticScene(
        optical=Raster(optical, valid, SENTINEL2_L1C, grid),
        sar=Raster(sar, valid.copy(), SENTINEL1, grid),
        landcover=land.cover,
        height=land.height,
    )
