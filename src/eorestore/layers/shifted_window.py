"""The block of the Swin Transformer on feature maps; knows no network around it."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from eorestore.layers.blocks import MLP
from eorestore.layers.spectral_attention import mask_convolution
from eorestore.layers.windows import cut_windows, cyclic_shift, merge_windows, relative_position_index, shift_mask


class WindowAttention(nn.Module):
    """softmax(q k^T / sqrt(d) + B) v inside a window, B a bias by relative position, then a linear map.

    Args:
        channels: channels of a token; divisible by `heads`.
        heads: attention heads.
        window: side of a window; a window has window * window tokens.
    """

    index: Tensor

    def __init__(self, channels: int, heads: int, *, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.scaling = (channels // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.position_bias, std=0.02)
        self.register_buffer("index", relative_position_index(window), persistent=False)

    def forward(self, tokens: Tensor, *, mask: Tensor | None = None, key_bias: Tensor | None = None) -> Tensor:
        """(batch * windows, token, channel) in and out.

        mask: (windows, token, token), added to the logits; see `shift_mask`.
        key_bias: (batch * windows, token, heads), added to the logits of every query towards that token.
        """
        bias = rearrange(self.position_bias[self.index], "query key head -> head query key")
        if mask is not None:
            bias = bias + mask.repeat(tokens.shape[0] // mask.shape[0], 1, 1)[:, None]
        if key_bias is not None:
            bias = bias + rearrange(key_bias, "n key head -> n head 1 key")
        query, key, value = rearrange(
            self.qkv(tokens), "n token (three head d) -> three n head token d", three=3, head=self.heads
        )
        logits = (query * self.scaling) @ key.transpose(-2, -1) + bias
        mixed: Tensor = self.project(rearrange(logits.softmax(-1) @ value, "n head token d -> n token (head d)"))
        return mixed


class ShiftedWindowBlock(nn.Module):
    """x + attention(norm(x)) inside windows, then x + MLP(norm(x)): Swin Transformer (Liu et al., ICCV 2021).

    Sides are multiples of `window`. About (4 + 2 ratio) channels^2 parameters.

    Args:
        channels: divisible by `heads`.
        heads: of the attention.
        window: side of a window.
        shifted: whether windows are shifted by half a window, as in every second block.
        ratio: inner width of the MLP, in channels.
        mask_bands: bands of a mask that may change how much a pixel counts as a key, 0 for none. The change is a
            logit conv1x1(mask), which starts at zero.
    """

    def __init__(
        self, channels: int, heads: int, *, window: int, shifted: bool, ratio: int, mask_bands: int = 0
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2 if shifted else 0
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window=window)
        self.feed_norm = nn.LayerNorm(channels)
        self.feed_forward = MLP(channels, ratio=ratio)
        self.mask_weight = mask_convolution(mask_bands, heads)

    def forward(self, features: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """(batch, channel, y, x) in and out; mask: (batch, mask_bands, y, x)."""
        height, width = features.shape[-2:]
        apart = key_bias = None
        if self.shift:
            apart = shift_mask(height, width, size=self.window, shift=self.shift, device=features.device)
        if self.mask_weight is not None and mask is not None:
            key_bias = self._cut(self.mask_weight(mask))
        tokens = self._cut(features)
        tokens = tokens + self.attention(self.attention_norm(tokens), mask=apart, key_bias=key_bias)
        tokens = tokens + self.feed_forward(self.feed_norm(tokens))
        return cyclic_shift(merge_windows(tokens, self.window, height=height, width=width), -self.shift)

    def _cut(self, features: Tensor) -> Tensor:
        return cut_windows(cyclic_shift(features, self.shift), self.window)
