"""Rasters on disk; with raster/align the only place that imports rasterio."""

from eorestore.raster.files.reading import Member, RasterFile, open_raster
from eorestore.raster.files.writing import RasterWriter, creation_options, write_raster

__all__ = ["Member", "RasterFile", "RasterWriter", "creation_options", "open_raster", "write_raster"]
