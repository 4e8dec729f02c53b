"""What a scene says of its clouds, its air and its ground, before a pixel is looked at; knows no file.

The tables are of clouds and shadows as they were measured (raster.sky), and of how far they stray. models.thin_cloud
tells with them what lies under a pixel. Tensors of images are (batch, band, y, x), normalised reflectance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from eorestore.raster import SENTINEL2_L1C
from eorestore.raster.sky import PATH, THICK_CLOUD, shadow_depth

TRUST = 0.3  # inside a hole the estimate is better than a regression on SAR alone
PATH_SHARE, PATH_SPREAD = 0.7, 0.4  # of the table's path: mean, and spread that all bands share
NEVER = 100.0  # log odds from which on strange ground is not considered
_VISIBLE = slice(1, 4)
_GREY_CLOUD = 0.55  # of bands that are not Sentinel-2's thirteen, where no thick cloud is in the scene
_BRIGHT_SHARE, _BRIGHT_ENOUGH = 0.05, 0.35

# Of the thirteen bands of Sentinel-2: thick cloud; what shadow takes; noise of a cloud's colour in proportion to it;
# where ice differs from water, in proportion to the cloud; noise of the cirrus band; path reflectance of hazy air.
OPAQUE = tuple(round(sum(pair) / 2, 4) for pair in THICK_CLOUD.values())
_DEPTH = tuple(round(shadow_depth(band.wavelength or 1.0), 3) for band in SENTINEL2_L1C)
_COLOUR = (0.15, 0.075, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 0.525, 4.5, 0.105, 0.135)
_ICE = (0.0,) * 9 + (0.8, 0.0, -0.4, -0.45)
_CIRRUS = (0.0,) * 10 + (0.1, 0.0, 0.0)
_PATH = tuple(PATH.values())
_ELSEWHERE = (0.88, 0.07, 0.0, 0.0, 0.04)  # the same of any band of another sensor


class Tables(NamedTuple):
    """Tables for each band (band,); see above."""

    depth: Tensor
    colour: Tensor
    ice: Tensor
    cirrus: Tensor
    path: Tensor


class Veil(NamedTuple):
    """What a scene says of its clouds and its ground.

    spectrum: of its thick cloud (band,). ground: mean (band,) of clear pixels. path: reflectance (band,) that its
    shadows do not darken. covariance: (band, band) of the clear pixels around what SAR explains of them. trust: (),
    share of the covariance that the estimate may be wrong by. elsewhere: (band, band), the same covariance of other
    places. strange: (), log odds against a hidden pixel being of a kind of ground that no clear pixel shows, which then
    is wrong by `elsewhere`; NEVER where that is not considered. Any number of axes may stand in front.
    """

    spectrum: Tensor
    ground: Tensor
    path: Tensor
    covariance: Tensor
    trust: Tensor
    elsewhere: Tensor
    strange: Tensor

    def packed(self) -> Tensor:
        """All of it as one tensor (2 band + 5, band), for `unpacked`."""
        trust, strange = (one[..., None].expand_as(self.ground) for one in (self.trust, self.strange))
        rows = torch.stack([self.spectrum, self.ground, self.path, trust], dim=-2)
        return torch.cat([rows, self.covariance, strange[..., None, :], self.elsewhere], dim=-2)

    @classmethod
    def unpacked(cls, packed: Tensor) -> Veil:
        """The veil that `packed` made."""
        last = 4 + packed.shape[-1]
        spectrum, ground, path, trust, strange = (packed[..., row, :] for row in (0, 1, 2, 3, last))
        covariance, elsewhere = packed[..., 4:last, :], packed[..., last + 1 :, :]
        return cls(spectrum, ground, path, covariance, trust[..., 0], elsewhere, strange[..., 0])


def learn_veil(pieces: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Veil:
    """From (cloudy, explained, mask) pieces, each (1, band, y, x) normalised reflectance.

    The spectrum is the mean of the brightest masked pixels where they are bright enough to be thick cloud, else the
    published one. The path is a typical one, and no more than dark ground leaves room for.
    """
    hidden, clear, errors = [], [], []
    for cloudy, explained, mask in pieces:
        under = mask[:, 0] > 0.5
        hidden.append(cloudy.movedim(1, -1)[under])
        clear.append(cloudy.movedim(1, -1)[~under])
        errors.append((cloudy - explained).movedim(1, -1)[~under])
    error = torch.cat(errors)
    centred = error - error.mean(dim=0)
    covariance = centred.T @ centred / max(len(error) - 1, 1)
    return guess_veil(torch.cat(hidden), ground=torch.cat(clear).mean(dim=0), covariance=covariance)


def guess_veil(hidden: Tensor, *, ground: Tensor, covariance: Tensor, trust: float = TRUST) -> Veil:
    """A veil before the air is known: the spectrum from hidden pixels (pixel, band), the path a usual one."""
    path = PATH_SHARE * usual_path(ground, covariance)
    never = ground.new_tensor(NEVER)
    return Veil(_spectrum(hidden), ground, path, covariance, ground.new_tensor(trust), covariance, never)


def towards_cloud_and_shadow(hidden: Tensor, *, ground: Tensor) -> Tensor:
    """(band, 2): what a thick cloud, and full shadow, would add to `ground` (band,); hidden: (pixel, band)."""
    return torch.stack([_spectrum(hidden) - ground, -tables(ground).depth * ground], dim=1)


def tables(cloud: Tensor) -> Tables:
    """For as many bands as `cloud` (band,) has."""
    rows: tuple[tuple[float, ...], ...] = (_DEPTH, _COLOUR, _ICE, _CIRRUS, _PATH)
    if len(cloud) != len(OPAQUE):
        rows = tuple((value,) * len(cloud) for value in _ELSEWHERE)
    return Tables(*(cloud.new_tensor(row) for row in rows))


def usual_path(ground: Tensor, covariance: Tensor) -> Tensor:
    """The table's path where ground (band,) is bright enough: dark ground says how much there is at most."""
    return torch.minimum(tables(ground).path, (ground - covariance.diagonal().sqrt()).clamp_min(0))


def _spectrum(pixels: Tensor) -> Tensor:
    sentinel2 = pixels.shape[1] == len(OPAQUE)
    published = pixels.new_tensor(OPAQUE) if sentinel2 else pixels.new_full(pixels.shape[1:], _GREY_CLOUD)
    if len(pixels) == 0:
        return published
    brightness = pixels[:, _VISIBLE if sentinel2 else slice(None)].mean(dim=1)
    limit = torch.quantile(brightness[:: max(1, len(brightness) // 100_000)], 1 - _BRIGHT_SHARE)
    bright = pixels[brightness >= limit.clamp_min(_BRIGHT_ENOUGH)]
    return bright.mean(dim=0) if len(bright) >= 20 else published
