"""Networks that learn from the very scene they enlarge; know no unit, sensor or file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.layers.resampling import enlarge
from eorestore.models.light_sr import ConvolutionBlock, DetailConvolution
from eorestore.models.model import Model, Output, Settings

Kind = Literal["fast", "residual-attention"]

_GROUPS = 8
_LAST_STD = 0.01
_GUIDE = "trunk.enter_guide.weight"


@dataclass(frozen=True)
class ZeroShotSettings(Settings):
    """Kind, sizes and switches; the defaults are 0.21 M parameters that learn a scene in seconds on two CPU cores.

    kind: `fast`, which works at low resolution and sees no global statistics, or `residual-attention`, the plan's.
    bands: in and out, 1 for thermal. scale: enlargement. channels, blocks: of the trunk.
    channel_attention: after every block, from global means: every pixel then depends on the whole tile, so that tiles
        are blended. spatial_attention: a 7 x 7 map in every second block, local.
    norm: `group` is normalisation over the whole tile, with the same consequence; `none` has none.
    reduction: of channel attention. guide_bands: of a guide at high resolution, 0 for none.
    """

    kind: Kind = "fast"
    bands: int = 1
    scale: int = 2
    channels: int = 48
    blocks: int = 5
    channel_attention: bool = False
    spatial_attention: bool = False
    norm: Literal["none", "group"] = "none"
    reduction: int = 8
    guide_bands: int = 0

    def __post_init__(self) -> None:
        if min(self.bands, self.channels, self.blocks, self.reduction) < 1 or self.scale < 2 or self.guide_bands < 0:
            raise ConfigError(
                "zero-shot-sr: bands, channels, blocks and reduction are at least 1, scale at least 2",
                fix="the defaults are 1 band, scale 2, 48 channels and 5 blocks",
            )
        if self.norm == "group" and self.channels % _GROUPS:
            raise ConfigError(
                f"zero-shot-sr: {self.channels} channels do not fall into {_GROUPS} groups",
                fix="choose a multiple of 8, or norm: none",
            )
        if self.channel_attention and self.channels < self.reduction:
            raise ConfigError(
                f"zero-shot-sr: {self.channels} channels cannot be reduced {self.reduction} times",
                fix="lower reduction, or leave out channel_attention",
            )
        if self.kind == "fast" and (self.norm != "none" or self.channel_attention):
            raise ConfigError(
                "zero-shot-sr: the fast network sees no global statistics",
                fix="choose kind residual-attention for norm or channel_attention",
            )
        if self.kind != "fast" and self.guide_bands:
            raise ConfigError("zero-shot-sr: only the fast network takes a guide", fix="choose kind fast")
        if self.kind != "fast" and 2 ** round(math.log2(self.scale)) != self.scale and self.scale != 3:
            raise ConfigError(f"zero-shot-sr: scale {self.scale} has no stages", fix="choose 2, 3, 4, 8 or 16")


class ZeroShotSR(Model):
    """What bicubic enlargement misses, by one of two networks.

    `fast` works at low resolution and shuffles pixels at the end (Shi et al., CVPR 2016): s x s times fewer pixels than
    ZSSR (Shocher, Cohen, Irani, CVPR 2018), whose task it has. Its first filters sum to 0 and no layer has a bias, so
    that for any gain g > 0 and offset c, f(g x + c) = g f(x) + c: kelvin need no normalisation that could go wrong, and
    photometric jitter has nothing to teach. (Spatial attention and a guide give up the gain, not the offset.) Nothing
    global: tiles equal the whole.

    `residual-attention` is the plan's: convolution 7 x 7, blocks of two convolutions with GroupNorm and channel
    attention, spatial attention in every second one (Woo et al., CBAM, ECCV 2018), convolution, one PixelShuffle stage
    for every doubling, convolution, and the bicubic skip. What its choices cost: GroupNorm and channel attention make
    every pixel depend on the whole tile, so tiles differ and must be blended; convolutions after PixelShuffle do 4 and
    16 times the work a pixel; 0.94 M parameters at x4 learn slowly from one scene. Three things differ from the plan:
    its last layer starts near 0, so that training starts at bicubic and not at several times the range of the data;
    channel and spatial attention are both switches; and its edges are repeated, not padded with 0.
    """

    settings_type = ZeroShotSettings
    settings: ZeroShotSettings

    def __init__(self, settings: ZeroShotSettings) -> None:
        super().__init__(settings)
        self.scale = settings.scale
        fast = settings.kind == "fast"
        self.trunk = FastTrunk(settings) if fast else ResidualAttentionTrunk(settings)
        self.reach = self.trunk.reach
        self.tiling = "blend" if self.reach is None else "crop"

    def forward(self, *, low: Tensor, guide: Tensor | None = None) -> Output:
        """(batch, band, y, x) to (batch, band, scale * y, scale * x). guide: (batch, band, scale * y, scale * x)."""
        plain = enlarge(low.float(), factor=self.scale)
        change: Tensor = self.trunk(low, guide)
        return Output(plain + change.float())


def with_guide(network: ZeroShotSR, bands: int) -> ZeroShotSR:
    """The same network with a guide of so many bands, to which it pays no heed until it has learned to.

    Raises ConfigError for a kind that takes none.
    """
    guided = ZeroShotSR(replace(network.settings, guide_bands=bands))
    weights = guided.state_dict()
    weights[_GUIDE] = torch.zeros_like(weights[_GUIDE])
    guided.load_state_dict({**weights, **network.state_dict()})
    return guided.eval()


class FastTrunk(nn.Module):
    """Zero-mean 5 x 5 filters, residual blocks, PixelShuffle; a guide enters by its sub-pixels as further channels."""

    def __init__(self, settings: ZeroShotSettings) -> None:
        super().__init__()
        s = settings
        self.scale = s.scale
        self.enter = DetailConvolution(s.bands, s.channels)
        self.enter_guide = DetailConvolution(s.guide_bands * s.scale**2, s.channels) if s.guide_bands else None
        self.blocks = nn.ModuleList(ConvolutionBlock(s.channels) for _ in range(s.blocks))
        every = [SpatialAttention() for _ in range(0, s.blocks, 2)] if s.spatial_attention else []
        self.attention = nn.ModuleList(every)
        self.leave = nn.Conv2d(s.channels, s.bands * s.scale**2, 3, padding=1, bias=False)
        nn.init.normal_(self.leave.weight, std=_LAST_STD * (9 * s.channels) ** -0.5)
        attended = sum(item.reach for item in every)
        self.reach = DetailConvolution.reach + ConvolutionBlock.reach * s.blocks + attended + 1

    def forward(self, low: Tensor, guide: Tensor | None) -> Tensor:
        """(batch, band, y, x) to (batch, band, scale * y, scale * x)."""
        first: Tensor = self.enter(low)
        if self.enter_guide is not None:
            if guide is None:
                raise ConfigError("this network needs its guide", fix="give the guide's scene")
            first = first + self.enter_guide(F.pixel_unshuffle(guide, self.scale))
        features = first
        for number, block in enumerate(self.blocks):
            features = block(features)
            if len(self.attention) and number % 2 == 0:
                features = self.attention[number // 2](features)
        return F.pixel_shuffle(self.leave(features + first), self.scale)


class ResidualAttentionTrunk(nn.Module):
    """The plan's trunk; see `ZeroShotSR`."""

    def __init__(self, settings: ZeroShotSettings) -> None:
        super().__init__()
        s = settings
        self.enter = _repeating(s.bands, s.channels, 7)
        self.blocks = nn.Sequential(*(AttentionBlock(s, spatial=number % 2 == 0) for number in range(s.blocks)))
        self.after = _repeating(s.channels, s.channels, 3)
        steps = [3] if s.scale == 3 else [2] * round(math.log2(s.scale))
        stages: list[nn.Module] = []
        for step in steps:
            stages += [_repeating(s.channels, s.channels * step**2, 3), nn.PixelShuffle(step), nn.ReLU()]
        self.stages = nn.Sequential(*stages)
        self.leave = _repeating(s.channels, s.bands, 3)
        nn.init.normal_(self.leave.weight, std=_LAST_STD * (9 * s.channels) ** -0.5)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        globally = s.norm == "group" or s.channel_attention
        # stages look at ever finer pixels: together less than 2 more
        local = 3 + sum(block.reach for block in self.blocks) + 1 + 3  # type: ignore[misc]
        self.reach: int | None = None if globally else int(local)

    def forward(self, low: Tensor, guide: Tensor | None) -> Tensor:  # noqa: ARG002 - as FastTrunk
        """(batch, band, y, x) to (batch, band, scale * y, scale * x)."""
        features = F.relu(self.enter(low))
        change: Tensor = self.leave(self.stages(self.after(self.blocks(features))))
        return change


