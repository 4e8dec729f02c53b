"""Coarse bands sharpened by fine ones of the same scene, by a network and two baselines; knows no sensor and no unit.

All three see one image of all bands on the fine grid: the fine bands first, then the coarse ones, every pixel of which
stands 2 x 2 times. They give all bands back, the fine ones as they came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError, DataError
from eorestore.layers.halving import BLUR, consistent, halve
from eorestore.layers.local_regression import REACH, high_pass, local_detail
from eorestore.layers.reflection import reflect_pad
from eorestore.models.light_sr import ConvolutionBlock
from eorestore.models.model import Model, Output, Prepared, SceneSample, Settings

FINE = 4
"""Fine bands that the baselines expect, the first of the image."""
_CUBIC_REACH = 4  # fine pixels: two coarse ones on every side
_RIDGE = 1e-6  # of the mean variance of the fine bands


@dataclass(frozen=True)
class BandSharpeningSettings(Settings):
    """Sizes; the defaults are 0.14 M parameters that train on one CPU core.

    bands: in and out, of which the first `fine` are fine. channels, blocks: of the network, which works on the coarse
    grid. blur: of the sensor between the two grids, see layers.halving.
    """

    bands: int = 10
    fine: int = FINE
    channels: int = 44
    blocks: int = 3
    blur: float = BLUR

    def __post_init__(self) -> None:
        if not 0 < self.fine < self.bands or min(self.channels, self.blocks) < 1 or self.blur < 0:
            raise ConfigError(
                f"band-sharpening: {self.fine} fine of {self.bands} bands, {self.channels} channels, {self.blocks} "
                f"blocks and a blur of {self.blur:g} pixels make no network",
                fix="the defaults are 4 of 10 bands, 44 channels, 3 blocks and a blur of 0.5 pixels",
            )


class BandSharpening(Model):
    """What local regression on the fine bands leaves unexplained, drawn from the detail of all bands.

        start  = bicubic(coarse) + local regression on fine
        change = shuffle 2(convolution(blocks(detail) + detail)), detail = zero-mean 6x6/2 convolution(fine, start)
        image  = fine, consistent(start + change)

    The task is that of DSen2 (Lanaras et al., "Super-resolution of Sentinel-2 images: learning a globally applicable
    deep neural network", ISPRS Journal 2018). What differs: it starts from what the scene itself teaches about its
    bands (layers.local_regression), so that few scenes to train on suffice; it works on the coarse grid with all bands
    folded in, a quarter of the work; it sees detail only and has no bias (Mohan et al., ICLR 2020), so that
    f(g x + c) = g f(x) + c for a gain g > 0 and an offset c of each band; and what the sensor would make of the image,
    `halve` of it, is exactly the coarse bands that came in. Untrained it is the regression, made consistent.
    """

    settings_type = BandSharpeningSettings
    settings: BandSharpeningSettings
    multiple_of = phase = 2
    tiling = "crop"

    def __init__(self, settings: BandSharpeningSettings) -> None:
        super().__init__(settings)
        s = settings
        self.enter = FoldedDetail(s.bands, s.channels)
        self.blocks = nn.ModuleList(ConvolutionBlock(s.channels) for _ in range(s.blocks))
        self.leave = nn.Conv2d(s.channels, 4 * (s.bands - s.fine), 3, padding=1, bias=False)
        nn.init.zeros_(self.leave.weight)
        # the first and the last convolution see one coarse pixel further each, consistency two
        cells = REACH + 1 + ConvolutionBlock.reach * s.blocks + 1 + 2
        self.reach = 2 * cells + 1  # the last one is for the place inside a coarse pixel

    def forward(self, *, multispectral: Tensor) -> Output:
        """(batch, band, 2 y, 2 x) in and out."""
        s = self.settings
        fine, coarse = split(multispectral, fine=s.fine)
        start = cubic(coarse) + local_detail(fine, coarse, blur=s.blur)
        first = self.enter(torch.cat([fine, start], dim=1))
        features = first
        for block in self.blocks:
            features = block(features)
        change = F.pixel_shuffle(self.leave(features + first), 2)
        return Output(torch.cat([fine, consistent(start + change, coarse, blur=s.blur)], dim=1))


class FoldedDetail(nn.Conv2d):
    """A 6x6 convolution of stride 2 whose filters sum to 0 over the pixels of each band; edges are reflected."""

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__(bands, channels, 6, stride=2, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, band, 2 y, 2 x) to (batch, channel, y, x)."""
        weight = self.weight - self.weight.mean(dim=(2, 3), keepdim=True)
        return F.conv2d(reflect_pad(image, 2), weight, stride=2)


@dataclass(frozen=True)
class SharpeningBaselineSettings(Settings):
    """Baselines have nothing to set."""


class BicubicBands(Model):
    """Cubic enlargement of the coarse bands; the fine ones tell it nothing."""

    settings_type: ClassVar[type[Settings]] = SharpeningBaselineSettings
    multiple_of = phase = 2
    reach = _CUBIC_REACH
    tiling = "crop"

    def forward(self, *, multispectral: Tensor) -> Output:
        """(batch, band, 2 y, 2 x) in and out."""
        fine, coarse = split(multispectral, fine=FINE)
        return Output(torch.cat([fine, cubic(coarse)], dim=1))


class HighPassInjection(Model):
    """Cubic enlargement plus the high-pass of what least squares over the scene make of the fine bands.

        guide = weights . fine, fitted for every coarse band on halve(fine)
        image = bicubic(coarse) + guide - bicubic(halve(guide))

    Hyper-sharpening by a synthetic sharp band: Selva et al., IEEE JSTARS 2015; injection by regression: Aiazzi et al.,
    IEEE TGRS 2007. Both take the sensor's transfer function for the low-pass, as here. They fit values; here the
    high-pass of both sides is fitted, which on Sentinel-2 is the better of the two by far.
    """

    settings_type: ClassVar[type[Settings]] = SharpeningBaselineSettings
    multiple_of = phase = 2
    reach = _CUBIC_REACH + 3
    tiling = "crop"
    needs_scene = True

    def prepare(self, scene: SceneSample) -> Prepared:
        """Weights (fine band, coarse band) from the valid pixels of all windows. Raises DataError without any."""
        pairs = [_unmasked(window["multispectral"], window["mask"]) for window in scene.windows]
        fine, coarse = (torch.cat(parts).double() for parts in zip(*pairs, strict=True))
        if not len(fine):
            raise DataError("no coarse pixel of the scene is whole", fix="give a larger scene, or one with fewer gaps")
        normal = fine.T @ fine
        ridge = _RIDGE * normal.diagonal().mean().clamp_min(1e-12) * torch.eye(len(normal), dtype=normal.dtype)
        return Prepared(constants={"weights": torch.linalg.solve(normal + ridge, fine.T @ coarse).float()})

    def forward(self, *, multispectral: Tensor, weights: Tensor) -> Output:
        """(batch, band, 2 y, 2 x) in and out; weights (1, fine band, coarse band)."""
        fine, coarse = split(multispectral, fine=FINE)
        guide = torch.einsum("bfyx,fc->bcyx", fine, weights[0])
        return Output(torch.cat([fine, cubic(coarse) + guide - cubic(halve(guide))], dim=1))


def split(multispectral: Tensor, *, fine: int) -> tuple[Tensor, Tensor]:
    """The fine bands (batch, fine, 2 y, 2 x), and the coarse ones on their own grid (batch, band - fine, y, x).

    The mean of 2 x 2 pixels gives a coarse pixel that was repeated back exactly, and a fair one of a resampled band.
    """
    return multispectral[:, :fine], F.avg_pool2d(multispectral[:, fine:], 2)


def cubic(coarse: Tensor) -> Tensor:
    """(batch, band, y, x) to (batch, band, 2 y, 2 x) by cubic convolution with a = -3/4; edges are repeated.

    On bands of Sentinel-2 its error is some percent below that of MATLAB's cubic, a = -1/2.
    """
    return F.interpolate(coarse, scale_factor=2, mode="bicubic", align_corners=False)


def _unmasked(multispectral: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The high-pass of halved fine and of coarse bands where coarse pixels are clear throughout: (pixel, band) each.

    Where a scene is restored throughout, everything is masked, and all pixels count that are not 0 for lack of values.
    """
    height, width = (side // 2 * 2 for side in mask.shape[-2:])
    image, hidden = multispectral[..., :height, :width], mask[:, 0, :height, :width]
    if bool(hidden.all()):
        hidden = (image == 0).all(dim=1).to(mask.dtype)
    fine, coarse = split(image, fine=FINE)
    # a pixel's high-pass is spoilt by what its neighbours hide, and halving looks one fine pixel further
    whole = (F.max_pool2d(F.max_pool2d(hidden, 2), 5, stride=1, padding=2) == 0).flatten()
    rows = [high_pass(part).movedim(1, -1).flatten(0, -2)[whole] for part in (halve(fine), coarse)]
    return rows[0], rows[1]
