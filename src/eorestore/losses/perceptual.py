"""Differences between the features of a frozen network; knows no file, and of bands only which are red, green, blue."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from eorestore.losses.feature_weights import feature_network

GAIN = 2.5  # reflectance of ground is about 0.1, pictures are brighter; what ends above 1 is clipped


def perceptual(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    network: str,
    rgb: tuple[int, int, int],
    gain: float = GAIN,
) -> Tensor:
    """L1 between features, averaged over the levels of a frozen network (after Johnson et al. 2016).

        mean over levels of mean |f(p) - f(t)|, with f the features of clip(gain * RGB, 0, 1)

    In [0, inf), lower is better; values of different networks cannot be compared. One pass an image, tapped after
    every stage (VGG16: relu1_2, relu2_2, relu3_3, relu4_3). Johnson et al. take squares at one level; L1 at all weighs
    rare large differences less. What is clipped, reflectance above 1 / gain or below 0, gets no gradient.

    Invalid pixels are the same in both images before the network sees them: each band's mean over the item's valid
    target, since the target itself may hold anything there. A feature weighs as much as its own block is valid.

    Args:
        prediction: (batch, band, y, x), reflectance in [0, 1].
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.
        network: a name in `feature_weights.FEATURE_NETWORKS`.
        rgb: the bands B04, B03, B02 by position.
        gain: brightens reflectance to a picture.

    Returns:
        Scalar; 0 at equality and where no pixel is valid.

    Raises:
        MissingError, CheckpointError: as `feature_weights.feature_network`.
    """
    bands = list(rgb)
    known = torch.where(valid, target[:, bands], target.new_zeros(())).detach()
    mean = known.sum(dim=(2, 3), keepdim=True) / valid.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    truth = torch.where(valid, known, mean)
    restored = torch.where(valid, prediction[:, bands], mean)
    frozen = feature_network(network, device=prediction.device, dtype=prediction.dtype)
    with torch.no_grad():
        wanted = frozen((gain * truth).clamp(0, 1))
    found = frozen((gain * restored).clamp(0, 1))
    shares = valid.to(prediction.dtype)
    levels = [
        _weighted_mean((one - other).abs(), F.adaptive_avg_pool2d(shares, one.shape[-2:]))
        for one, other in zip(found, wanted, strict=True)
    ]
    return torch.stack(levels).mean()


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of (batch, channel, y, x) with weights (batch, 1, y, x); 0 where they are all 0."""
    total = weights.sum() * values.shape[1]
    return (values * weights).sum() / total.clamp_min(torch.finfo(values.dtype).eps)
