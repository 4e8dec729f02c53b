"""Dynamic filter: a kernel of its own for every pixel and channel; knows not where kernels come from."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

Form = Literal["unfold", "shift"]


def dynamic_filter(features: Tensor, kernels: Tensor, *, size: int = 5, form: Form | None = None) -> Tensor:
    """Filter `features` with a kernel for each pixel and channel; borders are replicated.

        out[c, y, x] = sum over i, j of padded[c, y + i, x + j] * kernels[size^2 c + size i + j, y, x]

    i is the row; a cross-correlation, so nothing is flipped. The filter adaptive convolution of STFAN
    (Zhou et al., ICCV 2019) in plain PyTorch, as GLF-CR uses it (Xu et al. 2022).

    Args:
        features: (batch, channel, y, x).
        kernels: (batch, channel * size * size, y, x).
        size: side of the kernels, odd.
        form: `unfold` copies the features size * size times and has a cheap gradient; `shift` needs no copy
            and is the faster one without a gradient. None takes `unfold` where gradients are recorded.

    Returns:
        (batch, channel, y, x).
    """
    padded = F.pad(features, (size // 2,) * 4, mode="replicate")
    weights = rearrange(kernels, "b (c k) y x -> b c k y x", c=features.shape[1])
    if form is None:
        form = "unfold" if torch.is_grad_enabled() else "shift"
    return _unfold(padded, weights, size) if form == "unfold" else _shift(padded, weights, size)


def _unfold(padded: Tensor, weights: Tensor, size: int) -> Tensor:
    neighbours = F.unfold(padded, size).view_as(weights)
    return (neighbours * weights).sum(2)


def _shift(padded: Tensor, weights: Tensor, size: int) -> Tensor:
    height, width = weights.shape[-2:]
    total = torch.zeros_like(weights[:, :, 0], dtype=torch.promote_types(padded.dtype, weights.dtype))
    for row in range(size):
        for column in range(size):
            neighbour = padded[..., row : row + height, column : column + width]
            total.addcmul_(neighbour, weights[:, :, size * row + column])
    return total
