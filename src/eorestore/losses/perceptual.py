"""Differences between the features of a frozen network; knows no file, and of bands only which are red, green, blue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from eorestore.errors import UnknownNameError
from eorestore.layers.feature_network import FeatureNetwork
from eorestore.losses.feature_weights import feature_network

GAIN = 2.5  # reflectance of ground is about 0.1, pictures are brighter; what ends above 1 is clipped
PICTURE_RANGE = (0.0, 1.0)


def perceptual(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    network: str,
    rgb: tuple[int, int, int],
    gain: float = GAIN,
    clip: tuple[float, float] | None = PICTURE_RANGE,
    layers: Mapping[str, float] | None = None,
) -> Tensor:
    """L1 between features, averaged over the layers of a frozen network (after Johnson et al. 2016).

        sum over layers l of w_l mean |f_l(p) - f_l(t)|  /  sum of w_l,  with f the features of clip(gain * RGB, 0, 1)

    In [0, inf), lower is better; values of different networks cannot be compared. One pass an image, tapped after
    every stage (VGG16: relu1_2, relu2_2, relu3_3, relu4_3; VGG19: relu1_2, relu2_2, relu3_4, relu4_4, relu5_4).
    Johnson et al. take squares at one layer; L1 at all weighs rare large differences less. What is clipped gets no
    gradient: of reflectance what is above 1 / gain or below 0.

    Invalid pixels are the same in both images before the network sees them: each band's mean over the item's valid
    target, since the target itself may hold anything there. A feature weighs as much as its own block is valid.

    Args:
        prediction: (batch, band, y, x), reflectance or a picture in [0, 1].
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.
        network: a name in `feature_weights.FEATURE_NETWORKS` with layers.
        rgb: red, green and blue by position.
        gain: brightens reflectance to a picture; 1 for pictures.
        clip: the range of a picture, or None, so that what lies outside still has a gradient.
        layers: weights by name; all layers alike by default. A layer that a tiny image has no pixels for is left out.

    Returns:
        Scalar; 0 at equality and where no pixel is valid.

    Raises:
        MissingError, CheckpointError: as `feature_weights.feature_network`.
        UnknownNameError: the network is not tapped at such a layer.
    """
    frozen = cast(FeatureNetwork, feature_network(network, device=prediction.device, dtype=prediction.dtype))
    weights = dict.fromkeys(frozen.taps, 1.0) if layers is None else layers
    for name in weights:
        if name not in frozen.taps:
            raise UnknownNameError(f"layer of {network}", name, frozen.taps)
    restored, truth = (gain * image for image in pictures(prediction, target, valid=valid, rgb=rgb))
    if clip is not None:
        restored, truth = restored.clamp(*clip), truth.clamp(*clip)
    with torch.no_grad():
        wanted = frozen(truth)
    found = frozen(restored)
    shares = valid.to(prediction.dtype)
    # a tiny image has fewer taps than there are names
    levels = [
        (weights[name], _weighted_mean((one - other).abs(), F.adaptive_avg_pool2d(shares, one.shape[-2:])))
        for name, one, other in zip(frozen.taps[: len(found)], found, wanted, strict=True)
        if name in weights
    ]
    total = sum(weight for weight, _ in levels)
    if not total:
        return restored.sum() * 0
    return torch.stack([weight * level for weight, level in levels]).sum() / total


def pictures(prediction: Tensor, target: Tensor, *, valid: Tensor, rgb: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Red, green and blue of both, (batch, 3, y, x), equal where a pixel is invalid: the mean of the valid target."""
    bands = list(rgb)
    known = torch.where(valid, target[:, bands], target.new_zeros(())).detach()
    mean = known.sum(dim=(2, 3), keepdim=True) / valid.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    return torch.where(valid, prediction[:, bands], mean), torch.where(valid, known, mean)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of (batch, channel, y, x) with weights (batch, 1, y, x); 0 where they are all 0."""
    total = weights.sum() * values.shape[1]
    return (values * weights).sum() / total.clamp_min(torch.finfo(values.dtype).eps)
