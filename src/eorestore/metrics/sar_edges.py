"""How well decoded radar keeps its edges, and whether a grid of blocks shows; knows no codec.

All images are in decibels. Shapes, `valid` and NaN as in metrics/sar.py.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from eorestore.metrics.edges import gradient_correlation
from eorestore.metrics.sar_planes import Mask, Plane, each_band, intensity, pearson


def edge_pearson(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Pearson correlation of the Sobel magnitudes of z and z', mean over bands; in [-1, 1], higher is better.

    Two independent white noises score 0. Only pixels count whose 3 x 3 neighbourhood is inside and valid.
    """
    return gradient_correlation(decoded, original, valid=valid.expand(original.shape))


def edge_cosine(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Cosine of the Sobel magnitudes of z and z', without their means; in [0, 1]. For comparison with older work only.

        sum(g g') / sqrt(sum g^2 sum g'^2)

    Magnitudes are positive, so that two independent white noises score pi / 4 = 0.785. `edge_pearson` has a zero.
    """
    return each_band(_edge_cosine, decoded, original, valid=valid)


def laplacian_correlation(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Sattar's beta: Pearson correlation of the Laplacians of z and z' (Sattar et al. 1997); in [-1, 1], higher better.

    The Laplacian has four neighbours. Only pixels count whose 3 x 3 neighbourhood is inside and valid.
    """
    return each_band(_laplacian_correlation, decoded, original, valid=valid)


def roa_correlation(decoded: Tensor, original: Tensor, *, valid: Tensor, side: int = 7) -> Tensor:
    """Pearson correlation of two ratio-of-averages edge maps, mean over bands; in [-1, 1], higher is better.

    The detector of Touzi, Lopes and Bousquet (1988): 1 - min(m1 / m2, m2 / m1) of the mean intensities of both halves
    of a window, the largest over four directions. Its false alarms do not depend on brightness, as those of a
    difference do under speckle.

    Args:
        decoded: in decibels.
        original: the same.
        valid: bool; only whole windows inside the image count.
        side: of the window, odd.
    """
    return each_band(partial(_roa_correlation, side=side), decoded, original, valid=valid)


def border_gradient(image: Tensor, *, valid: Tensor, block: int, offset: tuple[int, int] = (0, 0)) -> Tensor:
    """Mean |difference| of neighbours across the borders of blocks over that of all others, mean over bands.

    1 where no grid shows, above 1 where one does; noise moves it by about 1 / sqrt(pairs across borders). Give the
    decoded image, or decoded less original: a grid stands out more in the error.

    Args:
        image: in decibels.
        valid: bool; pairs of two valid pixels count.
        block: side of the blocks, in pixels.
        offset: (y, x) of a corner of a block.
    """
    return each_band(partial(_border_gradient, block=block, offset=offset), image, valid=valid)


def _edge_cosine(decoded: Plane, original: Plane, valid: Mask) -> float:
    from scipy.ndimage import sobel

    inside = _whole(valid, 3)
    one, other = (np.hypot(sobel(image, axis=0), sobel(image, axis=1))[inside] for image in (decoded, original))
    length = math.sqrt(float((one**2).sum()) * float((other**2).sum()))
    return float((one * other).sum()) / length if length else math.nan


def _laplacian_correlation(decoded: Plane, original: Plane, valid: Mask) -> float:
    from scipy.ndimage import laplace

    inside = _whole(valid, 3)
    return pearson(laplace(decoded)[inside], laplace(original)[inside])


def _roa_correlation(decoded: Plane, original: Plane, valid: Mask, *, side: int) -> float:
    inside = _whole(valid, side)
    return pearson(*(_ratio_of_averages(intensity(image), side)[inside] for image in (decoded, original)))


def _ratio_of_averages(linear: Plane, side: int) -> Plane:
    from scipy.ndimage import correlate

    reach = side // 2
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    strength = np.zeros(linear.shape)
    for direction in (down, across, down + across, down - across):
        halves = [correlate(linear, _mean_kernel(part)) for part in (direction < 0, direction > 0)]
        low, high = np.minimum(*halves), np.maximum(*halves)
        strength = np.maximum(strength, 1 - low / np.maximum(high, np.finfo(float).tiny))
    return strength


def _mean_kernel(part: NDArray[np.bool_]) -> Plane:
    return np.asarray(part / part.sum())


def _border_gradient(image: Plane, valid: Mask, *, block: int, offset: tuple[int, int]) -> float:
    across, within = [], []
    for axis in (0, 1):
        step = np.abs(np.diff(image, axis=axis))
        pairs = np.moveaxis(valid, axis, 0)
        seen = pairs[1:] & pairs[:-1]
        second = np.arange(1, image.shape[axis])
        border = (second - offset[axis]) % block == 0
        values = np.moveaxis(step, axis, 0)
        across.append(values[border][seen[border]])
        within.append(values[~border][seen[~border]])
    border_values, other_values = np.concatenate(across), np.concatenate(within)
    if not border_values.size or not other_values.size or not other_values.any():
        return math.nan
    return float(border_values.mean() / other_values.mean())


def _whole(valid: Mask, side: int) -> Mask:
    from scipy.ndimage import minimum_filter

    return np.asarray(minimum_filter(valid, side, mode="constant", cval=False))
