"""The map of structural similarity, for the loss and for the metric; knows no unit and averages nothing."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from eorestore.errors import DataError

Border = Literal["interior", "zero"]

WINDOW = 11
SIGMA = 1.5
RADIUS = WINDOW // 2


def gaussian(size: int = WINDOW, *, sigma: float = SIGMA) -> Tensor:
    """One axis of the window: `size` weights of sum 1, centred at (size - 1) / 2, float64."""
    offset = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    return weights / weights.sum()


def ssim_map(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    border: Border = "interior",
    data_range: float = 1.0,
) -> Tensor:
    """Structural similarity at every pixel of every band (Wang et al. 2004), 11 x 11 Gaussian, sigma 1.5.

        SSIM = (2 m_x m_y + C1) (2 s_xy + C2) / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2))
        C1 = (0.01 range)^2, C2 = (0.03 range)^2; population variances

    Pixels that are not valid weigh nothing in any window: the weights of the others are scaled to sum 1.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool.
        border: `interior` keeps only windows inside the image, so the map loses 5 pixels a side; `zero` pads
            with zeros and keeps the size, as papers on SEN12MS-CR do. Their scores differ visibly.
        data_range: largest minus smallest possible value.

    Returns:
        (batch, band, y, x) or (batch, band, y - 10, x - 10), at most 1; 1 is equal. Where the centre is not
        valid the value means nothing.

    Raises:
        DataError: the image is smaller than the window and `border` is `interior`.
    """
    luminance, structure = ssim_terms(prediction, target, valid=valid, border=border, data_range=data_range)
    return luminance * structure


def ssim_terms(
    prediction: Tensor, target: Tensor, *, valid: Tensor, border: Border = "interior", data_range: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The two factors of `ssim_map`: luminance, and contrast times structure. Arguments and errors as there."""
    height, width = prediction.shape[-2:]
    if border == "interior" and min(height, width) < WINDOW:
        raise DataError(
            f"{height} x {width} pixels are smaller than the {WINDOW} x {WINDOW} window of SSIM",
            fix="score a larger image, or leave SSIM out",
        )
    zero = prediction.new_zeros(())
    x, y = torch.where(valid, prediction, zero), torch.where(valid, target, zero)
    weights = valid.to(prediction.dtype)
    if border == "zero":
        padding = (RADIUS,) * 4
        x, y = F.pad(x, padding), F.pad(y, padding)
        # Outside the image zeros count as observed: that is what "zero padding" means in the papers.
        weights = F.pad(weights, padding, value=1.0)
    share = _blur(weights).clamp_min(torch.finfo(prediction.dtype).eps)
    mean_x, mean_y = _blur(x) / share, _blur(y) / share
    variance_x = _blur(x * x) / share - mean_x**2
    variance_y = _blur(y * y) / share - mean_y**2
    covariance = _blur(x * y) / share - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variance_x + variance_y + c2)


def at_centres(image: Tensor, *, border: Border) -> Tensor:
    """The pixels of (..., y, x) at which `ssim_map` has a window."""
    return image if border == "zero" else image[..., RADIUS:-RADIUS, RADIUS:-RADIUS]


def _blur(image: Tensor) -> Tensor:
    # Sums of shifted images: a convolution with one channel in double precision takes three times as long.
    weights: list[float] = gaussian().tolist()
    for axis in (-2, -1):
        length = image.shape[axis] - WINDOW + 1
        shifted = (weight * image.narrow(axis, start, length) for start, weight in enumerate(weights))
        image = functools.reduce(torch.add, shifted)
    return image
