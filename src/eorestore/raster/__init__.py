"""Pixels with their place and their meaning: bands, grid, values, valid mask, files."""

from eorestore.raster.bands import (
    RGB,
    SENTINEL1,
    SENTINEL2_10M,
    SENTINEL2_20M,
    SENTINEL2_L1C,
    SENTINEL2_L2A,
    THERMAL,
    Band,
    BandSet,
    Unit,
)
from eorestore.raster.grid import Grid, Window
from eorestore.raster.pixels import MemoryPixels, Pixels
from eorestore.raster.raster import Raster

__all__ = [
    "RGB",
    "SENTINEL1",
    "SENTINEL2_10M",
    "SENTINEL2_20M",
    "SENTINEL2_L1C",
    "SENTINEL2_L2A",
    "THERMAL",
    "Band",
    "BandSet",
    "Grid",
    "MemoryPixels",
    "Pixels",
    "Raster",
    "Unit",
    "Window",
]
