"""The dense blocks of GLF-CR: two streams, and window attention in which SAR corrects the optics; knows no sensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.layers.attention import JointWindowAttention
from eorestore.layers.blocks import MLP, DropPath
from eorestore.layers.windows import cut_windows, cyclic_shift, merge_windows


class DenseBlock(nn.Module):
    """Layers that each see all before them, in both streams, and a 3x3 convolution back to `channels`.

    Args:
        channels: of both streams outside.
        growth: channels that a layer adds; divisible by `heads`.
        heads, window: of the attention.
        mlp_ratio: inner width of an MLP over `growth`.
        drop_path: rate of stochastic depth of each layer; their number is the number of layers.
    """

    def __init__(
        self, channels: int, growth: int, *, heads: int, window: int, mlp_ratio: int, drop_path: Sequence[float]
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _DenseLayer(
                channels + layer * growth,
                growth,
                heads=heads,
                window=window,
                shift=window // 2 if layer % 2 else 0,
                mlp_ratio=mlp_ratio,
                drop_path=rate,
            )
            for layer, rate in enumerate(drop_path)
        )
        grown = channels + len(drop_path) * growth
        self.optical_out = nn.Conv2d(grown, channels, 3, padding=1)
        self.sar_out = nn.Conv2d(grown, channels, 3, padding=1)

    def forward(self, optical: Tensor, sar: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channel, y, x) each, in and out; `shifted` is the `shift_mask` of their size."""
        optical_all, sar_all = optical, sar
        for layer in self.layers:
            optical_new, sar_new = layer(optical_all, sar_all, shifted)
            optical_all = torch.cat([optical_all, optical_new], dim=1)
            sar_all = torch.cat([sar_all, sar_new], dim=1)
        return optical + self.optical_out(optical_all), sar + self.sar_out(sar_all)


class _DenseLayer(nn.Module):
    """Convolution to `growth` channels in both streams, then a joint window attention and an MLP each.

    The windows of odd layers are shifted by half a window. There is no norm before the attention, and the
    skip around it starts after the ReLU.
    """

    def __init__(
        self, channels: int, growth: int, *, heads: int, window: int, shift: int, mlp_ratio: int, drop_path: float
    ) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.optical_conv = nn.Conv2d(channels, growth, 3, padding=1)
        self.sar_conv = nn.Conv2d(channels, growth, 3, padding=1)
        self.attention = JointWindowAttention(growth, heads, window=window)
        self.optical_norm = nn.LayerNorm(growth)
        self.sar_norm = nn.LayerNorm(growth)
        self.optical_mlp = MLP(growth, ratio=mlp_ratio)
        self.sar_mlp = MLP(growth, ratio=mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, optical: Tensor, sar: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        optical, sar = F.relu(self.optical_conv(optical)), F.relu(self.sar_conv(sar))
        optical_seen, sar_seen = self.attention(
            self._cut(optical), self._cut(sar), mask=shifted if self.shift else None
        )
        optical = optical + self.drop_path(self._merge(optical_seen, optical))
        sar = sar + self.drop_path(self._merge(sar_seen, sar))
        optical = optical + self.drop_path(_per_pixel(optical, self.optical_norm, self.optical_mlp))
        return optical, sar + self.drop_path(_per_pixel(sar, self.sar_norm, self.sar_mlp))

    def _cut(self, features: Tensor) -> Tensor:
        return cut_windows(cyclic_shift(features, self.shift), self.window)

    def _merge(self, tokens: Tensor, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        return cyclic_shift(merge_windows(tokens, self.window, height=height, width=width), -self.shift)


def _per_pixel(features: Tensor, norm: nn.LayerNorm, mlp: MLP) -> Tensor:
    mixed: Tensor = mlp(norm(features.movedim(1, -1)))
    return mixed.movedim(-1, 1)
