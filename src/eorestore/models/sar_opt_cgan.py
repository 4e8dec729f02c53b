"""SAR-Opt-cGAN's generator: a U-Net from cloudy image and SAR to the clear image; knows no discriminator and no loss.

Grohnfeldt, Schmitt, Zhu: "A conditional generative adversarial network to fuse SAR and multispectral optical data for
cloud removal from Sentinel-2 images", IGARSS (2018), after pix2pix: Isola, Zhu, Zhou, Efros: "Image-to-image
translation with conditional adversarial networks", CVPR (2017). Written from their descriptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.models.model import Model, Output, Settings

_SLOPE = 0.2
_DROPPED_LEVELS = 3  # deepest ones on the way up


@dataclass(frozen=True)
class SarOptCGanSettings(Settings):
    """Width, depth and inputs of SAR-Opt-cGAN; the defaults are the published network.

    channels: of the first level; every level below has twice as many, up to most_channels.
    depth: levels, each of half the size of the one above.
    dropout: rate in the three deepest levels on the way up, in training only.
    norm: `batch` keeps running statistics, so that a pixel is restored alike in any batch and tile. `instance` takes
        them from the tile itself, which is what pix2pix does with its batches of one image; its reach is global.
    """

    channels: int = 64
    depth: int = 8
    most_channels: int = 512
    dropout: float = 0.5
    norm: Literal["batch", "instance"] = "batch"
    bands: int = 13
    sar_bands: int = 2

    def __post_init__(self) -> None:
        if self.depth < 1 or self.channels < 1 or self.most_channels < self.channels:
            raise ConfigError(
                f"sar-opt-cgan: depth {self.depth} and channels {self.channels} must be at least 1, most_channels "
                f"{self.most_channels} at least channels",
                fix="the published values are depth 8, channels 64, most_channels 512",
            )


class SarOptCGan(Model):
    """Cloudy image and SAR go down a U-Net as one stack of bands and come up as the clear image.

        cloudy, sar -> conv4/2 -> 64 -> conv4/2 -> 128 -> ... -> conv4/2 -> 512 at 1/256 of the size
        image <- deconv4*2 <-(+ 64)- deconv4*2 <-(+ 128)- ... <-(+ 512)- deconv4*2 <-'

    Leaky ReLU before every convolution on the way down, ReLU before every one on the way up, a norm after each but the
    first, the deepest and the last; (+ n) puts the n channels of the same level from the way down beside the others.

    Differs from the paper: the last layer has no tanh, since most reflectances lie near 0, where a tanh over
    [-1, 1] has next to no gradient; dropout is off after training, so that a scene is restored the same way twice.
    """

    settings_type = SarOptCGanSettings
    settings: SarOptCGanSettings

    def __init__(self, settings: SarOptCGanSettings) -> None:
        super().__init__(settings)
        s = settings
        widths = [min(s.channels * 2**level, s.most_channels) for level in range(s.depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, width in enumerate(widths):
            above = widths[level - 1] if level else s.bands + s.sar_bands
            normed = 0 < level < s.depth - 1
            down = nn.Conv2d(above, width, 4, stride=2, padding=1, bias=not normed)
            self.down.append(nn.Sequential(down, _norm(s, width)) if normed else down)
            joined = width if level == s.depth - 1 else 2 * width
            out = above if level else s.bands
            up = nn.ConvTranspose2d(joined, out, 4, stride=2, padding=1, bias=level == 0)
            dropped = s.dropout if s.depth - 1 - level < _DROPPED_LEVELS else 0.0
            self.up.append(nn.Sequential(up, _norm(s, out), nn.Dropout(dropped)) if level else up)
        self.multiple_of = self.phase = 2**s.depth
        self.reach = 3 * (2**s.depth - 1) if s.norm == "batch" else None

    def forward(self, *, cloudy: Tensor, sar: Tensor) -> Output:
        """Restore a batch; y and x are multiples of `multiple_of`.

        Args:
            cloudy: (batch, bands, y, x), normalised.
            sar: (batch, sar_bands, y, x), normalised.

        Returns:
            The image (batch, bands, y, x), in no way limited to the range of the input.
        """
        features = torch.cat([cloudy, sar], dim=1)
        passed: list[Tensor] = []
        for level, down in enumerate(self.down):
            features = down(F.leaky_relu(features, _SLOPE) if level else features)
            passed.append(features)
        for level in range(self.settings.depth - 1, -1, -1):
            joined = features if level == self.settings.depth - 1 else torch.cat([features, passed[level]], dim=1)
            features = self.up[level](F.relu(joined))
        return Output(features)


def _norm(settings: SarOptCGanSettings, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if settings.norm == "batch" else nn.InstanceNorm2d(channels, affine=True)
