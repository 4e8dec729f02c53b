"""Eight-fold self-ensemble: the mean over flips and quarter turns; knows no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def turn(image: Tensor, index: int) -> Tensor:
    """One of the eight flips and quarter turns of the last two axes, `index` 0 to 7; 0 leaves the image alone."""
    turned = torch.rot90(image, index % 4, dims=(-2, -1))
    return turned.flip(-1) if index >= 4 else turned


def turn_back(image: Tensor, index: int) -> Tensor:
    """The inverse of `turn`."""
    turned = image.flip(-1) if index >= 4 else image
    return torch.rot90(turned, -(index % 4), dims=(-2, -1))


def self_ensemble(forward: Callable[[Mapping[str, Tensor]], Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    """Mean of `forward` over the eight turns; inputs of fewer than three axes are constants and stay as they are.

    Source: the geometric self-ensemble of Lim et al. 2017 (EDSR).
    """
    height, width = next(value.shape[-2:] for value in inputs.values() if value.ndim == 4)
    total: Tensor | None = None
    for index in range(8):
        turned = {
            key: turn(value, index) if value.ndim == 4 and value.shape[-2:] == (height, width) else value
            for key, value in inputs.items()
        }
        image = turn_back(forward(turned), index)
        total = image if total is None else total + image
    if total is None:
        raise ValueError("no turn was made")
    return total / 8
