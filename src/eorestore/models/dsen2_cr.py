"""DSen2-CR: a deep residual network that takes clouds out of an optical image, with SAR as further bands.

Meraner, Ebel, Zhu, Schmitt: "Cloud removal in Sentinel-2 imagery using a deep residual neural network and SAR-optical
data fusion", ISPRS Journal of Photogrammetry and Remote Sensing 166 (2020). Written from a description of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.models.model import Model, Output, Settings


@dataclass(frozen=True)
class DSen2CRSettings(Settings):
    """Width and depth of DSen2-CR; the defaults are the published network.

    channels: of every convolution but the last. blocks: residual blocks.
    residual_scale: factor of what a block adds.
    sar: whether SAR is seen; without it a scene needs no SAR.
    """

    channels: int = 256
    blocks: int = 16
    residual_scale: float = 0.1
    bands: int = 13
    sar_bands: int = 2
    sar: bool = True


class DSen2CR(Model):
    """Residual blocks at full resolution; what they find is added to the cloudy image.

        cloudy, sar -> concat -> conv3 -> ReLU -> [x + 0.1 conv3(ReLU(conv3(x)))] x 16 -> conv3
        image = cloudy + that

    18 947 341 parameters as published (18.95 M). Wants the processor `dsen2-cr`: reflectance as 0 to 5, SAR as 0 to 2.
    Weights start as in He et al. (ICCV 2015, uniform), biases at zero. Differs from the paper in nothing else; the
    cloud-adaptive loss of the paper is the loss `carl`.

    All convolutions are plain, so `reach` is exact, and tiles are cropped without a seam.
    """

    settings_type = DSen2CRSettings
    settings: DSen2CRSettings
    tiling = "crop"

    def __init__(self, settings: DSen2CRSettings) -> None:
        super().__init__(settings)
        s = settings
        self.entry = nn.Conv2d(s.bands + s.sar * s.sar_bands, s.channels, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(s.channels, scale=s.residual_scale) for _ in range(s.blocks))
        self.last = nn.Conv2d(s.channels, s.bands, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.reach = 2 * s.blocks + 2
        self.optional_inputs = () if s.sar else ("sar",)

    def forward(self, *, cloudy: Tensor, sar: Tensor) -> Output:
        """Restore a batch of any size.

        Args:
            cloudy: (batch, bands, y, x), normalised.
            sar: (batch, sar_bands, y, x), normalised; not looked at with `sar=False`.

        Returns:
            The image (batch, bands, y, x), in no way limited to the range of the input.
        """
        seen = torch.cat([cloudy, sar], dim=1) if self.settings.sar else cloudy
        features = F.relu(self.entry(seen))
        for block in self.blocks:
            features = block(features)
        return Output(cloudy + self.last(features))


class _Block(nn.Module):
    """x + scale * conv3(ReLU(conv3(x))), no activation after the sum."""

    def __init__(self, channels: int, *, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        change: Tensor = self.second(F.relu(self.first(features)))
        return features + self.scale * change
