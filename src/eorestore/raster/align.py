"""One raster onto the grid of another: overlap check and warping, block by block."""

from __future__ import annotations

import math
from typing import Literal

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from eorestore.errors import GridError
from eorestore.raster.grid import Grid

Method = Literal["smooth", "nearest", "most"]
_EXACT = 0.01  # pixels by which GDAL may be off where it approximates a change of CRS
_FINER = 1.5  # a source with pixels this much smaller is averaged, not interpolated


def share_of_overlap(grid: Grid, other: Grid) -> float:
    """Share of `grid` that the bounding box of `other` covers, 0 to 1."""
    left, bottom, right, top = grid.bounds
    west, south, east, north = bounds_in(other, grid.crs)
    width = max(min(right, east) - max(left, west), 0.0)
    height = max(min(top, north) - max(bottom, south), 0.0)
    return width * height / ((right - left) * (top - bottom))


def bounds_in(grid: Grid, crs: str) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) of a grid in another CRS given as WKT. Raises GridError."""
    try:
        left, bottom, right, top = transform_bounds(CRS.from_wkt(grid.crs), CRS.from_wkt(crs), *grid.bounds)
    except (RasterioError, CRSError, CPLE_BaseError) as error:
        raise GridError(
            f"the CRSs cannot be related: {error}", fix="reproject one file to the CRS of the other"
        ) from None
    return left, bottom, right, top


def check_overlap(grid: Grid, other: Grid, *, name: str, other_name: str) -> float:
    """Share of `grid` that `other` covers. Raises GridError where they do not overlap at all."""
    share = share_of_overlap(grid, other)
    if share <= 0:
        raise GridError(
            f"{other_name} does not overlap {name}: {_spell(bounds_in(other, grid.crs))} against {_spell(grid.bounds)}",
            fix="give scenes of one place, or check their CRS",
        )
    return share


def warped(dataset: rasterio.DatasetReader, grid: Grid, *, gap: float | None, method: Method = "smooth") -> WarpedVRT:
    """A view of an open dataset on `grid`.

    gap: value of pixels that the dataset does not cover; NaN makes the view float32. method: `smooth` is bilinear,
    or the average where the dataset's pixels are much smaller; `nearest` keeps classes; `most` is the largest value.
    """
    crs = CRS.from_wkt(grid.crs)
    left, bottom, right, top = transform_bounds(dataset.crs, crs, *dataset.bounds)
    ratio = min(
        grid.pixel_size[1] * dataset.width / (right - left),
        grid.pixel_size[0] * dataset.height / (top - bottom),
    )
    floating = gap is not None and math.isnan(gap)
    smooth = Resampling.average if ratio > _FINER else Resampling.bilinear
    return WarpedVRT(
        dataset,
        crs=crs,
        transform=Affine(*grid.transform),
        height=grid.height,
        width=grid.width,
        resampling={"smooth": smooth, "nearest": Resampling.nearest, "most": Resampling.max}[method],
        src_nodata=dataset.nodata if dataset.nodata is not None else (gap if floating else None),
        nodata=gap,
        dtype="float32" if floating else None,
        tolerance=_EXACT,
    )


def _spell(bounds: tuple[float, float, float, float]) -> str:
    return " ".join(f"{value:g}" for value in bounds)
