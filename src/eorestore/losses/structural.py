"""One minus structural similarity, at one scale or several; knows no unit and expects images in [0, data_range]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from eorestore.layers.ssim import WINDOW, Border, at_centres, ssim_map, ssim_terms
from eorestore.losses.pixel import mean_over

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first (Wang et al. 2003)
_LEAST = 1e-3  # similarities below this have no gradient: fractional powers have an infinite one at 0


def one_minus_ssim(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    data_range: float = 1.0,
    border: Border = "interior",
) -> Tensor:
    """1 - SSIM, averaged over bands and valid pixels (Wang et al. 2004). In [0, 2], lower is better.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it weigh nothing in any window and get no gradient.
        data_range: largest minus smallest possible value.
        border: see `eorestore.layers.ssim.ssim_map`.

    Returns:
        Scalar; 0 at equality and where no pixel is valid.

    Raises:
        DataError: the image is smaller than the 11 x 11 window.
    """
    similarity = ssim_map(prediction, target, valid=valid, data_range=data_range, border=border)
    return mean_over(1 - similarity, at_centres(valid, border=border))


def one_minus_ms_ssim(
    prediction: Tensor, target: Tensor, *, valid: Tensor, scales: int | None = None, data_range: float = 1.0
) -> Tensor:
    """1 - multi-scale SSIM, averaged over bands and items (Wang et al. 2003). In [0, 1], lower is better.

        MS-SSIM = l_M^w_M * product over scales of cs_j^w_j; the image is halved from one scale to the next

    cs, contrast times structure, and l, luminance, are averaged over the windows of a scale before they are multiplied.
    A crop has room for fewer scales than the published five (64 pixels: 3); their weights are then scaled to sum 1.
    Halving averages over valid pixels and drops an odd last row or column.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it weigh nothing and get no gradient.
        scales: how many, 1 to 5; as many as the window of 11 pixels fits in without it.
        data_range: largest minus smallest possible value.

    Returns:
        Scalar; 0 at equality and where no pixel is valid.

    Raises:
        DataError: the image is smaller than the window at the coarsest scale.
    """
    count = scales or scales_within(min(prediction.shape[-2:]))
    weights = [weight / sum(SCALE_WEIGHTS[:count]) for weight in SCALE_WEIGHTS[:count]]
    similarity = prediction.new_ones(prediction.shape[:2])
    items = (at_centres(valid, border="interior")).any(dim=(1, 2, 3))
    for scale, weight in enumerate(weights):
        if scale > 0:
            prediction, target = _halved(prediction, valid), _halved(target, valid)
            valid = F.max_pool2d(valid.float(), 2) > 0
        luminance, structure = ssim_terms(prediction, target, valid=valid, data_range=data_range)
        terms = luminance * structure if scale == count - 1 else structure
        centres = at_centres(valid, border="interior")
        windows = centres.sum(dim=(2, 3))
        mean = torch.where(centres, terms, terms.new_zeros(())).sum(dim=(2, 3)) / windows.clamp_min(1)
        mean = torch.where(windows > 0, mean, mean.new_ones(()))
        similarity = similarity * mean.clamp_min(_LEAST) ** weight
    return torch.where(items, 1 - similarity.mean(dim=1), similarity.new_zeros(())).sum() / items.sum().clamp_min(1)


def scales_within(side: int) -> int:
    """How many scales an image has whose shorter side is `side` pixels: 1 to 5."""
    return max(1, sum(side >> scale >= WINDOW for scale in range(len(SCALE_WEIGHTS))))


def _halved(image: Tensor, valid: Tensor) -> Tensor:
    """Means over the valid ones of 2 x 2 pixels; 0 where there is none."""
    seen = F.avg_pool2d(torch.where(valid, image, image.new_zeros(())), 2)
    return seen / F.avg_pool2d(valid.to(image.dtype), 2).clamp_min(0.25)
