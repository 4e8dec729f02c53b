"""An image at half its size as a sensor with pixels twice as large sees it, and back; knows no band and no network.

The optics blur by a Gaussian, the larger pixel is the mean of 2 x 2 smaller ones. With a standard deviation of half a
small pixel this stands for Sentinel-2's transfer function between its 10 m and 20 m bands, and between 20 m and 40 m
(Lanaras et al., ISPRS Journal 2018: 1 / scale pixels, then the mean). Cut at one pixel here, which drops 0.03 % of the
Gaussian's weight and leaves four taps an axis, a b b a; edges are mirrored, the outermost pixel repeated.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR = 0.5
"""Standard deviation of the Gaussian in small pixels."""


def halve(image: Tensor, *, blur: float = BLUR) -> Tensor:
    """(batch, band, 2 y, 2 x) to (batch, band, y, x). blur: in pixels of the image, 0 for the plain mean of 2 x 2."""
    rim, core = _taps(blur)
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    rows = core * (padded[..., 1:-1:2, :] + padded[..., 2::2, :])
    rows = rows + rim * (padded[..., :-2:2, :] + padded[..., 3::2, :])
    columns = core * (rows[..., 1:-1:2] + rows[..., 2::2])
    return columns + rim * (rows[..., :-2:2] + rows[..., 3::2])


def double(small: Tensor, *, blur: float = BLUR) -> Tensor:
    """(batch, band, y, x) to an image (batch, band, 2 y, 2 x) that `halve` turns into exactly `small`, edges included.

    Of all such images the one whose pixels see their own and the nearest small pixel only: of the taps a b b a the
    inverse along an axis is p own + q nearest, p = b / (2 (b^2 - a^2)), q = -a p / b. It is rough; its use is to put
    right what another enlargement gets wrong, see `consistent`.
    """
    rim, core = _taps(blur)
    own = core / (2 * (core**2 - rim**2))
    nearest = -rim * own / core
    padded = F.pad(small, (1, 1, 1, 1), mode="replicate")
    middle = own * padded[..., 1:-1, :]
    rows = torch.stack([middle + nearest * padded[..., :-2, :], middle + nearest * padded[..., 2:, :]], dim=-2)
    tall = rows.flatten(-3, -2)
    middle = own * tall[..., 1:-1]
    return torch.stack([middle + nearest * tall[..., :-2], middle + nearest * tall[..., 2:]], dim=-1).flatten(-2)


def consistent(image: Tensor, small: Tensor, *, blur: float = BLUR) -> Tensor:
    """`image` (batch, band, 2 y, 2 x), changed so that `halve` makes `small` of it, to rounding."""
    return image + double(small - halve(image, blur=blur), blur=blur)


def _taps(blur: float) -> tuple[float, float]:
    """The outer and the inner weight of the four pixels along an axis; two of each sum to 1."""
    side = math.exp(-0.5 / blur**2) if blur > 0 else 0.0
    total = 2 * (1 + 2 * side)
    return side / total, (1 + side) / total
