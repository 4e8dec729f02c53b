"""Attention between the channels of a feature map, and the block around it; knows no network and no band."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class SpectralAttention(nn.Module):
    """Self-attention whose tokens are channels, with a depthwise branch for what position tells.

        q, k, v = conv1x1(x), each (head, channel of the head, pixel)
        A       = softmax(temperature * normalise(w q) normalise(w k)^T)       (channel x channel, one map a head)
        out     = conv1x1(A v) + position(v)

    q and k are L2-normalised along the pixels, so A holds cosines between channels and costs O(pixels * channels^2 /
    heads): linear in the pixels. The form of MST (Cai et al., CVPR 2022) and Restormer (Zamir et al., CVPR 2022);
    `weight` is ours.

    Args:
        channels: divisible by `heads`.
        heads: maps; each has a learnable temperature, 1 at the start.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.project = nn.Conv2d(channels, channels, 1)
        self.position = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        )

    def forward(self, features: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """(batch, channel, y, x) in and out.

        weight: (batch, heads, y, x), positive: how much a pixel counts in the channel statistics.
        """
        query, key, value = self.qkv(features).chunk(3, dim=1)
        height = features.shape[-2]
        heads = [rearrange(part, "b (h c) y x -> b h c (y x)", h=self.heads) for part in (query, key, value)]
        if weight is not None:
            across = rearrange(weight, "b h y x -> b h 1 (y x)")
            heads[0], heads[1] = heads[0] * across, heads[1] * across
        cosines = F.normalize(heads[0], dim=-1) @ F.normalize(heads[1], dim=-1).transpose(-2, -1)
        seen = (self.temperature * cosines).softmax(-1) @ heads[2]
        mixed: Tensor = self.project(rearrange(seen, "b h c (y x) -> b (h c) y x", y=height))
        local: Tensor = self.position(value)
        return mixed + local


class GatedFeedForward(nn.Module):
    """conv1x1(gelu(a) * b) with a, b = depthwise3x3(conv1x1(x)); the inner width is `expansion` times the outer.

    The gated feed-forward of Restormer (Zamir et al., CVPR 2022).
    """

    def __init__(self, channels: int, *, expansion: int) -> None:
        super().__init__()
        inner = 2 * expansion * channels
        self.widen = nn.Conv2d(channels, inner, 1)
        self.local = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.narrow = nn.Conv2d(expansion * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        gate, passed = self.local(self.widen(features)).chunk(2, dim=1)
        mixed: Tensor = self.narrow(F.gelu(gate) * passed)
        return mixed


class SpectralBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); about 10 channels^2 parameters at expansion 2.

    Args:
        channels: divisible by `heads`.
        heads: of the attention.
        expansion: of the feed-forward part.
        mask_bands: bands of a mask that may change how much a pixel counts in the statistics, 0 for none. The weight
            is exp(conv1x1(mask)), and the convolution starts at zero: every pixel counts alike until training finds
            otherwise.
    """

    def __init__(self, channels: int, heads: int, *, expansion: int, mask_bands: int = 0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = SpectralAttention(channels, heads)
        self.feed_norm = nn.LayerNorm(channels)
        self.feed_forward = GatedFeedForward(channels, expansion=expansion)
        self.mask_weight = mask_convolution(mask_bands, heads)

    def forward(self, features: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """(batch, channel, y, x) in and out; mask: (batch, mask_bands, y, x)."""
        weight = None
        if self.mask_weight is not None and mask is not None:
            weight = self.mask_weight(mask).exp()
        features = features + self.attention(_by_pixel(self.attention_norm, features), weight=weight)
        change: Tensor = self.feed_forward(_by_pixel(self.feed_norm, features))
        return features + change


def mask_convolution(mask_bands: int, heads: int) -> nn.Conv2d | None:
    """A 1x1 convolution from mask to heads that starts at zero; None for no band. No bias: a clear pixel gives 0."""
    if not mask_bands:
        return None
    convolution = nn.Conv2d(mask_bands, heads, 1, bias=False)
    nn.init.zeros_(convolution.weight)
    return convolution


def _by_pixel(norm: nn.LayerNorm, features: Tensor) -> Tensor:
    normed: Tensor = norm(features.movedim(1, -1))
    return normed.movedim(-1, 1)
