"""Band by band over images in decibels: planes for NumPy and SciPy, linear intensity, blocks; knows no metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.errors import DataError

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]
_Kind = TypeVar("_Kind", bound=np.generic)


def each_band(score: Callable[..., float], *images: Tensor, valid: Tensor) -> Tensor:
    """Mean over bands of a score of single planes.

    Args:
        score: of one (y, x) plane of every image, then the mask of valid pixels; NaN where a band has no score.
        images: (batch, band, y, x) or (band, y, x), one shape.
        valid: bool of that shape, or with one band for all.

    Returns:
        (batch,), or a scalar for a single image; float64. Bands without a score are left out; NaN without any.

    Raises:
        DataError: the shapes do not fit.
    """
    found = [score(*planes, mask) for *planes, mask in _planes(images, valid)]
    values = torch.tensor(found, dtype=torch.float64).view(images[0].shape[:-2])
    known = ~values.isnan()
    return torch.where(known, values, values.new_zeros(())).sum(dim=-1) / known.sum(dim=-1)


def pooled(score: Callable[[Plane], float], difference: Tensor, *, valid: Tensor) -> Tensor:
    """A score of the valid values of all bands of an image together: -> (batch,) or a scalar; NaN without any."""
    items = _array(difference).reshape(-1, *difference.shape[-3:])
    masks = _array(valid).astype(bool)
    seen = np.broadcast_to(masks, difference.shape).reshape(items.shape)
    found = [score(item[mask]) if mask.any() else math.nan for item, mask in zip(items, seen, strict=True)]
    return torch.tensor(found, dtype=torch.float64).view(difference.shape[:-3])


def intensity(decibel: Plane) -> Plane:
    """Linear intensity 10^(z / 10)."""
    return np.asarray(np.power(10.0, decibel / 10.0))


def blocks(plane: NDArray[_Kind], *, side: int, offset: tuple[int, int] = (0, 0)) -> NDArray[_Kind]:
    """The whole `side` x `side` blocks of a plane from `offset` (y, x) on: (y, x) -> (block, side * side)."""
    part = plane[offset[0] :, offset[1] :]
    rows, columns = part.shape[0] // side, part.shape[1] // side
    cut = part[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.transpose(0, 2, 1, 3).reshape(rows * columns, side * side)


def box_mean(plane: Plane, valid: Mask, *, side: int) -> tuple[Plane, Mask]:
    """Mean over a `side` x `side` window of valid pixels, and where that window is whole: inside and all valid."""
    from scipy.ndimage import minimum_filter, uniform_filter

    whole = minimum_filter(valid, side, mode="constant", cval=False)
    return uniform_filter(np.where(valid, plane, 0.0), side, mode="constant"), whole


def pearson(one: Plane, other: Plane) -> float:
    """Correlation of two lists of values; NaN where one of both does not vary."""
    if one.size < 2:
        return math.nan
    one, other = one - one.mean(), other - other.mean()
    spread = math.sqrt(float((one**2).sum()) * float((other**2).sum()))
    return float((one * other).sum()) / spread if spread else math.nan


def _planes(images: tuple[Tensor, ...], valid: Tensor) -> Iterator[tuple[NDArray[Any], ...]]:
    shape = images[0].shape
    if any(image.shape != shape for image in images) or len(shape) not in (3, 4):
        raise DataError(
            f"images of shapes {[tuple(image.shape) for image in images]} cannot be compared",
            fix="give images of one shape, (band, y, x) or (batch, band, y, x)",
        )
    mask = np.broadcast_to(_array(valid).astype(bool), shape).reshape(-1, *shape[-2:])
    # Zeros in place of what is not valid, so that no NaN reaches a filter.
    arrays = [np.where(mask, _array(image).astype(np.float64).reshape(mask.shape), 0.0) for image in images]
    return zip(*arrays, mask, strict=True)


def _array(image: Tensor) -> NDArray[Any]:
    return np.asarray(image.detach().cpu().numpy())
