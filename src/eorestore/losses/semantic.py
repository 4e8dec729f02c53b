"""Differences in what CLIP sees in two images; knows no file, and of bands only which are red, green, blue."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from eorestore.losses.feature_weights import feature_network
from eorestore.losses.perceptual import pictures


def clip_semantic(
    prediction: Tensor, target: Tensor, *, valid: Tensor, rgb: tuple[int, int, int], gain: float = 1.0
) -> Tensor:
    """1 - cosine between the image embeddings of CLIP (Radford et al. 2021), averaged over items. In [0, 2].

    Lower is better, 0 at equality; computed as |u - v|^2 / 2 for the unit vectors u, v, which is the same. The loss
    on prompts ("a sharp photo" against "a blurry photo") that is often used in its place compares with no target, so
    it is not 0 at equality, rewards whatever looks sharp, and moves colours; computed without gradient for the image,
    as it has been, it is a constant. It is left out here.

    Args:
        prediction: (batch, band, y, x), reflectance or a picture in [0, 1].
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN. Before the network sees
            them they are the same in both images, as in `perceptual`.
        rgb: red, green and blue by position.
        gain: brightens reflectance to a picture. Nothing is clipped.

    Returns:
        Scalar; 0 where no pixel is valid.

    Raises:
        MissingError, CheckpointError: as `feature_weights.feature_network`.
    """
    frozen = feature_network("clip", device=prediction.device, dtype=prediction.dtype)
    restored, truth = pictures(prediction, target, valid=valid, rgb=rgb)
    with torch.no_grad():
        wanted = F.normalize(frozen(gain * truth), dim=1)
    found = F.normalize(frozen(gain * restored), dim=1)
    apart = (found - wanted).square().sum(dim=1) / 2
    judged = valid.any(dim=(1, 2, 3))
    return torch.where(judged, apart, apart.new_zeros(())).sum() / judged.sum().clamp_min(1)
