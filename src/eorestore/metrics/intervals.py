"""Whether a model's sigma is honest: how often its interval holds the truth, and how wide that is; knows no model."""

from __future__ import annotations

from statistics import NormalDist

import torch
from torch import Tensor

from eorestore.metrics.fidelity import aligned

LEVEL = 0.9


def half_width(level: float = LEVEL) -> float:
    """Standard deviations on either side of the mean that hold `level` of a normal distribution; 1.645 for 0.9."""
    return NormalDist().inv_cdf((1 + level) / 2)


def coverage(
    prediction: Tensor,
    target: Tensor,
    sigma: Tensor,
    *,
    valid: Tensor,
    region: Tensor | None = None,
    level: float = LEVEL,
) -> Tensor:
    """Share of the pixels of each band where |p - t| <= z sigma, z the normal quantile; `level` itself is best.

    Args:
        prediction: (batch, band, y, x) or (band, y, x).
        target: the same shape.
        sigma: the same shape, one standard deviation of the error; what has none (NaN), or was left as observed (0),
            does not count.
        valid: (batch, 1, y, x) or (1, y, x) bool; what lies outside cannot change the score, NaN included.
        region: bool like `valid`; only valid pixels inside it count. None: all valid pixels.
        level: share that the interval is meant to hold.

    Returns:
        (batch, band), or (band,) for a single image; float64; NaN where no pixel counts.
    """
    return share_within(prediction, target, sigma, valid=valid, region=region, factor=half_width(level))


def share_within(
    prediction: Tensor,
    target: Tensor,
    sigma: Tensor,
    *,
    valid: Tensor,
    region: Tensor | None = None,
    factor: float,
) -> Tensor:
    """Share of the pixels of each band where |p - t| <= factor * sigma, whatever the errors are distributed like.

    factor: a quantile of |p - t| / sigma found elsewhere, for one. Otherwise as `coverage`.
    """
    sigma, counted = _known(sigma, valid, region)
    prediction, target, _, _ = aligned(prediction, target, valid, None)
    inside = (prediction - target).abs() <= factor * sigma
    return (inside & counted).sum(dim=(-2, -1)) / counted.sum(dim=(-2, -1)).double()


def interval_width(sigma: Tensor, *, valid: Tensor, region: Tensor | None = None, level: float = LEVEL) -> Tensor:
    """Mean width 2 z sigma of the interval in each band; of two honest ones the narrower is better.

    Arguments and shapes as in `coverage`.
    """
    sigma, counted = _known(sigma, valid, region)
    total = torch.where(counted, sigma, sigma.new_zeros(())).sum(dim=(-2, -1))
    return 2 * half_width(level) * total / counted.sum(dim=(-2, -1))


def _known(sigma: Tensor, valid: Tensor, region: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sigma as float64, and where it counts, both (..., band, y, x)."""
    sigma, _, _, counted = aligned(sigma, sigma, valid, region)
    return sigma, counted & (sigma > 0)
