"""Attention by a large kernel: every pixel weighed by its wide surroundings; knows no network.

Guo, Lu, Liu, Cheng, Hu: "Visual attention network", Computational Visual Media 9 (2023). Written from a description.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.layers.reflection import reflect_pad

Form = Literal["dilated", "strips"]


class LargeKernelAttention(nn.Module):
    """Features times a map of their wide surroundings.

        dilated: x * conv1x1(depthwise 7x7, every third pixel(depthwise 5x5(x)))       23 x 23 pixels
        strips:  x * conv1x1(depthwise 21x1(depthwise 1x21(depthwise 5x5(x))))         25 x 25 pixels

    Edges are reflected, once for both convolutions, where the paper has zeros: a constant image stays constant up to
    its edge. The strips are
    those of SegNeXt (Guo et al., NeurIPS 2022) in a row.
    """

    def __init__(self, channels: int, *, form: Form = "dilated") -> None:
        super().__init__()
        self.near = nn.Conv2d(channels, channels, 5, groups=channels)
        if form == "dilated":
            self.reach = 2 + 9
            far = [nn.Conv2d(channels, channels, 7, dilation=3, groups=channels)]
        else:
            self.reach = 2 + 10
            far = [nn.Conv2d(channels, channels, size, groups=channels) for size in ((1, 21), (21, 1))]
        self.far = nn.Sequential(*far)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        around: Tensor = self.mix(self.far(self.near(reflect_pad(features, self.reach))))
        return features * around


class LargeKernelBlock(nn.Module):
    """x + conv1x1(LKA(GELU(conv1x1(x)))): the attention half of the paper's block, without batch norm or dropout."""

    def __init__(self, channels: int, *, form: Form = "dilated") -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.attend = LargeKernelAttention(channels, form=form)
        self.leave = nn.Conv2d(channels, channels, 1)
        self.reach = self.attend.reach

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        change: Tensor = self.leave(self.attend(F.gelu(self.enter(features))))
        return features + change
