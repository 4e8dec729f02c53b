"""Rasters on disk; with raster/align the only place that imports rasterio."""

from eorestore.raster.files.reading import Member, RasterFile, gdal_version, open_raster
from eorestore.raster.files.writing import RasterWriter, creation_options, write_raster

__all__ = ["Member", "RasterFile", "RasterWriter", "creation_options", "gdal_version", "open_raster", "write_raster"]
