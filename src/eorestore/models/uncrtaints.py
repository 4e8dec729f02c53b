"""UnCRtainTS for one date: efficient convolution blocks that restore an image and say how sure they are of it.

Ebel, Garnot, Schmitt, Wegner, Zhu: "UnCRtainTS: Uncertainty quantification for cloud removal in optical satellite time
series", CVPR Workshops (EarthVision) 2023. Written from a description of the network; the class says what is our
reading.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.models.model import Model, Output, Settings

_LEAST_VARIANCE = 1e-6  # sigma of 0.001; keeps the likelihood and the root's gradient finite
_FIRST_SIGMA = 0.1
_GROUPS = 4


@dataclass(frozen=True)
class UnCRtainTSSettings(Settings):
    """Width and depth of UnCRtainTS; the defaults give its published size.

    channels: divisible by 4. blocks: one before and the rest after the place where dates are merged.
    expansion: inner width of a block, in channels. squeeze: channels for each channel of the squeezed attention.
    mean: `sigmoid` limits the image to 0...1 (the paper); `residual` adds to the cloudy image (ours).
    """

    channels: int = 128
    blocks: int = 6
    expansion: int = 2
    squeeze: int = 4
    bands: int = 13
    sar_bands: int = 2
    mean: Literal["sigmoid", "residual"] = "sigmoid"

    def __post_init__(self) -> None:
        if self.channels % _GROUPS:
            raise ConfigError(
                f"uncrtaints: channels {self.channels} do not divide by {_GROUPS}",
                fix="choose a multiple of 4; the published value is 128",
            )


class UnCRtainTS(Model):
    """One convolution in, inverted residual blocks with channel attention at full resolution, one convolution out.

        cloudy, sar -> concat -> conv1 -> norm -> GELU -> [MBConv] x 6 -> conv1 -> mean, variance (one for each band)
        image = sigmoid(mean)      sigma = sqrt(softplus(variance))

    0.52 M parameters, as published. Our reading: between the first block and the others the paper merges dates by
    lightweight temporal attention (L-TAE); for one date its softmax is 1 and nothing is left to merge, so the only
    attention here is the squeeze-and-excitation inside the blocks (over channels, from the mean of the tile). All
    norms are GroupNorm with 4 groups, so that no item of a batch sees another. The paper trains with the Gaussian
    negative log-likelihood (loss `gaussian_nll`); here sigma starts at 0.1.

    Tile means make `reach` global. Extras: `sigma`.
    """

    settings_type = UnCRtainTSSettings
    settings: UnCRtainTSSettings

    def __init__(self, settings: UnCRtainTSSettings) -> None:
        super().__init__(settings)
        s = settings
        self.entry = nn.Sequential(
            nn.Conv2d(s.bands + s.sar_bands, s.channels, 1), nn.GroupNorm(_GROUPS, s.channels), nn.GELU()
        )
        self.blocks = nn.Sequential(
            *(_MBConv(s.channels, expansion=s.expansion, squeeze=s.squeeze) for _ in range(s.blocks))
        )
        self.head = nn.Conv2d(s.channels, 2 * s.bands, 1)
        bias = torch.zeros(2 * s.bands)
        bias[s.bands :] = math.log(math.expm1(_FIRST_SIGMA**2))
        self.head.bias = nn.Parameter(bias)
        self.extras = {"sigma": s.bands}

    def forward(self, *, cloudy: Tensor, sar: Tensor) -> Output:
        """Restore a batch of any size.

        Args:
            cloudy: (batch, bands, y, x), normalised to 0...1.
            sar: (batch, sar_bands, y, x), normalised.

        Returns:
            The image (batch, bands, y, x), with `sigma` of the same shape, never below 0.001.
        """
        features = self.blocks(self.entry(torch.cat([cloudy, sar], dim=1)))
        mean, variance = self.head(features).chunk(2, dim=1)
        image = torch.sigmoid(mean) if self.settings.mean == "sigmoid" else cloudy + mean
        return Output(image, {"sigma": (F.softplus(variance) + _LEAST_VARIANCE).sqrt()})


class _MBConv(nn.Module):
    """x + conv1(squeeze-and-excitation(depthwise3(conv1(norm(x))))): MobileNetV2 and EfficientNet's block.

    Sandler et al. (CVPR 2018), Tan and Le (ICML 2019). Norm and GELU follow the first two convolutions, a norm alone
    the last.
    """

    def __init__(self, channels: int, *, expansion: int, squeeze: int) -> None:
        super().__init__()
        inner = expansion * channels
        self.widen = nn.Sequential(
            nn.GroupNorm(_GROUPS, channels),
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.GroupNorm(_GROUPS, inner),
            nn.GELU(),
        )
        self.local = nn.Sequential(
            nn.Conv2d(inner, inner, 3, padding=1, padding_mode="replicate", groups=inner, bias=False),
            nn.GroupNorm(_GROUPS, inner),
            nn.GELU(),
        )
        self.excite = nn.Sequential(
            nn.Linear(inner, channels // squeeze, bias=False),
            nn.GELU(),
            nn.Linear(channels // squeeze, inner, bias=False),
            nn.Sigmoid(),
        )
        self.narrow = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.GroupNorm(_GROUPS, channels))

    def forward(self, features: Tensor) -> Tensor:
        inner = self.local(self.widen(features))
        weights = self.excite(inner.mean(dim=(2, 3)))
        change: Tensor = self.narrow(inner * weights[..., None, None])
        return features + change
