"""A coarse image sharpened by its regression on a fine guide, the residual added back; knows no file and no band.

TsHARP (Agam et al., "A vegetation index based technique for spatial sharpening of thermal imagery", Remote Sensing of
Environment 2007) after DisTrad (Kustas et al., same journal, 2003): temperature is a polynomial of a vegetation index,
fitted where coarse pixels are homogeneous, applied to fine pixels, and what it leaves unexplained is added back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError, MaskError
from eorestore.processing.block_means import block_mean, filled_from_nearest, project, repeated, smooth_enlargement

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LEAST_SHARE = 0.5  # of a coarse pixel that the guide must cover, for the guide to be believed there
_CLASSES = 3  # of the first regressor, each of which gives its own most homogeneous pixels
_RIDGE = 1e-9  # of the variance of a regressor
_PIXELS_A_COLUMN = 10  # with fewer homogeneous pixels all of them are fitted


@dataclass(frozen=True)
class Sharpened:
    """A sharpened image and how it came about.

    image: float32 (y, x) in the unit of the coarse one; 0 where not `valid`. coefficients: by name, with "intercept";
    none where the guide covered too little for a fit. r2: share of the coarse image's variance that the regression
    explains. variogram: parameters of the residual's, for methods that have one.
    """

    image: NDArray[np.float32]
    valid: Mask
    coefficients: dict[str, float]
    r2: float
    variogram: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explained:
    """What the guide explains of a coarse image, in differences from its mean.

    anomaly, valid: of the coarse image (y, x), whose mean was `mean`. trend: (factor * y, factor * x), the regression
    applied to fine pixels; `usable` where there is one. residual: (y, x), what it leaves; `known` where there is one.
    """

    anomaly: Values
    valid: Mask
    mean: float
    trend: Values
    usable: Mask
    residual: Values
    known: Mask
    coefficients: dict[str, float]
    r2: float
    factor: int


def tsharp(
    low: NDArray[np.floating],
    valid: Mask,
    guide_high: NDArray[np.floating],
    guide_valid: Mask,
    *,
    factor: int,
    degree: int = 1,
    names: Sequence[str] = (),
) -> Sharpened:
    """TsHARP with one regressor, its generalisation to several.

        image = trend(guide) + smooth(low - mean of trend), then projected on the block means `low`

    What differs from the papers: the polynomial is fitted to block means of the powers, so that a relation that holds
    for fine pixels is recovered whatever the degree; the residual is spread by the bicubic surface that has its block
    means instead of being repeated, which leaves no squares; classes are thirds of the pixels, not fixed bounds of
    NDVI; homogeneity is the deviation within a pixel over that of the scene, which a mean of 0 does not disturb.

    Args:
        low: (y, x), any unit; NaN may stand where it is not valid.
        valid: (y, x).
        guide_high: (regressor, factor * y, factor * x), or without the first axis.
        guide_valid: (factor * y, factor * x). Where it is False, and in coarse pixels that are covered by less than
            half, the image is the bicubic surface of `low` alone.
        factor: fine pixels along the side of a coarse one.
        degree: of the polynomial of every regressor; 2 for DisTrad.
        names: of the regressors, for the coefficients.

    Returns:
        The image. It is valid where `low` is, and its block means are `low` to the rounding of float32.

    Raises:
        DataError: the sizes or the degree do not fit. MaskError: no pixel of `low` is valid.
    """
    parts = explain(low, valid, guide_high, guide_valid, factor=factor, degree=degree, names=names, homogeneous=0.25)
    residual = smooth_enlargement(filled_from_nearest(parts.residual, parts.known), factor=factor)
    return restored(parts, residual)


def explain(
    low: NDArray[np.floating],
    valid: Mask,
    guide_high: NDArray[np.floating],
    guide_valid: Mask,
    *,
    factor: int,
    degree: int = 1,
    names: Sequence[str] = (),
    homogeneous: float = 1.0,
) -> Explained:
    """The regression by least squares. homogeneous: share of the pixels that are fitted; the rest as in `tsharp`."""
    guide = guide_high[None] if guide_high.ndim == 2 else guide_high
    _check(low, valid, guide, guide_valid, factor=factor, degree=degree)
    mean = float(low[valid].mean(dtype=np.float64))
    anomaly = np.where(valid, low.astype(np.float64) - mean, 0.0)
    columns = _powers(np.where(guide_valid, guide, 0.0).astype(np.float64), degree)
    labels = _labels(names or tuple(f"regressor {number}" for number in range(1, len(guide) + 1)), degree)
    coarse, share = block_mean(columns, guide_valid, factor=factor)
    known = valid & (share >= _LEAST_SHARE)
    if known.sum() < len(columns) + 2:
        nothing = np.zeros(guide_valid.shape)
        return Explained(
            anomaly, valid, mean, nothing, nothing > 0, np.zeros_like(anomaly), np.zeros_like(known), {}, 0.0, factor
        )
    fitted = known
    if homogeneous < 1:
        variation = _variation(columns[: len(guide)], coarse[: len(guide)], guide_valid, factor=factor)
        fitted = _homogeneous(variation, coarse[0], known, share=homogeneous)
        if fitted.sum() < _PIXELS_A_COLUMN * (len(columns) + 1):
            fitted = known
    weights, intercept = _least_squares(coarse[:, fitted], anomaly[fitted], share[fitted])
    explained = np.tensordot(weights, coarse, axes=1) + intercept
    usable = guide_valid & repeated(known, factor=factor)
    trend = np.where(usable, np.tensordot(weights, columns, axes=1) + intercept, 0.0)
    residual = np.where(known, anomaly - explained, 0.0)
    coefficients = {"intercept": intercept + mean} | dict(zip(labels, map(float, weights), strict=True))
    r2 = _explained_share(anomaly[known], residual[known])
    return Explained(anomaly, valid, mean, trend, usable, residual, known, coefficients, r2, factor)


def restored(parts: Explained, residual: Values, *, variogram: dict[str, Any] | None = None) -> Sharpened:
    """The image from the trend and a residual (factor * y, factor * x) on fine pixels, projected on the block means."""
    factor = parts.factor
    image = parts.trend + residual
    if not parts.usable.all():
        plain = smooth_enlargement(filled_from_nearest(parts.anomaly, parts.valid), factor=factor)
        image = np.where(parts.usable, image, plain)
    image = project(image, parts.anomaly, parts.valid, factor=factor)
    valid = repeated(parts.valid, factor=factor)
    values = np.where(valid, image + parts.mean, 0.0).astype(np.float32)
    return Sharpened(values, valid.astype(bool), parts.coefficients, parts.r2, variogram or {})


def _check(
    low: NDArray[np.floating],
    valid: Mask,
    guide: NDArray[np.floating],
    guide_valid: Mask,
    *,
    factor: int,
    degree: int,
) -> None:
    expected = tuple(side * factor for side in low.shape)
    if low.ndim != 2 or valid.shape != low.shape or guide.shape[1:] != expected or guide_valid.shape != expected:
        raise DataError(
            f"an image {low.shape} with a mask {valid.shape} and a guide {guide.shape} with a mask "
            f"{guide_valid.shape} do not fit at a factor of {factor}",
            fix="give (y, x) and (regressor, factor * y, factor * x)",
        )
    if factor < 1 or degree < 1:
        raise DataError(f"a factor of {factor} and a degree of {degree}", fix="give whole numbers from 1 on")
    if not valid.any():
        raise MaskError("no pixel of the coarse image is valid", fix="give a scene with valid pixels")
    for what, values in (("coarse image", low[valid]), ("guide", guide[:, guide_valid])):
        if not np.isfinite(values).all():
            raise DataError(f"the {what} has values that are not finite where it is valid", fix="mark them invalid")


def _powers(guide: Values, degree: int) -> Values:
    return np.concatenate([guide**power for power in range(1, degree + 1)])


def _labels(names: Sequence[str], degree: int) -> list[str]:
    return [name if power == 1 else f"{name}^{power}" for power in range(1, degree + 1) for name in names]


def _variation(guide: Values, coarse: Values, guide_valid: Mask, *, factor: int) -> Values:
    """Root mean over regressors of the variance within each coarse pixel, as a share of the scene's."""
    departures = guide - repeated(coarse, factor=factor)
    within, _ = block_mean(departures**2, guide_valid, factor=factor)
    spread = guide[:, guide_valid].var(axis=1)
    scale = np.where(spread > 0, spread, 1.0)
    variation: Values = np.sqrt((within / scale[:, None, None]).mean(axis=0))
    return variation


