"""The variogram of points behind an image whose pixels are means of blocks; knows no guide and no temperature.

Deconvolution as in Goovaerts, "Kriging and semivariogram deconvolution in the presence of irregular geographical
units", Mathematical Geosciences 2008: a model of points is sought whose regularised form, that of block means, is the
variogram seen. A model has two parameters, so the search is over its range, and its sill is least squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from eorestore.errors import UnknownNameError

Values = NDArray[np.float64]
VariogramModel = Literal["exponential", "spherical"]

_LARGEST_LAG = 8  # block sides up to which pairs of blocks are compared
_LEAST_PAIRS = 30
_SHORTEST = 0.25  # block sides; shorter ranges cannot be told from each other by blocks
_RANGES = 24  # tried before the best is refined


def _exponential(distance: Values) -> Values:
    return np.exp(-distance)


def _spherical(distance: Values) -> Values:
    near = np.minimum(distance, 1.0)
    return 1 - 1.5 * near + 0.5 * near**3


CORRELATIONS: Mapping[str, Callable[[Values], Values]] = {"exponential": _exponential, "spherical": _spherical}
"""Correlation of two points by their distance in ranges. The practical range of the exponential one is 3 ranges."""


@dataclass(frozen=True)
class Variogram:
    """Of points: sill (1 - correlation(distance / range)); range in pixels of the fine grid, sill in squared units."""

    model: VariogramModel
    sill: float
    range: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return asdict(self)


@dataclass(frozen=True)
class BlockCorrelations:
    """point_block: (row offset, column offset, row, column), a fine pixel of a block with the mean of another block.

    block_block: (row offset, column offset), of the means of two blocks. Offsets are in blocks, from -radius on.
    """

    point_block: Values
    block_block: Values
    radius: int


def block_correlations(model: str, length: float, *, factor: int, radius: int) -> BlockCorrelations:
    """Covariances of points of variance 1 averaged over blocks of factor x factor fine pixels.

    Blocks are sums over the centres of their fine pixels. So the mean of `point_block` over the pixels of a block is
    `block_block` exactly, which makes area-to-point kriging return the block's own value as their mean.

    Args:
        model: name in CORRELATIONS.
        length: the range in fine pixels.
        factor: fine pixels along the side of a block.
        radius: largest offset in blocks.

    Raises:
        UnknownNameError: no such model.
    """
    if model not in CORRELATIONS:
        raise UnknownNameError("variogram model", model, CORRELATIONS)
    reach = (radius + 1) * factor - 1
    steps = np.arange(-reach, reach + 1)
    of_points = CORRELATIONS[model](np.hypot(steps[:, None], steps[None, :]) / length)
    offsets, places, points = np.ix_(np.arange(-radius, radius + 1), np.arange(factor), np.arange(factor))
    averaging = np.zeros((2 * radius + 1, factor, len(steps)))
    np.put_along_axis(averaging, offsets * factor + points - places + reach, 1 / factor, axis=2)
    rows = averaging.reshape(-1, len(steps))
    both = (rows @ of_points @ rows.T).reshape(2 * radius + 1, factor, 2 * radius + 1, factor)
    point_block = both.transpose(0, 2, 1, 3)
    return BlockCorrelations(point_block, point_block.mean(axis=(2, 3)), radius)


def deconvolved_variogram(
    blocks: Values, known: NDArray[np.bool_], *, factor: int, model: VariogramModel = "exponential"
) -> Variogram:
    """The variogram of points whose block means vary as `blocks` (y, x) do where `known`.

    Lags count by their pairs and by the inverse square of their length. An image with too few pairs gets a range of
    one block; one that does not vary gets a sill of 0.
    """
    offsets, seen, weight = _areal_variogram(blocks, known)
    if seen.size == 0 or not seen.any():
        variance = float(blocks[known].var()) if known.any() else 0.0
        return Variogram(model, variance, float(factor))
    radius = int(np.abs(offsets).max())

    def fit(log_range: float) -> tuple[float, float]:
        """(weighted squared error, sill) of a range."""
        covariance = block_correlations(model, math.exp(log_range), factor=factor, radius=radius).block_block
        shape = covariance[radius, radius] - covariance[offsets[:, 0] + radius, offsets[:, 1] + radius]
        sill = float((weight * seen * shape).sum() / (weight * shape**2).sum())
        return float((weight * (seen - sill * shape) ** 2).sum()), sill

    tried = np.log(np.geomspace(_SHORTEST * factor, 2 * radius * factor, _RANGES))
    best = int(np.argmin([fit(float(value))[0] for value in tried]))
    around = float(tried[max(best - 1, 0)]), float(tried[min(best + 1, _RANGES - 1)])
    found = minimize_scalar(lambda value: fit(value)[0], bounds=around, method="bounded", options={"xatol": 1e-3})
    return Variogram(model, fit(float(found.x))[1], math.exp(float(found.x)))


def _areal_variogram(blocks: Values, known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Values, Values]:
    """Offsets (lag, 2) in blocks, half the mean squared difference at each, and the weight of each."""
    height, width = blocks.shape
    largest = min(_LARGEST_LAG, max(min(height, width) // 2, 1))
    offsets, seen, weights = [], [], []
    for down in range(largest + 1):
        for across in range(-largest, largest + 1):
            length = math.hypot(down, across)
            if length > largest or (down == 0 and across <= 0):
                continue
            first = slice(0, height - down), slice(max(-across, 0), width - max(across, 0))
            second = slice(down, height), slice(max(across, 0), width + min(across, 0))
            both = known[first] & known[second]
            pairs = int(both.sum())
            if pairs < _LEAST_PAIRS:
                continue
            offsets.append((down, across))
            seen.append(0.5 * float(np.square(blocks[first] - blocks[second])[both].mean()))
            weights.append(pairs / length**2)
    return np.array(offsets, np.int64).reshape(-1, 2), np.array(seen), np.array(weights)
