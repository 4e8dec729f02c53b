"""What versions v1, v3 and v4 add to GLF-CR; knows feature maps only, and starts every branch at zero.

The plan of these versions was never published. Where a part differs from it, the docstring says how and why.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from eorestore.layers.blocks import ResidualConv
from eorestore.layers.cross_attention import ChannelCrossAttention, WindowCrossAttention

_BLUR_SIGMA, _BLUR_RADIUS = 1.0, 2  # pixels at half resolution
_TEXTURE_BLOCKS = 3
TEXTURE_REACH = _BLUR_RADIUS + 2 * _TEXTURE_BLOCKS + 1


class CrossModalAttention(nn.Module):
    """v1: each stream takes from the other what it finds by attention.

        optical + sigmoid(gate[optical, seen]) * project(seen)      seen = attention(optical asks, SAR answers)
        sar     + sigmoid(gate[sar, seen])     * project(seen)      seen = attention(SAR asks, optical answers)

    Differs from the plan: attention in windows or over channels, since the plan's attention over all pixels takes
    0.5 GB a direction, sample and block. Both directions see the streams as they came in.

    Args:
        channels: of both streams.
        heads: attention heads; divides `width`.
        kind: `window` or `channel`; see layers.cross_attention.
        width: channels inside the attention.
        window, shift: of the windows.
        both: whether SAR asks too; without it the SAR stream passes through.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        kind: Literal["window", "channel"],
        width: int,
        window: int,
        shift: int,
        both: bool,
    ) -> None:
        super().__init__()
        self.kind = kind
        streams = ("optical", "sar") if both else ("optical",)
        self.attention: nn.ModuleDict = nn.ModuleDict(
            {
                stream: WindowCrossAttention(channels, heads, width=width, window=window, shift=shift)
                if kind == "window"
                else ChannelCrossAttention(channels, heads, width=width)
                for stream in streams
            }
        )
        self.gate = nn.ModuleDict({stream: nn.Conv2d(channels + width, channels, 1) for stream in streams})
        self.project = nn.ModuleDict({stream: _zero(nn.Conv2d(width, channels, 1)) for stream in streams})

    def forward(self, optical: Tensor, sar: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channel, y, x) each, in and out; `shifted` is the `shift_mask` of their size."""
        changed = self._ask("optical", optical, sar, shifted)
        return changed, self._ask("sar", sar, optical, shifted) if "sar" in self.gate else sar

    def _ask(self, stream: str, asking: Tensor, answering: Tensor, shifted: Tensor) -> Tensor:
        attention = self.attention[stream]
        seen = attention(asking, answering, mask=shifted) if self.kind == "window" else attention(asking, answering)
        gate = torch.sigmoid(self.gate[stream](torch.cat([asking, seen], dim=1)))
        changed: Tensor = asking + gate * self.project[stream](seen)
        return changed


class TextureBranch(nn.Module):
    """v3: adds texture where there are edges.

        high    = gain * (x - blur(x))                            a fixed Gaussian, so truly the high frequencies
        texture = three residual blocks(conv1x1(high))
        edges   = sigmoid(conv3x3(texture))                       one channel
        x + conv1x1([x, edges * texture])

    Differs from the plan, whose "high-pass" x - conv(x) is free to learn any filter.
    """

    blur: Tensor

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.entry = nn.Conv2d(channels, width, 1)
        self.blocks = nn.Sequential(*(ResidualConv(width) for _ in range(_TEXTURE_BLOCKS)))
        self.edges = nn.Conv2d(width, 1, 3, padding=1)
        self.fusion = _zero(nn.Conv2d(channels + width, channels, 1))
        self.register_buffer("blur", _gaussian(), persistent=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channel, y, x) -> the same with texture, and the edge map (batch, 1, y, x) in [0, 1]."""
        texture = self.blocks(self.entry(self.gain * self.high_frequencies(features)))
        edges = torch.sigmoid(self.edges(texture))
        return features + self.fusion(torch.cat([features, edges * texture], dim=1)), edges

    def high_frequencies(self, features: Tensor) -> Tensor:
        """`features` (batch, channel, y, x) without their blurred image; borders are replicated."""
        channels = features.shape[1]
        padded = F.pad(features, (_BLUR_RADIUS,) * 4, mode="replicate")
        kernel = self.blur.to(features.dtype).expand(channels, 1, -1, -1)
        return features - F.conv2d(padded, kernel, groups=channels)


class GlobalLocalBlend(nn.Module):
    """v4: blends the local path, a stream as the dense block left it, with one that has seen the whole tile.

        coarse = norm(conv, stride s)      far = conv3x3(upsample(project(attention(coarse, pooled coarse))))
        out    = w0 * local + w1 * (local + far),      (w0, w1) = softmax over two at each pixel

    Since w0 + w1 = 1 this is local + w1 * far. Keys and values are averaged down to at most `tokens`, so that the
    cost grows no faster than the number of pixels. Differs from the plan: norm over the channels of each pixel (its
    LayerNorm([c, 1, 1]) fits no map), the local path is used as it is, and bilinear upsampling to the exact size
    replaces a transposed convolution, which leaves a checkerboard and misses sizes that do not divide.
    """

    def __init__(self, channels: int, heads: int, *, width: int, stride: int, tokens: int) -> None:
        super().__init__()
        self.heads, self.tokens = heads, tokens
        # An odd kernel about as wide as the stride covers every pixel, at any size.
        self.shrink = nn.Conv2d(channels, width, 2 * (stride // 2) + 1, stride=stride, padding=stride // 2)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.far = _zero(nn.Conv2d(width, channels, 3, padding=1))
        self.blend = nn.Conv2d(channels + width, 2, 1)

    def forward(self, local: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        coarse = self.norm(self.shrink(local).movedim(1, -1)).movedim(-1, 1)
        seen = F.interpolate(self._attend(coarse), size=local.shape[-2:], mode="bilinear")
        weights = self.blend(torch.cat([local, seen], dim=1)).softmax(1)
        blended: Tensor = local + weights[:, 1:] * self.far(seen)
        return blended

    def _attend(self, coarse: Tensor) -> Tensor:
        height, width = coarse.shape[-2:]
        pooled = coarse
        if height * width > self.tokens:
            pooled = F.adaptive_avg_pool2d(coarse, pooled_size(height, width, most=self.tokens))
        query = self.query(rearrange(coarse, "b c y x -> b (y x) c"))
        key, value = self.key_value(rearrange(pooled, "b c y x -> b (y x) c")).chunk(2, dim=-1)
        query, key, value = (
            rearrange(part, "b token (head d) -> b head token d", head=self.heads) for part in (query, key, value)
        )
        found = F.scaled_dot_product_attention(query, key, value)
        seen: Tensor = self.project(rearrange(found, "b head token d -> b token (head d)"))
        return rearrange(seen, "b (y x) c -> b c y x", y=height)


def pooled_size(height: int, width: int, *, most: int) -> tuple[int, int]:
    """The largest (height, width) of about the same shape with at most `most` pixels, each side at least 1."""
    shrink = min(1.0, math.sqrt(most / (height * width)))
    rows, columns = (min(most, max(1, int(side * shrink))) for side in (height, width))
    return min(rows, most // columns), columns


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _gaussian() -> Tensor:
    offsets = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1)
    line = torch.exp(-0.5 * (offsets / _BLUR_SIGMA) ** 2)
    line = line / line.sum()
    return line[:, None] * line[None, :]
