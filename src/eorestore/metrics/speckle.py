"""What becomes of speckle and texture: looks, ratio image, M-index, high frequencies; knows no codec.

All images are in decibels; linear intensity is derived inside. Shapes, `valid` and NaN as in metrics/sar.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from eorestore.metrics.sar_planes import Mask, Plane, blocks, box_mean, each_band, intensity, pearson

BLOCK = 16
SHARE = 0.1  # of the blocks, the most homogeneous ones
LEAST = 8  # blocks
LEVELS = 64  # grey levels of a co-occurrence matrix
TILE = 32  # pixels: side of the windows of a spectrum


def enl(image: Tensor, *, valid: Tensor, block: int = BLOCK, share: float = SHARE) -> Tensor:
    """Equivalent number of looks: median of mean^2 / variance of intensity over the most homogeneous blocks.

    At least 0; L for fully developed speckle of L looks. Neither way is better: a decoded image should have that of
    its original (`enl_ratio`). Blocks are `share` of all whole valid ones, at least 8, of lowest coefficient of
    variation. That choice also picks lucky blocks: pure speckle scores about a fifth too high with a tenth of the
    blocks, and is met with share=1.

    Args:
        image: in decibels, (batch, band, y, x) or (band, y, x).
        valid: bool of that shape, or with one band.
        block: side of the blocks, in pixels.
        share: of the blocks that count.
    """
    return each_band(partial(_enl, block=block, share=share), image, valid=valid)


def looks(image: Tensor, *, valid: Tensor, block: int = BLOCK, share: float = SHARE) -> Tensor:
    """Looks by the second log-cumulant: L of trigamma(L) = var(ln Z), median over the blocks of `enl`.

    The logarithm keeps single bright points from ruling a block. Arguments, range and the trap as in `enl`
    (Tison et al. 2004; Anfinsen et al. 2009).
    """
    return each_band(partial(_looks, block=block, share=share), image, valid=valid)


def enl_ratio(decoded: Tensor, original: Tensor, *, valid: Tensor, block: int = BLOCK, share: float = SHARE) -> Tensor:
    """Median of ENL(Z') / ENL(Z) over the blocks that `enl` finds in the original; 1 is best.

    Above 1 speckle was lost, below 1 noise was added. Infinite where most of the blocks came back constant. Blocks
    that are constant in the original are left out.
    """
    return each_band(partial(_enl_ratio, block=block, share=share), decoded, original, valid=valid)


def ratio_mean(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Mean of the ratio image r = Z / Z', mean over bands; 1 is best."""
    return each_band(lambda x, y, mask: _of_ratio(_plain_mean, x, y, mask), decoded, original, valid=valid)


def ratio_log_std(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Standard deviation of ln(Z / Z'), mean over bands. 0 is best for fidelity; sqrt(trigamma(L)) for a despeckler."""
    return each_band(lambda x, y, mask: _of_ratio(_log_std, x, y, mask), decoded, original, valid=valid)


def m_index(decoded: Tensor, original: Tensor, *, valid: Tensor, seed: int = 0, shuffles: int = 5) -> Tensor:
    """How far the ratio image is from pure speckle (Gomez, Ospina and Frery 2017); 0 is best, for despecklers only.

        M = mean over homogeneous blocks of (|ENL(Z) - ENL(r)| / ENL(Z) + |1 - mean r|) / 2 + 100 |h0 - hg| / h0

    h0 is the homogeneity of the co-occurrence matrix of r (next neighbours along both axes, 64 grey levels between its
    1 % and 99 % quantiles), hg its mean over shuffled copies. The paper sums over blocks; a mean does not grow with
    the image. Its blocks are found by tolerance, ours as in `enl`.

    Args:
        decoded: the despeckled image in decibels; shapes as in `enl`.
        original: the same.
        valid: the same.
        seed: of the shuffles.
        shuffles: how many copies hg is the mean of.
    """
    return each_band(partial(_m_index, seed=seed, shuffles=shuffles), decoded, original, valid=valid)


def texture_ratio(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """var(z' - its 7 x 7 mean) / var(z - its 7 x 7 mean) in decibels, mean over bands; 1 is best.

    Below 1 texture and speckle were smoothed away, above 1 noise was added. Only whole valid windows count.
    """
    return each_band(_texture_ratio, decoded, original, valid=valid)


def autocorrelation(image: Tensor, *, valid: Tensor, lag: int, axis: int) -> Tensor:
    """Correlation of neighbours `lag` pixels apart along `axis` (0 is y, 1 is x), in decibels; in [-1, 1]."""
    return each_band(partial(_autocorrelation, lag=lag, axis=axis), image, valid=valid)


def autocorrelation_shift(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Largest change of `autocorrelation` over lags 1 to 3 of both axes, with its sign, mean over bands; 0 is best.

    Above 0 the image became smoother.
    """
    return each_band(_autocorrelation_shift, decoded, original, valid=valid)


def spectrum_ratio(decoded: Tensor, original: Tensor, *, valid: Tensor, above: float = 0.25) -> Tensor:
    """Power of z' over that of z at frequencies of at least `above` cycles a pixel, mean over bands; 1 is best.

    Mean of the periodograms of whole valid windows of 32 x 32 pixels (Hann, half overlap, mean removed; Welch 1967).
    """
    return each_band(partial(_spectrum_ratio, above=above), decoded, original, valid=valid)


def _homogeneous(plane: Plane, valid: Mask, *, block: int, share: float) -> NDArray[np.intp]:
    """Numbers of the whole valid blocks with the lowest coefficient of variation, constant ones left out."""
    whole = blocks(valid, side=block).all(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = blocks(plane, side=block)
        variation = np.where(whole & (np.ptp(found, axis=1) > 0), found.std(axis=1) / found.mean(axis=1), np.inf)
    usable = int(np.isfinite(variation).sum())
    return np.argsort(variation, kind="stable")[: min(usable, max(LEAST, round(share * usable)))]


def _looks_of(found: NDArray[np.float64]) -> Plane:
    """mean^2 / variance of every block (block, pixel); infinite for constant ones."""
    constant = np.ptp(found, axis=1) == 0
    variance = np.where(constant, 1.0, found.var(axis=1))
    return np.where(constant, np.inf, found.mean(axis=1) ** 2 / variance)


def _median(values: Plane) -> float:
    return float(np.median(values)) if values.size else math.nan


def _enl(image: Plane, valid: Mask, *, block: int, share: float) -> float:
    linear = intensity(image)
    chosen = _homogeneous(linear, valid, block=block, share=share)
    return _median(_looks_of(blocks(linear, side=block)[chosen]))


def _enl_ratio(decoded: Plane, original: Plane, valid: Mask, *, block: int, share: float) -> float:
    before, after = intensity(original), intensity(decoded)
    chosen = _homogeneous(before, valid, block=block, share=share)
    found = [_looks_of(blocks(one, side=block)[chosen]) for one in (after, before)]
    return _median(found[0] / found[1])


def _looks(image: Plane, valid: Mask, *, block: int, share: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import polygamma

    chosen = _homogeneous(intensity(image), valid, block=block, share=share)
    spread = _median(blocks(image * (math.log(10) / 10), side=block)[chosen].var(axis=1, ddof=1))
    if math.isnan(spread):
        return math.nan
    return float(brentq(lambda number: float(polygamma(1, number)) - spread, 1e-3, 1.0 + 2.0 / spread))


def _of_ratio(statistic: Callable[[Plane], float], decoded: Plane, original: Plane, valid: Mask) -> float:
    return float(statistic(intensity(original - decoded)[valid])) if valid.any() else math.nan


def _plain_mean(ratio: Plane) -> float:
    return float(ratio.mean())


def _log_std(ratio: Plane) -> float:
    return float(np.log(ratio).std())


def _m_index(decoded: Plane, original: Plane, valid: Mask, *, seed: int, shuffles: int) -> float:
    before, ratio = intensity(original), intensity(original - decoded)
    chosen = _homogeneous(before, valid, block=BLOCK, share=SHARE)
    if not chosen.size:
        return math.nan
    noisy, speckle = blocks(before, side=BLOCK)[chosen], blocks(ratio, side=BLOCK)[chosen]
    expected = _looks_of(noisy)
    residual = (np.abs(expected - _looks_of(speckle)) / expected + np.abs(1 - speckle.mean(axis=1))).mean() / 2
    low, high = np.quantile(ratio[valid], (0.01, 0.99))
    levels = np.clip((ratio - low) / max(high - low, np.finfo(float).tiny) * LEVELS, 0, LEVELS - 1).astype(np.int64)
    here = homogeneity(levels, valid)
    generator = np.random.default_rng(seed)
    shuffled = []
    for _ in range(shuffles):
        copy = levels.copy()
        copy[valid] = generator.permutation(levels[valid])
        shuffled.append(homogeneity(copy, valid))
    return float(residual + 100 * abs(here - np.mean(shuffled)) / here)


def homogeneity(levels: NDArray[np.int64], valid: Mask) -> float:
    """Sum of p(i, j) / (1 + (i - j)^2) over pairs of next neighbours along both axes (Haralick 1973); in (0, 1]."""
    found = [
        1 / (1 + (one[pair] - other[pair]) ** 2.0)
        for one, other, pair in (
            (levels[:, 1:], levels[:, :-1], valid[:, 1:] & valid[:, :-1]),
            (levels[1:], levels[:-1], valid[1:] & valid[:-1]),
        )
    ]
    return float(np.mean([part.mean() for part in found]))


def _texture_ratio(decoded: Plane, original: Plane, valid: Mask) -> float:
    parts = []
    for image in (decoded, original):
        smooth, whole = box_mean(image, valid, side=7)
        parts.append(float((image - smooth)[whole].var()) if whole.any() else math.nan)
    return parts[0] / parts[1] if parts[1] else math.nan


def _autocorrelation(image: Plane, valid: Mask, *, lag: int, axis: int) -> float:
    image, valid = np.moveaxis(image, axis, 0), np.moveaxis(valid, axis, 0)
    pair = valid[lag:] & valid[:-lag]
    return pearson(image[lag:][pair], image[:-lag][pair])


def _autocorrelation_shift(decoded: Plane, original: Plane, valid: Mask) -> float:
    shifts = [
        _autocorrelation(decoded, valid, lag=lag, axis=axis) - _autocorrelation(original, valid, lag=lag, axis=axis)
        for lag in (1, 2, 3)
        for axis in (0, 1)
    ]
    return max(shifts, key=abs)


def _spectrum_ratio(decoded: Plane, original: Plane, valid: Mask, *, above: float) -> float:
    starts = [(0, 0), (0, TILE // 2), (TILE // 2, 0), (TILE // 2, TILE // 2)]
    kept = [blocks(valid, side=TILE, offset=start).all(axis=1) for start in starts]
    window = np.hanning(TILE + 1)[:TILE]
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(TILE), np.fft.fftfreq(TILE)))
    power = []
    for image in (decoded, original):
        tiles = [blocks(image, side=TILE, offset=start)[whole] for start, whole in zip(starts, kept, strict=True)]
        found = np.concatenate(tiles).reshape(-1, TILE, TILE)
        spectrum = np.fft.fft2((found - found.mean(axis=(1, 2), keepdims=True)) * np.outer(window, window))
        power.append(float((np.abs(spectrum) ** 2)[:, frequency >= above].sum()))
    return power[0] / power[1] if power[1] else math.nan
