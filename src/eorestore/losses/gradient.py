"""Differences at edges: Sobel gradients compared, or pixels weighted by the target's edges; know no unit."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from eorestore.layers.reflection import reflect_pad
from eorestore.layers.sobel import inner, sobel
from eorestore.losses.pixel import mean_over

EDGE_FLOOR = 1e-4  # mean gradient, in the image's scale per pixel, below which a band counts as flat
STRONG = 3.0  # a gradient this many times the mean counts fully as an edge


def sobel_l1(
    prediction: Tensor, target: Tensor, *, valid: Tensor, border: Literal["interior", "reflect"] = "interior"
) -> Tensor:
    """L1 between Sobel gradients: mean of |Sx p - Sx t| and |Sy p - Sy t|. In [0, inf), lower is better.

    The spatial term of AFSST, in our reading, and the edge loss of super-resolution: components, not magnitudes, so
    that an edge turned round counts. A pixel counts where its whole 3 x 3 neighbourhood is valid.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.
        border: whether pixels at the image's edge count: not, since a neighbour is missing, or with the image
            mirrored there.

    Returns:
        Scalar; 0 at equality and where no 3 x 3 neighbourhood is valid.
    """
    zero = prediction.new_zeros(())
    difference = torch.where(valid, prediction, zero) - torch.where(valid, target, zero)
    # The operator is linear: one pass over the difference is that of both images.
    if border == "interior":
        return mean_over(sobel(difference).abs(), inner(valid))
    counted = inner(reflect_pad(valid.float(), 1) > 0)[..., 1:-1, 1:-1]
    return mean_over(sobel(reflect_pad(difference, 1))[..., 1:-1, 1:-1].abs(), counted)


def edge_weighted_l1(prediction: Tensor, target: Tensor, *, valid: Tensor, strength: float = 2.0) -> Tensor:
    """L1 that counts more at the target's edges: mean (1 + strength * e) |p - t|. In [0, inf), 0 at equality.

    e is `edge_map` of the target. Weighting by edges that the network itself predicts would reward a network that
    predicts none. Otherwise as `pixel.l1`.
    """
    zero = prediction.new_zeros(())
    difference = torch.where(valid, prediction, zero) - torch.where(valid, target, zero)
    return mean_over((1 + strength * edge_map(target, valid=valid)) * difference.abs(), valid)


def edge_map(image: Tensor, *, valid: Tensor) -> Tensor:
    """Where the edges of an image are: its Sobel magnitude relative to the mean of each item and band.

    e = min(1/3 * mean over bands of (m / mean of m), 1): an edge three times as strong as the mean counts fully. The
    mean is a steadier scale than the maximum, which is one pixel.

    Args:
        image: (batch, band, y, x).
        valid: (batch, 1, y, x) bool.

    Returns:
        (batch, 1, y, x) in [0, 1], without gradient; 0 where a pixel of the 3 x 3 neighbourhood is not valid or
        outside the image, and everywhere on a flat image.
    """
    counted = inner(valid)
    seen = torch.where(valid, image.detach(), image.new_zeros(()))
    across, down = sobel(seen).chunk(2, dim=1)
    magnitude = torch.where(counted, torch.hypot(across, down), across.new_zeros(()))
    mean = magnitude.sum(dim=(2, 3), keepdim=True) / counted.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    relative = (magnitude / mean.clamp_min(EDGE_FLOOR)).mean(dim=1, keepdim=True)
    return (relative / STRONG).clamp_max(1)
