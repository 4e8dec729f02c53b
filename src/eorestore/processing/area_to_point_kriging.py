"""Area-to-point regression kriging: a guide's regression, and its residual kriged to fine pixels; knows no file.

ATPRK: Wang, Shi, Atkinson and Zhao, "Downscaling MODIS images with area-to-point regression kriging", Remote Sensing of
Environment 2015. Area-to-point kriging: Kyriakidis, "A geostatistical framework for area-to-point spatial
interpolation", Geographical Analysis 2004.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from eorestore.errors import DataError
from eorestore.processing.block_means import repeated
from eorestore.processing.block_variogram import Variogram, VariogramModel, block_correlations, deconvolved_variogram
from eorestore.processing.regression_sharpening import Sharpened, explain, restored

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

NEIGHBOURS = 5
"""Blocks along the side of the square that a fine pixel is kriged from."""
_MOST_NEIGHBOURS = 7  # a pattern of valid neighbours is a number of 63 bits
_VALUES_AT_ONCE = 4_000_000  # of the systems solved together, 32 MB
_BLOCKS_AT_ONCE = 65_536


def atprk(
    low: NDArray[np.floating],
    valid: Mask,
    guide_high: NDArray[np.floating],
    guide_valid: Mask,
    *,
    factor: int,
    degree: int = 1,
    names: Sequence[str] = (),
    model: VariogramModel = "exponential",
    neighbours: int = NEIGHBOURS,
) -> Sharpened:
    """ATPRK: image = trend(guide) + area-to-point kriging(low - mean of trend).

    The regression is over all pixels that the guide covers by half or more. What differs from the paper: the sensor's
    response is the block mean, the variogram is fitted to offsets one by one and not to rings of distance, and where
    the guide is missing the image is the bicubic surface of `low`.

    Args:
        low: (y, x), any unit; NaN may stand where it is not valid.
        valid: (y, x).
        guide_high: (regressor, factor * y, factor * x), or without the first axis.
        guide_valid: (factor * y, factor * x).
        factor: fine pixels along the side of a coarse one.
        degree: of the polynomial of every regressor.
        names: of the regressors, for the coefficients.
        model: of the variogram of points.
        neighbours: see `krige`.

    Returns:
        The image. It is valid where `low` is, and its block means are `low` to the rounding of float32.

    Raises:
        DataError: sizes, degree or neighbours do not fit. MaskError: no pixel of `low` is valid.
    """
    parts = explain(low, valid, guide_high, guide_valid, factor=factor, degree=degree, names=names)
    variogram = deconvolved_variogram(parts.residual, parts.known, factor=factor, model=model)
    residual = krige(parts.residual, parts.known, variogram, factor=factor, neighbours=neighbours)
    return restored(parts, residual, variogram=variogram.to_json())


def krige(blocks: Values, known: Mask, variogram: Variogram, *, factor: int, neighbours: int = NEIGHBOURS) -> Values:
    """Ordinary area-to-point kriging of block means.

    All fine pixels of a block are kriged from the same known blocks, its own among them. So their mean is the block's
    value exactly, and their weights depend on the place in the block and on which neighbours are known only: one
    linear system for each pattern of known neighbours, with a right-hand side for each place.

    Args:
        blocks: (y, x).
        known: (y, x).
        variogram: of points, in fine pixels.
        factor: fine pixels along the side of a block.
        neighbours: blocks along the side of the square around each; 3, 5 or 7.

    Returns:
        (factor * y, factor * x), 0 in blocks that are not known.

    Raises:
        DataError: an even number of neighbours, or more than 7.
    """
    if not 1 <= neighbours <= _MOST_NEIGHBOURS or neighbours % 2 == 0:
        raise DataError(f"{neighbours} x {neighbours} neighbours", fix="give 3, 5 or 7")
    height, width = blocks.shape
    filled = np.where(known, blocks, 0.0)
    if variogram.sill <= 0 or not known.any():
        return repeated(filled, factor=factor)
    margin = neighbours // 2
    rows, columns = np.nonzero(known)
    codes, pattern = np.unique(_pattern_codes(known, margin)[known], return_inverse=True)
    patterns = (codes[:, None] >> np.arange(neighbours**2)) % 2 == 1
    members = np.split(np.argsort(pattern, kind="stable"), np.cumsum(np.bincount(pattern))[:-1])
    around = sliding_window_view(np.pad(filled, margin), (neighbours, neighbours))
    fine = np.zeros((height, width, factor**2))
    for number, weights in enumerate(_weights(patterns, variogram, factor=factor, margin=margin)):
        for start in range(0, len(members[number]), _BLOCKS_AT_ONCE):
            here = members[number][start : start + _BLOCKS_AT_ONCE]
            place = rows[here], columns[here]
            fine[place] = around[place].reshape(len(here), -1) @ weights
    by_axis = fine.reshape(height, width, factor, factor).transpose(0, 2, 1, 3)
    return by_axis.reshape(height * factor, width * factor)


def _pattern_codes(known: Mask, margin: int) -> NDArray[np.int64]:
    """(y, x), bit number n of a pixel set where neighbour n of its square is known; outside the image none is."""
    side = 2 * margin + 1
    padded = np.pad(known, margin).astype(np.int64)
    codes = np.zeros(known.shape, np.int64)
    for neighbour in range(side**2):
        down, across = divmod(neighbour, side)
        codes |= padded[down : down + known.shape[0], across : across + known.shape[1]] << neighbour
    return codes


def _weights(patterns: Mask, variogram: Variogram, *, factor: int, margin: int) -> Iterator[Values]:
    """Kriging weights (neighbour, place in the block) of each pattern (neighbour,); those of unknown blocks are 0."""
    correlations = block_correlations(variogram.model, variogram.range, factor=factor, radius=2 * margin)
    scale = correlations.block_block[2 * margin, 2 * margin]
    offsets = np.stack(np.meshgrid(*[np.arange(-margin, margin + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    apart = offsets[:, None] - offsets[None] + 2 * margin
    between = correlations.block_block[apart[..., 0], apart[..., 1]] / scale
    inner = slice(margin, 3 * margin + 1)
    to_points = correlations.point_block[inner, inner].reshape(len(offsets), factor**2) / scale
    count = len(offsets)
    at_once = max(_VALUES_AT_ONCE // ((count + 1) * (count + 1 + factor**2)), 1)
    for start in range(0, len(patterns), at_once):
        seen = patterns[start : start + at_once]
        systems = np.zeros((len(seen), count + 1, count + 1))
        systems[:, :count, :count] = np.where(seen[:, :, None] & seen[:, None, :], between, 0.0)
        # an unknown block has an equation of its own, by which its weight is 0
        systems[:, np.arange(count), np.arange(count)] += ~seen
        systems[:, :count, count] = systems[:, count, :count] = seen
        wanted = np.ones((len(seen), count + 1, factor**2))
        wanted[:, :count] = np.where(seen[:, :, None], to_points, 0.0)
        yield from np.linalg.solve(systems, wanted)[:, :count]
