"""How far a map of attention is from where the cloud is; knows no network."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.losses.pixel import mean_over

VISIBLE = 0.05  # normalised reflectance, mean over bands: more than registration and noise, less than thin cloud


def attention_mse(attention: Tensor, wanted: Tensor, *, valid: Tensor) -> Tensor:
    """Mean squared difference of two maps: mean (A - M)^2 (Wang et al. 2019). In [0, 1] for maps from 0 to 1.

    Lower is better, 0 at equality.

    Args:
        attention: (batch, 1, y, x), from 0 to 1.
        wanted: the same shape; 1 where there is cloud.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.

    Returns:
        Scalar; 0 where no pixel is valid.
    """
    zero = attention.new_zeros(())
    apart = torch.where(valid, attention, zero) - torch.where(valid, wanted.to(attention.dtype), zero)
    return mean_over(apart.square(), valid)


def visible_cloud(cloudy: Tensor, target: Tensor, *, least: float = VISIBLE) -> Tensor:
    """1 where the cloudy image differs from the clear one by more than `least`, mean |c - t| over bands, else 0.

    Both (batch, band, y, x), normalised; the map is (batch, 1, y, x), float. Wang et al. (2019) threshold the
    difference in the same way; the value is ours. NaN counts as no difference.
    """
    return ((cloudy - target).abs().mean(dim=1, keepdim=True) > least).to(cloudy.dtype)
