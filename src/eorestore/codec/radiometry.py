"""Mean intensity of decibel planes: what smoothing takes from it, and planes without holes; knows no coefficient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from eorestore.codec.block_transform import BlockGrid

LEVEL = -16.0  # decibel; near the middle of what land scatters, where nothing else is known
_SEEN = 0.02  # share of valid pixels around one that is filled from them


def between_centres(values: NDArray[np.float32], grid: BlockGrid) -> NDArray[np.float32]:
    """Values of blocks (row, column) as a plane (y, x), linear between the blocks' centres."""
    places = []
    for sizes in (grid.heights, grid.widths):
        ends = np.cumsum(sizes)
        centres = ends - (np.array(sizes) + 1) / 2
        places.append(np.interp(np.arange(ends[-1]), centres, np.arange(len(sizes))))
    rows, columns = np.meshgrid(*places, indexing="ij", sparse=False)
    plane: NDArray[np.float32] = map_coordinates(values, [rows, columns], order=1, mode="nearest", output=np.float32)
    return plane


def mean_shift(plane: NDArray[np.float32], shown: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Decibel that `shown` must be raised by to have the mean intensity of `plane` over valid pixels."""
    if not valid.any():
        return 0.0
    true, now = (np.mean(10.0 ** (image[valid].astype(np.float64) / 10)) for image in (plane, shown))
    return float(10 * np.log10(true / now))


def filled(plane: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The plane (y, x) with smooth values where nothing is valid, which cost little; all `LEVEL` without any."""
    if valid.all():
        return plane.astype(np.float32)
    if not valid.any():
        return np.full(plane.shape, LEVEL, np.float32)
    known = np.where(valid, plane, 0).astype(np.float64)
    out = np.full(plane.shape, known.sum() / valid.sum())
    for width in (32.0, 8.0, 2.0):
        weight = gaussian_filter(valid.astype(np.float64), width)
        near = weight > _SEEN
        out[near] = gaussian_filter(known, width)[near] / weight[near]
    return np.where(valid, plane, out).astype(np.float32)
