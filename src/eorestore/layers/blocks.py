"""Small building blocks that several networks share; knows no network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualConv(nn.Module):
    """x + conv3x3(LeakyReLU(conv3x3(x))), all in `channels` channels, no activation after the sum."""

    def __init__(self, channels: int, *, slope: float = 0.1) -> None:
        super().__init__()
        self.slope = slope
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        change: Tensor = self.second(F.leaky_relu(self.first(features), self.slope))
        return features + change


class MLP(nn.Module):
    """Two linear maps with GELU between, over the last axis; the inner width is `ratio` times the outer."""

    def __init__(self, channels: int, *, ratio: int) -> None:
        super().__init__()
        self.widen = nn.Linear(channels, ratio * channels)
        self.narrow = nn.Linear(ratio * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., channel) in and out."""
        mixed: Tensor = self.narrow(F.gelu(self.widen(tokens)))
        return mixed


class DropPath(nn.Module):
    """Drops a whole branch of a residual sum for a random share of the samples, in training only.

    Stochastic depth (Huang et al., ECCV 2016). What stays is divided by 1 - rate, so the mean is kept.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """(batch, ...) in and out."""
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        draw = torch.rand(branch.shape[0], *(1,) * (branch.ndim - 1), device=branch.device)
        return branch * ((draw < keep) / keep).to(branch.dtype)
