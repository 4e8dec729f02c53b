"""Sobel gradients of every band, after a blur, and with a learnable factor; knows no network and no unit."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ACROSS = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def sobel(image: Tensor) -> Tensor:
    """Gradients along x, then along y, of every band: (batch, band, y, x) -> (batch, 2 * band, y, x).

    The 3x3 operator of Sobel and Feldman (1968) divided by 8, so that a ramp that rises by 1 a pixel has gradient 1.
    Borders are repeated. The x gradients of all bands come first.
    """
    bands = image.shape[1]
    across = torch.tensor(_ACROSS, dtype=image.dtype, device=image.device) / 8
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    pair = [F.conv2d(padded, one.expand(bands, 1, 3, 3), groups=bands) for one in (across, across.T)]
    return torch.cat(pair, dim=1)


def inner(valid: Tensor) -> Tensor:
    """Pixels (..., 1, y, x) whose 3 x 3 neighbourhood lies inside the image and is valid; bool in and out."""
    gaps = F.pad((~valid).float(), (1, 1, 1, 1), value=1.0)
    return F.max_pool2d(gaps.view(-1, 1, *gaps.shape[-2:]), 3, stride=1).view(valid.shape) == 0


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """(batch, band, y, x) smoothed by a Gaussian of `sigma` pixels, cut at three sigma; borders are repeated.

    The same under autocast: a fixed filter gains nothing by bfloat16, for which oneDNN takes minutes to write a kernel
    for long and narrow windows of images with channels last.
    """
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, -1)
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    kind = image.device.type
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        down = F.conv2d(padded, kernel[..., None], groups=image.shape[1])
        return F.conv2d(down, kernel[:, :, None], groups=image.shape[1])


class LearnableSobel(nn.Module):
    """factor * sobel(blur(image)), with one number as factor.

    Args:
        sigma: of the blur in pixels; SAR wants one, since Sobel amplifies speckle.
        learned: whether training changes the factor; it starts at 1 and stays there otherwise.
    """

    def __init__(self, *, sigma: float, learned: bool) -> None:
        super().__init__()
        self.sigma = sigma
        self.factor = nn.Parameter(torch.ones(())) if learned else None

    def forward(self, image: Tensor) -> Tensor:
        """(batch, band, y, x) -> (batch, 2 * band, y, x), ordered as in `sobel`."""
        gradients = sobel(gaussian_blur(image, self.sigma))
        return gradients if self.factor is None else self.factor * gradients
