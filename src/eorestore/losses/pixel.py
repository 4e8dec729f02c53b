"""Differences pixel by pixel, averaged over bands and valid pixels; know nothing of neighbours or units."""

from __future__ import annotations

import torch
from torch import Tensor


def l1(prediction: Tensor, target: Tensor, *, valid: Tensor) -> Tensor:
    """Mean absolute difference: mean |p - t|. In [0, inf), lower is better, 0 at equality.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.

    Returns:
        Scalar; 0 where no pixel is valid.
    """
    return mean_over(_difference(prediction, target, valid).abs(), valid)


def mse(prediction: Tensor, target: Tensor, *, valid: Tensor) -> Tensor:
    """Mean squared difference: mean (p - t)^2. In [0, inf), lower is better, 0 at equality. Arguments as in `l1`."""
    return mean_over(_difference(prediction, target, valid) ** 2, valid)


def charbonnier(prediction: Tensor, target: Tensor, *, valid: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Smooth L1 (Charbonnier et al. 1994): mean sqrt((p - t)^2 + e^2) - e. In [0, inf), 0 at equality.

    Subtracting e leaves the gradient as published and makes the value 0 at equality. Arguments as in `l1`.
    """
    difference = _difference(prediction, target, valid)
    return mean_over(torch.sqrt(difference**2 + epsilon**2) - epsilon, valid)


def log_mse(prediction: Tensor, target: Tensor, *, valid: Tensor, floor: float = 1e-3) -> Tensor:
    """PSNR as a loss: mean over items of 1/2 log(1 + MSE / floor^2). In [0, inf), lower is better, 0 at equality.

    One unit is 8.7 dB, whatever the contrast of a scene, so that dim scenes count as much as bright ones. floor:
    root mean square error below which little is gained. Items without a valid pixel do not count. Otherwise as `l1`.
    """
    squared = _difference(prediction, target, valid) ** 2
    pixels = valid.sum(dim=(1, 2, 3))
    mse = squared.sum(dim=(1, 2, 3)) / (pixels.clamp_min(1) * prediction.shape[1])
    return torch.log1p(mse / floor**2).sum() / (2 * (pixels > 0).sum().clamp_min(1))


def mean_over(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of (batch, band, y, x) over bands and the pixels of `valid` (batch, 1, y, x); 0 without any."""
    count = valid.sum().clamp_min(1) * values.shape[1]
    return torch.where(valid, values, values.new_zeros(())).sum() / count


def _difference(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    # Choosing before subtracting keeps a NaN outside `valid` out of the gradient as well as out of the value.
    zero = prediction.new_zeros(())
    return torch.where(valid, prediction, zero) - torch.where(valid, target, zero)