def _homogeneous(variation: Values, first: Values, known: Mask, *, share: float) -> Mask:
    """The given share of the known pixels with the least variation, from each class of the first regressor."""
    places = np.flatnonzero(known)
    by_class = np.array_split(places[np.argsort(first.flat[places], kind="stable")], _CLASSES)
    chosen = np.zeros(known.size, bool)
    for members in by_class:
        order = members[np.argsort(variation.flat[members], kind="stable")]
        chosen[order[: math.ceil(share * len(order))]] = True
    return chosen.reshape(known.shape)


def _least_squares(columns: Values, target: Values, weight: Values) -> tuple[Values, float]:
    """Weights (column,) and intercept; a ridge keeps columns that depend on each other from growing."""
    share = weight / weight.sum()
    centre, middle = columns @ share, float(target @ share)
    centred = columns - centre[:, None]
    spread = np.sqrt(centred**2 @ share)
    # A column that does not vary, but for rounding, explains nothing.
    flat = spread <= 1e-9 * np.abs(centre)
    scaled = np.where(flat[:, None], 0.0, centred / np.where(flat, 1.0, spread)[:, None])
    normal = (scaled * share) @ scaled.T + _RIDGE * np.eye(len(columns))
    weights: Values = np.linalg.solve(normal, scaled @ (share * (target - middle))) / np.where(flat, 1.0, spread)
    return weights, middle - float(weights @ centre)


def _explained_share(target: Values, residual: Values) -> float:
    total = float(((target - target.mean()) ** 2).sum())
    return 1 - float((residual**2).sum()) / total if total > 0 else 0.0
