"""Attention of one feature map on another, in windows or over channels; knows neither sensor nor network.

Full attention over a map of n pixels costs n x n: 0.5 GB for 64 x 64 pixels and 8 heads, 16 times that for twice
the side. Both forms here cost memory in proportion to n, at any size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from eorestore.layers.windows import cut_windows, cyclic_shift, merge_windows, relative_position_index


class WindowCrossAttention(nn.Module):
    """Every pixel of `asking` looks at the pixels of `answering` in its window.

        softmax(q(norm(asking)) k(norm(answering))^T / sqrt(d) + B) v(norm(answering))

    B is a relative position bias by head (Swin Transformer, Liu et al., ICCV 2021). The result is not yet projected.

    Args:
        channels: of both maps.
        heads: attention heads.
        width: channels of queries, keys, values and of the result; divisible by `heads`.
        window: side of a window in pixels.
        shift: by how many pixels the windows are moved down and right; less than `window`.
    """

    index: Tensor

    def __init__(self, channels: int, heads: int, *, width: int, window: int, shift: int = 0) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.scaling = (width // heads) ** -0.5
        self.norm_asking, self.norm_answering = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query = nn.Linear(channels, width)
        self.key_value = nn.Linear(channels, 2 * width)
        self.position_bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)
        self.register_buffer("index", relative_position_index(window), persistent=False)

    def forward(self, asking: Tensor, answering: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            asking: (batch, channel, y, x); y and x are multiples of `window`.
            answering: the same shape.
            mask: (windows, token, token) of `shift_mask`, wanted where `shift` is not 0.

        Returns:
            (batch, width, y, x).
        """
        query = self._heads(self.query(self.norm_asking(self._cut(asking))))
        key, value = self.key_value(self.norm_answering(self._cut(answering))).chunk(2, dim=-1)
        logits = (query * self.scaling) @ self._heads(key).transpose(-2, -1)
        logits = logits + rearrange(self.position_bias[self.index], "query key head -> head query key")
        if mask is not None and self.shift:
            logits = logits + mask.repeat(len(logits) // len(mask), 1, 1)[:, None]
        seen = rearrange(logits.softmax(-1) @ self._heads(value), "n head token d -> n token (head d)")
        height, width = asking.shape[-2:]
        return cyclic_shift(merge_windows(seen, self.window, height=height, width=width), -self.shift)

    def _cut(self, features: Tensor) -> Tensor:
        return cut_windows(cyclic_shift(features, self.shift), self.window)

    def _heads(self, tokens: Tensor) -> Tensor:
        return rearrange(tokens, "n token (head d) -> n head token d", head=self.heads)


class ChannelCrossAttention(nn.Module):
    """Every channel of `asking` looks at the channels of `answering`, each as one vector over all pixels.

        softmax(t * q^ k^^T) v        q^, k^: queries and keys with norm 1 over the pixels; t: learned, by head

    The transposed attention of Restormer (Zamir et al., CVPR 2022) between two maps: 1x1 and depthwise 3x3
    convolutions make q, k and v. Its map of width/heads x width/heads sums over all pixels, so it reaches everywhere.

    Args:
        channels: of both maps.
        heads: attention heads.
        width: channels of queries, keys, values and of the result; divisible by `heads`.
    """

    def __init__(self, channels: int, heads: int, *, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_asking, self.norm_answering = nn.GroupNorm(1, channels), nn.GroupNorm(1, channels)
        self.query = _pointwise_then_depthwise(channels, width)
        self.key_value = _pointwise_then_depthwise(channels, 2 * width)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def forward(self, asking: Tensor, answering: Tensor) -> Tensor:
        """(batch, channel, y, x) twice -> (batch, width, y, x)."""
        key, value = self.key_value(self.norm_answering(answering)).chunk(2, dim=1)
        query, key, value = (
            rearrange(part, "b (head d) y x -> b head d (y x)", head=self.heads)
            for part in (self.query(self.norm_asking(asking)), key, value)
        )
        logits = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        seen: Tensor = (logits * self.temperature).softmax(-1) @ value
        return rearrange(seen, "b head d (y x) -> b (head d) y x", y=asking.shape[-2])


def _pointwise_then_depthwise(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1), nn.Conv2d(width, width, 3, padding=1, groups=width))
