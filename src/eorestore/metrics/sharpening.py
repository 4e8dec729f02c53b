"""Errors band by band, as sharpened bands are judged by them; know no sensor and no unit."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.metrics.fidelity import aligned


def rmse_by_band(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Root of the mean squared error of every band: (batch, band), or (band,) for a single image; lower is better.

    Args:
        prediction: (batch, band, y, x) or (band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) or (1, y, x) bool; what lies outside cannot change the score, NaN included.
        region: bool like `valid`; only valid pixels inside it count. None: all valid pixels.

    Returns:
        float64; NaN where no pixel counts.
    """
    prediction, target, _, counted = aligned(prediction, target, valid, region)
    squared = torch.where(counted, prediction - target, prediction.new_zeros(())).square()
    return torch.sqrt(squared.sum(dim=(-2, -1)) / counted.sum(dim=(-2, -1)))


def ergas(
    prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None, ratio: float = 2.0
) -> Tensor:
    """Relative error over all bands, in percent: 100 / ratio * sqrt(mean over bands of (RMSE / mean)^2) (Wald 2000).

    In [0, inf), lower is better. ratio: how many times larger the pixels were before. The mean is the target's over the
    counted pixels. Arguments otherwise, and what is returned, as in `sam_degrees`: (batch,), or a scalar.
    """
    error = rmse_by_band(prediction, target, valid=valid, region=region)
    _, target, _, counted = aligned(prediction, target, valid, region)
    total = torch.where(counted, target, target.new_zeros(())).sum(dim=(-2, -1))
    mean = total / counted.sum(dim=(-2, -1))
    return 100 / ratio * torch.sqrt(((error / mean) ** 2).mean(dim=-1))
