"""What thin cloud and shadow still tell about the ground: a linear-Gaussian unmixing per pixel; needs no training.

Our own method, in the spirit of spectral unmixing. Where a share q of the ground's light gets through,

    observed = q * ground + veil * cloud + noise

with ground ~ N(estimate, covariance of the scene's clear pixels around their estimate), veil ~ N(0.75 (1 - q),
(0.35 (1 - q))^2) and noise in proportion to what is hidden: spectra of clouds vary, and shadows are bluer than light.
For every q of a grid the posterior mean of the ground is a linear function of the observation; the result is their
mean, weighted by how well each q explains the pixel and its neighbours. Under an opaque cloud it is the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# Mean of the brightest 5 % of two real L1C scenes under thick cloud (SEN12MS-CR; SSL4EO-S12), B01 to B12 with B10.
THICK_CLOUD = (0.490, 0.5195, 0.5145, 0.5475, 0.536, 0.595, 0.6565, 0.6045, 0.6835, 0.1085, 0.0015, 0.5875, 0.444)

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)  # q
REACH = 2
_NOISE, _CLOUD_NOISE, _LIGHT_NOISE = 0.002, 0.05, 0.15
_VEIL_MEAN, _VEIL_SPREAD = 0.75, 0.35
_TRUST = 0.3  # of the covariance: inside a hole the estimate is better than a regression on SAR alone
_OPAQUE_FIRST = 2.0  # log odds by which an opaque cloud is preferred to any other share
_NEIGHBOURS = 0.5  # how much the averaged evidence counts: neighbours are alike, and the model is rough
_VISIBLE = slice(1, 4)
_GREY_CLOUD = 0.55  # of bands that are not Sentinel-2's thirteen, where no thick cloud is in the scene
_BRIGHT_SHARE, _BRIGHT_ENOUGH = 0.05, 0.35


class Unveiled(NamedTuple):
    """What `unveil` found: posterior means of the ground and of q, and how much of the ground's variance was seen.

    ground: (batch, band, y, x). seen: (batch, 1, y, x), q. sureness: (batch, 1, y, x), 0 where the estimate is all
    there is, 1 where the ground lies open.
    """

    ground: Tensor
    seen: Tensor
    sureness: Tensor


class Veil(NamedTuple):
    """What a scene says of its clouds and its ground.

    spectrum: of its thick cloud (band,). ground: mean (band,) of clear pixels. covariance: (band, band) of the
    clear pixels around what SAR explains of them.
    """

    spectrum: Tensor
    ground: Tensor
    covariance: Tensor


def learn_veil(pieces: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Veil:
    """From (cloudy, explained, mask) pieces, each (1, band, y, x) normalised reflectance.

    The spectrum is the mean of the brightest masked pixels where they are bright enough to be thick cloud, else the
    published one.
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
    return Veil(_spectrum(torch.cat(hidden)), torch.cat(clear).mean(dim=0), covariance)


def unveil(cloudy: Tensor, estimate: Tensor, *, veil: Veil) -> Unveiled:
    """The ground under thin cloud and in shadow, from the observation and an estimate, both (batch, band, y, x).

    veil: with a batch axis in front of every entry.
    """
    covariance = _TRUST * veil.covariance
    variance = covariance.diagonal(dim1=1, dim2=2).sum(dim=1).clamp_min(1e-12)
    evidence, inverses = [], []
    for share in SHARES:
        spread = _spread(share, veil)
        inverse = torch.linalg.inv(spread).to(cloudy.dtype)
        difference = _difference(cloudy, estimate, share, veil)
        distance = (_times(inverse, difference) * difference).sum(dim=1, keepdim=True)
        size = torch.linalg.slogdet(spread)[1].to(cloudy.dtype)[:, None, None, None]
        evidence.append(-0.5 * (distance + size) + (_OPAQUE_FIRST / _NEIGHBOURS if share == 0 else 0.0))
        inverses.append(inverse)
    weights = torch.softmax(_NEIGHBOURS * _average(torch.cat(evidence, dim=1)), dim=1)
    ground, seen = estimate, torch.zeros_like(cloudy[:, :1])
    sureness = torch.zeros_like(seen)
    # A second pass instead of eleven kept images: an overview has over a million pixels.
    for index, (share, inverse) in enumerate(zip(SHARES, inverses, strict=True)):
        weight = weights[:, index : index + 1]
        gain = share * covariance @ inverse
        ground = ground + weight * _times(gain, _difference(cloudy, estimate, share, veil))
        seen = seen + weight * share
        gained = share * (gain @ covariance).diagonal(dim1=1, dim2=2).sum(dim=1) / variance
        sureness = sureness + weight * gained[:, None, None, None]
    return Unveiled(ground, seen, sureness)


def _spread(share: float, veil: Veil) -> Tensor:
    """Covariance (batch, band, band), double, of what is observed where `share` of the ground's light gets through."""
    cloud, hidden = veil.spectrum, 1 - share
    noise = _NOISE**2 + (_CLOUD_NOISE * hidden * cloud) ** 2 + (_LIGHT_NOISE * hidden * veil.ground) ** 2
    brightness = (_VEIL_SPREAD * hidden + 0.01) ** 2 * cloud[:, :, None] * cloud[:, None, :]
    return (share**2 * _TRUST * veil.covariance + torch.diag_embed(noise) + brightness).double()


def _difference(cloudy: Tensor, estimate: Tensor, share: float, veil: Veil) -> Tensor:
    return cloudy - share * estimate - (_VEIL_MEAN * (1 - share) * veil.spectrum)[:, :, None, None]


def _times(matrix: Tensor, image: Tensor) -> Tensor:
    return torch.einsum("bij,bjyx->biyx", matrix, image)


def _spectrum(pixels: Tensor) -> Tensor:
    sentinel2 = pixels.shape[1] == len(THICK_CLOUD)
    published = pixels.new_tensor(THICK_CLOUD) if sentinel2 else pixels.new_full(pixels.shape[1:], _GREY_CLOUD)
    if len(pixels) == 0:
        return published
    brightness = pixels[:, _VISIBLE if sentinel2 else slice(None)].mean(dim=1)
    limit = torch.quantile(brightness[:: max(1, len(brightness) // 100_000)], 1 - _BRIGHT_SHARE)
    bright = pixels[brightness >= limit.clamp_min(_BRIGHT_ENOUGH)]
    return bright.mean(dim=0) if len(bright) >= 20 else published


def _average(values: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(values, (REACH,) * 4, mode="replicate"), 2 * REACH + 1, stride=1)
