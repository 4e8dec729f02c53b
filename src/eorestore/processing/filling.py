"""Pixels without an observation filled from their neighbourhood, the same in a tile as in the whole; knows no file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from eorestore.raster import Raster

REACH = 8  # pixels from which a value is taken


def fill_near(raster: Raster, *, otherwise: NDArray[np.float32]) -> Raster:
    """Every pixel valid: those that were not take the value of the nearest valid one within REACH pixels.

    Ties go to the pixel above, then to the one on the left, so that the surroundings of a pixel decide and not the
    window that it is seen in. otherwise: (band,), the value of pixels with no valid one so near.
    """
    if raster.valid.all():
        return raster
    values = np.where(raster.valid, raster.values, otherwise[:, None, None]).astype(np.float32)
    height, width = raster.valid.shape
    if not raster.valid.any():
        return replace(raster, values=values, valid=np.ones_like(raster.valid))
    rows, columns = np.nonzero(~raster.valid & (distance_transform_edt(~raster.valid) <= REACH))
    for down, across in _offsets():
        if rows.size == 0:
            break
        from_row, from_column = rows + down, columns + across
        inside = (from_row >= 0) & (from_row < height) & (from_column >= 0) & (from_column < width)
        found = inside & raster.valid[from_row.clip(0, height - 1), from_column.clip(0, width - 1)]
        values[:, rows[found], columns[found]] = raster.values[:, from_row[found], from_column[found]]
        rows, columns = rows[~found], columns[~found]
    return replace(raster, values=values, valid=np.ones_like(raster.valid))


def _offsets() -> list[tuple[int, int]]:
    """Places of the disc, the nearest first, then from the top left on."""
    span = range(-REACH, REACH + 1)
    inside = [(down, across) for down in span for across in span if 0 < down**2 + across**2 <= REACH**2]
    return sorted(inside, key=lambda place: (place[0] ** 2 + place[1] ** 2, place))
