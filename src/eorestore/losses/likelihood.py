"""Minus the log-likelihood of the target under a predicted error; knows no network and no unit."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.losses.pixel import mean_over

SIGMA_FLOOR = 1e-3  # of the image's scale: a thousandth of reflectance, less than Sentinel-2's own noise


def gaussian_nll(
    prediction: Tensor, target: Tensor, *, sigma: Tensor, valid: Tensor, floor: float = SIGMA_FLOOR
) -> Tensor:
    """Gaussian negative log-likelihood: mean of log(s) + (p - t)^2 / (2 s^2), with s^2 = sigma^2 + floor^2.

    In [log floor, inf), lower is better; not 0 at equality. The constant log(2 pi) / 2 is left out (Nix and Weigend
    1994; as a cloud-removal loss: Ebel et al. 2023, UnCRtainTS). The floor is added, not clamped, so that a sigma
    that fell below it still has a gradient to come back by.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        sigma: the same shape; one standard deviation of the error, in the image's scale.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN in all three.
        floor: in the image's scale.

    Returns:
        Scalar; 0 where no pixel is valid.
    """
    zero = prediction.new_zeros(())
    difference = torch.where(valid, prediction, zero) - torch.where(valid, target, zero)
    variance = torch.where(valid, sigma, zero) ** 2 + floor**2
    return mean_over((variance.log() + difference**2 / variance) / 2, valid)
