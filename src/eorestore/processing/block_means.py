"""Means of square blocks of pixels, and images that have given ones; knows no unit, no band and no guide."""

from __future__ import annotations

import functools
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from eorestore.errors import DataError
from eorestore.processing.resize import enlarging

Scalar = TypeVar("Scalar", bound=np.generic)


def block_mean(
    values: NDArray[np.floating], valid: NDArray[np.bool_], *, factor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means over the valid pixels of each block of `factor` x `factor`, and which share of the block was valid.

    Args:
        values: (..., factor * y, factor * x); what stands in invalid pixels counts nowhere, NaN included.
        valid: (factor * y, factor * x).
        factor: side of a block in pixels.

    Returns:
        means (..., y, x), 0 where no pixel of the block is valid, and shares (y, x) in [0, 1].

    Raises:
        DataError: the image cannot be cut into whole blocks.
    """
    height, width = valid.shape
    if factor < 1 or height % factor or width % factor or values.shape[-2:] != valid.shape:
        raise DataError(
            f"{height} x {width} pixels with a mask of {valid.shape} make no whole blocks of {factor} x {factor}",
            fix="crop the image to a multiple of the factor, and give a mask of its size",
        )
    counted = _block_sum(valid.astype(np.float64), factor)
    total = _block_sum(np.where(valid, values, 0.0).astype(np.float64), factor)
    return total / np.maximum(counted, 1.0), counted / factor**2


def repeated(values: NDArray[Scalar], *, factor: int) -> NDArray[Scalar]:
    """Every pixel of (..., y, x) `factor` x `factor` times."""
    return values.repeat(factor, axis=-2).repeat(factor, axis=-1)


def smooth_enlargement(low: NDArray[np.floating], *, factor: int) -> NDArray[np.float64]:
    """The bicubic surface whose block means are `low`: U (D U)^-1 low, with D the block mean and U cubic enlargement.

    It is what back-projection, y <- y + U (low - D y), ends at. (y, x) to (factor * y, factor * x); every pixel of
    `low` counts, so fill gaps first.
    """
    height, width = low.shape
    surface: NDArray[np.float64] = _surface(height, factor) @ low.astype(np.float64) @ _surface(width, factor).T
    return surface


def project(
    image: NDArray[np.float64], low: NDArray[np.float64], valid: NDArray[np.bool_], *, factor: int
) -> NDArray[np.float64]:
    """The nearest image whose block means are `low` where `valid`; other blocks stay as they are.

    image + N (low - D image), N repeating every pixel: for the block mean D, N is D^T (D D^T)^-1.
    """
    means, _ = block_mean(image, np.ones(image.shape, bool), factor=factor)
    shifted: NDArray[np.float64] = image + repeated(np.where(valid, low - means, 0.0), factor=factor)
    return shifted


def filled_from_nearest(values: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(y, x) with the value of the nearest valid pixel in each invalid one; zeros where none is valid."""
    if valid.all():
        return values
    if not valid.any():
        return np.zeros_like(values)
    rows, columns = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    found: NDArray[np.float64] = values[rows, columns]
    return found


def _block_sum(values: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = np.add.reduceat(values, np.arange(0, values.shape[-2], factor), axis=-2)
    total: NDArray[np.float64] = np.add.reduceat(rows, np.arange(0, values.shape[-1], factor), axis=-1)
    return total


@functools.lru_cache(maxsize=8)
def _surface(length: int, factor: int) -> NDArray[np.float64]:
    """The matrix (factor * length, length) of `smooth_enlargement` along one axis; read-only."""
    enlarged = enlarging(length, factor)
    means = np.add.reduceat(enlarged, np.arange(0, length * factor, factor), axis=0) / factor
    matrix = np.asarray(np.linalg.solve(means.T, enlarged.T).T, np.float64)
    matrix.setflags(write=False)
    return matrix
