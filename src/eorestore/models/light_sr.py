"""A light network for super-resolution, of one of three kinds; knows no sensor, file or loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.layers.reflection import reflect_pad
from eorestore.layers.windows import cut_windows, merge_windows, relative_position_index
from eorestore.models.model import Model, Output, Settings

Kind = Literal["convolution", "attention", "large-kernel"]

SLOPE = 0.1  # of activations below 0


@dataclass(frozen=True)
class LightSRSettings(Settings):
    """Kind and sizes; the defaults are 0.23 M parameters that train on one CPU core.

    kind: of every block: two convolutions; attention in windows and those; or a convolution and a large kernel.
    bands: in and out. scale: enlargement. channels: of every block, with attention a multiple of heads.
    blocks: how many. window, heads: of attention; every second block has its windows half a window further.
    kernel: side of the large kernel, odd.
    """

    kind: Kind = "convolution"
    bands: int = 3
    scale: int = 4
    channels: int = 48
    blocks: int = 5
    window: int = 8
    heads: int = 2
    kernel: int = 9

    def __post_init__(self) -> None:
        if min(self.bands, self.scale, self.channels, self.blocks, self.heads) < 1:
            raise ConfigError(
                "light-sr: bands, scale, channels, blocks and heads must be at least 1",
                fix="the defaults are 3 bands, scale 4, 48 channels, 5 blocks and 2 heads",
            )
        if self.kind == "attention" and (self.channels % self.heads or self.window < 2 or self.window % 2):
            raise ConfigError(
                f"light-sr: channels {self.channels} must divide by heads {self.heads}, and window {self.window} by 2",
                fix=f"choose channels as a multiple of {self.heads} and an even window, 8 by default",
            )
        if self.kind == "large-kernel" and self.kernel % 2 == 0:
            raise ConfigError(f"light-sr: kernel {self.kernel} is even", fix="choose an odd one, 9 by default")


class LightSR(Model):
    """What bicubic enlargement misses, drawn from detail alone, so that brightness and contrast pass unchanged.

        detail = zero-mean 5x5 convolutions of low
        image  = bicubic(low) + pixel_shuffle(convolution(blocks(detail) + detail))

    For any gain g > 0 and any offset c of a band common to all pixels, f(g x + c) = g f(x) + c: the filters that look
    at the small image sum to 0, no layer has a bias, activations are leaky rectifiers and attention compares
    normalised queries and keys. A network trained on pictures of 0 ... 255 therefore serves reflectance of any range,
    and a constant image stays constant up to its edges. The gain is common to all bands, the offset each band's own.

    Layers without bias for this purpose: Mohan et al., "Robust and interpretable blind image denoising via bias-free
    convolutional neural networks", ICLR 2020. Attention of normalised queries and keys: Liu et al., Swin Transformer
    V2, CVPR 2022. Large kernel on features of a plain network: Lee, Yun, Ro, "Partial large kernel CNNs for efficient
    super-resolution" (2024); here depthwise. Pixel shuffle: Shi et al., CVPR 2016.

    Tiles start on multiples of the window where there is attention; `reach` is an upper bound.
    """

    settings_type = LightSRSettings
    settings: LightSRSettings

    def __init__(self, settings: LightSRSettings) -> None:
        super().__init__(settings)
        s = settings
        self.enter = DetailConvolution(s.bands, s.channels)
        blocks = [_block(s, number) for number in range(s.blocks)]
        self.blocks = nn.ModuleList(blocks)
        self.leave = nn.Conv2d(s.channels, s.bands * s.scale**2, 3, padding=1, bias=False)
        nn.init.normal_(self.leave.weight, std=0.01 * (9 * s.channels) ** -0.5)
        self.scale, self.tiling = s.scale, "crop"
        if s.kind == "attention":
            self.multiple_of = self.phase = s.window
        self.reach = DetailConvolution.reach + sum(block.reach for block in blocks) + 1

    def forward(self, *, low: Tensor) -> Output:
        """(batch, band, y, x), y and x multiples of `multiple_of`, to (batch, band, scale * y, scale * x)."""
        first = self.enter(low)
        features = first
        for block in self.blocks:
            features = block(features)
        change = F.pixel_shuffle(self.leave(features + first), self.scale)
        plain = F.interpolate(low, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return Output(plain + change)


class DetailConvolution(nn.Conv2d):
    """A 5x5 convolution whose filters sum to 0 over the pixels of each band, at any weights; edges are reflected."""

    reach = 2

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__(bands, channels, 5, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, band, y, x) to (batch, channel, y, x)."""
        weight = self.weight - self.weight.mean(dim=(2, 3), keepdim=True)
        return F.conv2d(reflect_pad(image, self.reach), weight)


class ConvolutionBlock(nn.Module):
    """x + convolution(activation(convolution(x)))."""

    reach = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(channels), _convolution(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        change: Tensor = self.second(F.leaky_relu(self.first(features), SLOPE))
        return features + change


class LargeKernelBlock(nn.Module):
    """x + 1x1(activation(large depthwise kernel(convolution(x))))."""

    def __init__(self, channels: int, *, kernel: int) -> None:
        super().__init__()
        self.near = _convolution(channels)
        self.far = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.reach = 1 + kernel // 2

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        near = F.leaky_relu(self.near(features), SLOPE)
        change: Tensor = self.mix(F.leaky_relu(near + self.far(near), SLOPE))
        return features + change


class AttentionBlock(nn.Module):
    """Attention in windows, then a block of convolutions, each a residual.

    shift: pixels that windows are moved by; those on the rim are filled up with zeros, which draw no attention to
    their values but weigh as every other does.
    """

    index: Tensor

    def __init__(self, channels: int, *, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.split = nn.Linear(channels, 3 * channels, bias=False)
        self.project = nn.Linear(channels, channels, bias=False)
        self.sharpness = nn.Parameter(torch.full((heads, 1, 1), 2.0))
        self.position_bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("index", relative_position_index(window), persistent=False)
        self.near = ConvolutionBlock(channels)
        self.reach = window + ConvolutionBlock.reach

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        near: Tensor = self.near(features + self._attended(features))
        return near

    def _attended(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        rest = -self.shift % self.window if self.shift else 0
        padded = F.pad(features, (self.shift, rest, self.shift, rest)) if self.shift else features
        tokens = cut_windows(padded, self.window)
        query, key, value = rearrange(self.split(tokens), "w t (n h c) -> n w h t c", n=3, h=self.heads)
        bias = rearrange(self.position_bias[self.index], "query key head -> head query key")
        query = F.normalize(query, dim=-1) * self.sharpness.exp()
        found = F.scaled_dot_product_attention(query, F.normalize(key, dim=-1), value, attn_mask=bias[None], scale=1.0)
        mixed = self.project(rearrange(found, "w h t c -> w t (h c)"))
        merged = merge_windows(mixed, self.window, height=padded.shape[-2], width=padded.shape[-1])
        return merged[..., self.shift : self.shift + height, self.shift : self.shift + width]


def _block(s: LightSRSettings, number: int) -> ConvolutionBlock | LargeKernelBlock | AttentionBlock:
    if s.kind == "attention":
        return AttentionBlock(s.channels, heads=s.heads, window=s.window, shift=s.window // 2 * (number % 2))
    if s.kind == "large-kernel":
        return LargeKernelBlock(s.channels, kernel=s.kernel)
    return ConvolutionBlock(s.channels)


def _convolution(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, bias=False)
