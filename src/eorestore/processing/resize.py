"""Bicubic resizing as MATLAB's imresize does it, as a product with two matrices; knows no unit and no band.

Benchmarks of super-resolution are defined by it: kernel of Keys (1981) with a = -1/2, widened when an image shrinks,
so that nothing aliases; the image goes on behind its edges as in a mirror; the weights of a pixel sum to 1. Other
libraries agree inside an image and differ at its edges (Pillow, torch with antialias) or everywhere (a = -3/4).
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Image = TypeVar("Image", "NDArray[np.floating]", "Tensor")

_RADIUS = 2  # of the kernel, in pixels of the coarser image


def shrink(image: Image, *, factor: int) -> Image:
    """The image at 1 / `factor` of its size along both axes; an incomplete last row or column counts as one.

    Args:
        image: (..., y, x), floating; a tensor may need a gradient. Computed in float64, returned in its own type.
        factor: 1, 2, 3, ...

    Returns:
        (..., ceil(y / factor), ceil(x / factor)). Values may leave the range of the image's by some percent.

    Raises:
        DataError: the factor is below 1, or the image is empty.
    """
    height, width = _size(image, factor)
    return _product(image, shrinking(height, factor), shrinking(width, factor))


def enlarge(image: Image, *, factor: int) -> Image:
    """The image at `factor` times its size along both axes: (..., factor * y, factor * x). Otherwise as `shrink`."""
    height, width = _size(image, factor)
    return _product(image, enlarging(height, factor), enlarging(width, factor))


def shrink_transposed(image: Image, *, factor: int, size: tuple[int, int]) -> Image:
    """The transpose of shrinking, as back-projection needs it.

    Args:
        image: (..., y, x), as large as a shrunk image.
        factor: of the shrinking.
        size: (height, width) of the image that was shrunk.

    Returns:
        (..., height, width). Its values are about `factor` squared times smaller than those of an enlarged image.

    Raises:
        DataError: an image of that size does not shrink to that of `image`.
    """
    found = _size(image, factor)
    wanted = tuple(-(-side // factor) for side in size)
    if found != wanted:
        raise DataError(
            f"{size[0]} x {size[1]} pixels shrink to {wanted[0]} x {wanted[1]}, and the image has "
            f"{found[0]} x {found[1]}",
            fix="give the size of the image that was shrunk",
        )
    height, width = size
    return _product(image, shrinking(height, factor).T, shrinking(width, factor).T)


@functools.lru_cache(maxsize=16)
def shrinking(length: int, factor: int) -> NDArray[np.float64]:
    """The matrix (ceil(length / factor), length) that shrinks one axis; read-only."""
    return _matrix(length, -(-length // factor), step=float(factor), widening=float(factor))


@functools.lru_cache(maxsize=16)
def enlarging(length: int, factor: int) -> NDArray[np.float64]:
    """The matrix (factor * length, length) that enlarges one axis; read-only."""
    return _matrix(length, factor * length, step=1 / factor, widening=1.0)


def _matrix(length: int, new_length: int, *, step: float, widening: float) -> NDArray[np.float64]:
    """Weights of the old pixels in every new one. step: old pixels from one new pixel to the next."""
    centres = (np.arange(new_length) + 0.5) * step - 0.5
    reach = _RADIUS * widening
    first = np.floor(centres - reach).astype(np.int64)
    taps = first[:, None] + np.arange(math.ceil(2 * reach) + 2)
    weights = _kernel((centres[:, None] - taps) / widening)
    weights /= weights.sum(axis=1, keepdims=True)
    place = taps % (2 * length)
    mirrored = np.where(place < length, place, 2 * length - 1 - place)
    matrix = np.zeros((new_length, length))
    np.add.at(matrix, (np.arange(new_length)[:, None], mirrored), weights)
    matrix.setflags(write=False)
    return matrix


def _kernel(offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cubic convolution of Keys (1981) with a = -1/2."""
    x = np.abs(offset)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < _RADIUS, far, 0.0))


def _size(image: NDArray[np.floating] | Tensor, factor: int) -> tuple[int, int]:
    if factor < 1:
        raise DataError(f"an image cannot be resized by {factor}", fix="give a factor of 1, 2, 3, ...")
    if image.ndim < 2 or 0 in image.shape[-2:]:
        raise DataError(f"an image of shape {tuple(image.shape)} has no pixel", fix="give an image (..., y, x)")
    return int(image.shape[-2]), int(image.shape[-1])


def _product(image: Image, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Image:
    if isinstance(image, np.ndarray):
        kept = image.dtype if np.issubdtype(image.dtype, np.floating) else np.dtype(np.float64)
        found: NDArray[np.floating] = (rows @ image.astype(np.float64) @ columns.T).astype(kept)
        return found
    import torch

    # a device without float64 has the error of float32, a hundredth of an 8-bit level
    precise = torch.float32 if image.device.type == "mps" else torch.float64
    left, right = (torch.tensor(matrix, dtype=precise, device=image.device) for matrix in (rows, columns))
    return (left @ image.to(precise) @ right.mT).to(image.dtype)