class AttentionBlock(nn.Module):
    """relu(x + attention(norm(convolution(relu(norm(convolution(x)))))))."""

    def __init__(self, settings: ZeroShotSettings, *, spatial: bool) -> None:
        super().__init__()
        s = settings

        def norm() -> nn.Module:
            return nn.GroupNorm(_GROUPS, s.channels) if s.norm == "group" else nn.Identity()

        layers = [_repeating(s.channels, s.channels, 3), norm(), nn.ReLU()]
        layers += [_repeating(s.channels, s.channels, 3), norm()]
        if s.channel_attention:
            layers.append(ChannelAttention(s.channels, s.reduction))
        self.reach = 2
        if s.spatial_attention and spatial:
            layers.append(SpatialAttention())
            self.reach += SpatialAttention.reach
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        return F.relu(features + self.layers(features))


class ChannelAttention(nn.Module):
    """Channels weighted by what their global mean and maximum say (CBAM)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        mean, highest = features.mean((-2, -1), keepdim=True), features.amax((-2, -1), keepdim=True)
        weight = sum(self.excite(F.relu(self.squeeze(value))) for value in (mean, highest))
        return features * torch.sigmoid(weight)


class SpatialAttention(nn.Module):
    """Pixels weighted by what the mean and the maximum of their channels say in a neighbourhood (CBAM)."""

    reach = 3

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(2, 1, 7, padding=3, padding_mode="replicate", bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        seen = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        return features * torch.sigmoid(self.look(seen))


def _repeating(inputs: int, outputs: int, side: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, padding_mode="replicate")
