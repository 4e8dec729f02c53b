"""How far the colours of an image lie from those of its reference: mean error of each band; knows no sensor."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.metrics.fidelity import aligned


def band_bias(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Mean of p - t over the pixels of each band, in the unit of the images; 0 is best, positive is too bright.

    Errors of both signs cancel, so noise and blur hardly show in it: what is left is a tint.

    Args:
        prediction: (batch, band, y, x) or (band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) or (1, y, x) bool; what lies outside cannot change the score, NaN included.
        region: bool like `valid`; only valid pixels inside it count. None: all valid pixels.

    Returns:
        (batch, band), or (band,) for a single image; float64; NaN where no pixel counts.
    """
    prediction, target, _, counted = aligned(prediction, target, valid, region)
    error = torch.where(counted, prediction - target, prediction.new_zeros(()))
    return error.sum(dim=(-2, -1)) / counted.sum(dim=(-2, -1))


def bias(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Mean over bands of |`band_bias`|; lower is better, 0 where every band is right on average. See `band_bias`."""
    return band_bias(prediction, target, valid=valid, region=region).abs().mean(dim=-1)
