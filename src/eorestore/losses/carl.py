"""The cloud-adaptive regularised loss: keep what is clear, restore what is not; knows no network and no unit."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.losses.pixel import mean_over


def carl(
    prediction: Tensor,
    target: Tensor,
    *,
    cloudy: Tensor,
    clouded: Tensor,
    valid: Tensor,
    regularisation: float = 1.0,
) -> Tensor:
    """CARL (Meraner et al. 2020): mean of c |p - t| + (1 - c) |p - x|, plus regularisation * mean |p - t|.

    c is 1 under cloud and shadow, x the cloudy input. In [0, inf), lower is better; 0 where prediction and target are
    equal and the input's clear pixels are those of the target.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        cloudy: the same shape and bands; where a band is missing (NaN) the target stands in for it.
        clouded: (batch, 1, y, x) bool, cloud or shadow.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.
        regularisation: weight of the overall difference; 1 in the paper.

    Returns:
        Scalar; 0 where no pixel is valid.
    """
    zero = prediction.new_zeros(())
    wanted = torch.where(clouded | cloudy.isnan(), target, cloudy)
    prediction, target, wanted = (torch.where(valid, image, zero) for image in (prediction, target, wanted))
    return mean_over((prediction - wanted).abs() + regularisation * (prediction - target).abs(), valid)
