"""The network of ZSSR, which works on an image that is enlarged already; knows no unit, sensor or file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.layers.resampling import enlarge
from eorestore.models.model import Model, Output, Settings
from eorestore.processing.taps import REACH

_LAST_STD = 0.01


@dataclass(frozen=True)
class ZssrNetworkSettings(Settings):
    """Sizes; the defaults are the paper's, 224,640 parameters.

    bands: in and out. scale: enlargement. channels: of the hidden layers. layers: convolutions, the first and the last
    among them.
    """

    bands: int = 3
    scale: int = 2
    channels: int = 64
    layers: int = 8

    def __post_init__(self) -> None:
        if min(self.bands, self.channels) < 1 or self.scale < 2 or self.layers < 2:
            raise ConfigError(
                "zssr: bands and channels are at least 1, scale and layers at least 2",
                fix="the defaults are 3 bands, scale 2, 64 channels and 8 layers",
            )


class ZssrNetwork(Model):
    """What bicubic enlargement misses, found at high resolution.

        plain = bicubic(low)
        image = plain + convolution(relu(convolution(... relu(convolution(plain)))))

    Shocher, Cohen, Irani, "Zero-shot super-resolution using deep internal learning", CVPR 2018: eight convolutions
    3 x 3, 64 channels, no normalisation, all bands at once. The paper leaves three things open. There is no bias, so
    that an image of zeros stays one. What lies outside of the image counts as 0. The last layer has no activation and
    starts near 0, so that training starts at bicubic enlargement.
    """

    settings_type = ZssrNetworkSettings
    settings: ZssrNetworkSettings

    def __init__(self, settings: ZssrNetworkSettings) -> None:
        super().__init__(settings)
        s = settings
        widths = [s.bands, *[s.channels] * (s.layers - 1), s.bands]
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False) for inputs, outputs in pairwise(widths)
        )
        for layer in self.layers[:-1]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
        nn.init.normal_(self.layers[-1].weight, std=_LAST_STD * (9 * s.channels) ** -0.5)  # type: ignore[arg-type]
        self.scale, self.tiling = s.scale, "crop"
        self.reach = -(-s.layers // s.scale) + REACH

    def forward(self, *, low: Tensor) -> Output:
        """(batch, band, y, x) to (batch, band, scale * y, scale * x)."""
        plain = enlarge(low.float(), factor=self.scale)
        features = plain
        for layer in self.layers[:-1]:
            features = F.relu(layer(features), inplace=True)
        change: Tensor = self.layers[-1](features)
        return Output(plain + change.float())
