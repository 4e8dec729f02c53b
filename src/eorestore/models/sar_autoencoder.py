"""A convolutional autoencoder of one SAR band: a latent of few numbers, and the band back; knows no byte and no unit.

Its plan is a study, not a codec: nothing in the network knows of a rate, and the latent is quantised afterwards.
CBAM is layers.cbam (Woo et al., ECCV 2018); the residual block follows He, Zhang, Ren, Sun, "Deep residual learning for
image recognition", CVPR (2016).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.layers.cbam import CBAM
from eorestore.models.model import Model, Output, Settings

_SLOPE = 0.2  # of the encoder's leaky ReLU
_QUIET = 0.1  # of their usual size: what a residual block adds at first, and the first image around the middle grey
_KERNEL = 5  # of the encoder's convolutions; the decoder's are 4


@dataclass(frozen=True)
class SarAutoencoderSettings(Settings):
    """Width, depth and parts; the defaults are variant A of the plan.

    latent: channels of the latent, at 1 / 2^depth of the size.
    channels: of the levels between image and latent; there is one stride-2 convolution more than numbers here, so
        three make a depth of 4.
    residual: one residual block behind every level of encoder and decoder (variant B).
    attention: where CBAM stands: on the widest features before the projection to the latent (variant C, with the
        residual blocks), on the latent itself, or nowhere. reduction: of CBAM.
    norm: `batch` norms every level but the last of encoder and decoder.
    output: `sigmoid` keeps the image inside (0, 1) and can reach neither end; `linear` leaves it as it is, and whoever
        decodes clips it.
    sar_bands: bands of the image.
    """

    latent: int = 16
    channels: tuple[int, ...] = (64, 128, 256)
    residual: bool = False
    attention: Literal["none", "features", "latent"] = "none"
    reduction: int = 16
    norm: Literal["batch", "none"] = "batch"
    output: Literal["sigmoid", "linear"] = "sigmoid"
    sar_bands: int = 1

    def __post_init__(self) -> None:
        if not self.channels or min(*self.channels, self.latent, self.sar_bands) < 1:
            raise ConfigError(
                f"sar-autoencoder: channels {self.channels}, latent {self.latent} and sar_bands {self.sar_bands} must "
                "be at least 1, and channels needs one level",
                fix="the plan has channels [64, 128, 256], latent 16 and one band",
            )

    @property
    def depth(self) -> int:
        """Halvings of the size between image and latent."""
        return len(self.channels) + 1


class SarAutoencoder(Model):
    """The band goes down through stride-2 convolutions to the latent, and up again.

        sar -> conv5/2 -> 64 [res] -> conv5/2 -> 128 [res] -> conv5/2 -> 256 [res] [CBAM] -> conv5/2 -> C, the latent
        image <- sigmoid <- deconv4*2 <- 64 [res] <- deconv4*2 <- 128 [res] <- deconv4*2 <- 256 [res] <- deconv4*2 <-'

    Batch norm and leaky ReLU 0.2 (encoder) or ReLU (decoder) behind every level but the last of either; 1,852,625
    parameters at C = 16. Weights start as He, Zhang, Ren, Sun, ICCV (2015) have it, since without batch norm the
    default of torch lets eight layers shrink the image to nearly a constant; the last layer starts near a grey image.

    Origins of tiles lie on multiples of 2^depth, so that every tile has the same grid of latent places. Tiles are
    blended: with CBAM the reach is global, and without it the cosine ramp is the plan's.
    """

    settings_type = SarAutoencoderSettings
    settings: SarAutoencoderSettings

    def __init__(self, settings: SarAutoencoderSettings) -> None:
        super().__init__(settings)
        s = settings
        down: list[nn.Module] = []
        for above, width in itertools.pairwise((s.sar_bands, *s.channels)):
            down += [nn.Conv2d(above, width, _KERNEL, stride=2, padding=_KERNEL // 2), *_norm(s, width)]
            down += [nn.LeakyReLU(_SLOPE), *_block(s, width, slope=_SLOPE)]
        if s.attention == "features":
            down.append(CBAM(s.channels[-1], reduction=s.reduction))
        down.append(nn.Conv2d(s.channels[-1], s.latent, _KERNEL, stride=2, padding=_KERNEL // 2))
        if s.attention == "latent":
            down.append(CBAM(s.latent, reduction=s.reduction))
        up: list[nn.Module] = []
        for below, width in itertools.pairwise((s.latent, *reversed(s.channels))):
            up += [nn.ConvTranspose2d(below, width, 4, stride=2, padding=1), *_norm(s, width)]
            up += [nn.ReLU(), *_block(s, width, slope=0.0)]
        up.append(nn.ConvTranspose2d(s.channels[0], s.sar_bands, 4, stride=2, padding=1))
        if s.output == "sigmoid":
            up.append(nn.Sigmoid())
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up)
        for module in self.modules():
            _start(module)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                _quieten(list(module.change))
        last = _quieten(up)
        if s.output == "linear" and last.bias is not None:
            nn.init.constant_(last.bias, 0.5)
        self.multiple_of = self.phase = 2**s.depth
        self.reach = None if s.attention != "none" else reach(s.depth, residual=s.residual)

    def encode(self, sar: Tensor) -> Tensor:
        """The latent (batch, latent, y / 2^depth, x / 2^depth) of a normalised band (batch, sar_bands, y, x)."""
        latent: Tensor = self.encoder(sar)
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        """The band that a latent stands for, normalised; the inverse of `encode` as far as the network learned it."""
        image: Tensor = self.decoder(latent)
        return image

    def forward(self, *, sar: Tensor) -> Output:
        """Down and up again; y and x are multiples of `multiple_of`.

        Args:
            sar: (batch, sar_bands, y, x), normalised.

        Returns:
            The image in the shape of `sar`; the latent is what `encode` gives, since it has another size.
        """
        return Output(self.decode(self.encode(sar)))


class ResidualBlock(nn.Module):
    """act(x + conv3x3(act(conv3x3(x)))), with a norm behind each convolution where the network has one."""

    def __init__(self, channels: int, *, slope: float, settings: SarAutoencoderSettings) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            *_norm(settings, channels),
            nn.LeakyReLU(slope),
            nn.Conv2d(channels, channels, 3, padding=1),
            *_norm(settings, channels),
        )
        self.activation = nn.LeakyReLU(slope)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        changed: Tensor = self.activation(features + self.change(features))
        return changed


def reach(depth: int, *, residual: bool) -> int:
    """How far a pixel of the image sees into the band without CBAM: 60 pixels at a depth of 4, 116 with blocks.

    Traced from every place of a period of 2^depth pixels, since strides make places differ.
    """
    block = 2 if residual else 0
    farthest = 0
    for place in range(2**depth):
        low = high = place
        for level in range(depth):
            # output o of a transposed 4 x 4 convolution of stride 2 and padding 1 reads (o - 2) / 2 ... (o + 1) / 2
            low, high = -(-(low - 2) // 2), (high + 1) // 2
            if level < depth - 1:
                low, high = low - block, high + block
        for level in range(depth):
            if level > 0:
                low, high = low - block, high + block
            low, high = 2 * low - _KERNEL // 2, 2 * high + _KERNEL // 2
        farthest = max(farthest, place - low, high - place)
    return farthest


def _norm(settings: SarAutoencoderSettings, channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if settings.norm == "batch" else []


def _block(settings: SarAutoencoderSettings, channels: int, *, slope: float) -> list[nn.Module]:
    return [ResidualBlock(channels, slope=slope, settings=settings)] if settings.residual else []


def _start(module: nn.Module) -> None:
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d) or module.bias is None:
        return
    # a place of a transposed convolution of stride 2 sees a quarter of its kernel
    inputs = module.weight[0].numel() if isinstance(module, nn.Conv2d) else module.weight[:, 0].numel() / 4
    with torch.no_grad():
        module.weight.normal_(std=(2 / ((1 + _SLOPE**2) * inputs)) ** 0.5)
        module.bias.zero_()


def _quieten(layers: Sequence[nn.Module]) -> nn.Conv2d | nn.ConvTranspose2d:
    """The last convolution of `layers`, its weights made smaller."""
    last = [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)][-1]
    with torch.no_grad():
        last.weight.mul_(_QUIET)
    return last
