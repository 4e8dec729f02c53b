"""What thin cloud and shadow still tell about the ground: a linear-Gaussian unmixing per pixel; needs no training.

Our own method, in the spirit of spectral unmixing. Where clouds have opacity t and take a share s of the sunlight,

    light    = (1 - t) * (1 - depth * s),            depth: falls towards the blue, which skylight fills
    observed = light * ground + (1 - t) * s * depth * path + t * brightness * cloud + noise

with ground ~ N(estimate, covariance of the scene's clear pixels around their estimate), brightness ~ N(0.87, 0.13^2).
`path` is what air between ground and sensor scatters, which a shadow on the ground does not darken: from none
(surface reflectance, dry air) to hazy, learned by band from the scene's own shadows (`learn_path`). Ice clouds are
darker in the short-wave infrared, and every band has noise in proportion to what is hidden. For every pair (t, s) of a
grid the posterior mean of the ground is a linear function of the observation; the result is their mean, weighted by how
well each pair explains the pixel. Under an opaque cloud it is the estimate. A pixel knows nothing of its neighbours.

Cloud colours spread half as much again as in `data.cloud_simulation`, and usual path and depth of shadows are the same
there (raster.sky): scores under simulated clouds may flatter this model, which knows how they were made.
benchmarks/plain_clouds.py scores it under clouds that are made otherwise. How dark real shadows are was seen in one
scene (SSL4EO-S12, 2020-08-23, beside 2020-08-13): without `path` its shadows are taken for dark ground. The noise of
shadow was set by simulated ones; that scene would rather have more of it, as would one without a clear pixel.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from eorestore.raster import SENTINEL2_L1C
from eorestore.raster.sky import PATH, THICK_CLOUD, shadow_depth

OPACITIES = (0.0, 0.1, 0.2, 0.35, 0.55, 0.8, 1.0)  # t
SHADES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75)  # s where the sky above is open
_VEILED_SHADES = (0.0, 0.35, 0.7)  # s where a cloud lies above, too
TRUST = 0.3  # inside a hole the estimate is better than a regression on SAR alone
_NOISE = 0.002
_BRIGHTNESS, _BRIGHTNESS_SPREAD, _LEAST_BRIGHTNESS_SPREAD = 0.87, 0.13, 0.003
_SHADE_NOISE, _LIGHT_NOISE = 0.02, 0.01  # of the ground's light that shadow takes; of all that is hidden
_STEP, _VEILED_STEP = 0.04, 0.1  # spread of s around a value of the grid, under open sky and below a cloud
_PATH_SHARE, _PATH_SPREAD = 0.7, 0.4  # of the table's path: mean, and spread that all bands share
_PATH_OWN, _PATH_LEAST = 0.35, 0.005  # spread that each band has for itself, of the table's path and as reflectance
_PATH_PASSES = 2
_LIKE_ONE = 1000.0  # neighbouring pixels in shadow that tell of the path no more than one: their ground is alike
_PATH_PIXELS = 4000
_ICE_SPREAD = 0.5
_OPAQUE_FIRST, _CLEAR_LAST = 3.0, 2.0  # log odds for an opaque cloud, and against a pixel under the mask being clear
_SHADED = -0.7  # log odds of one shade under open sky, of which the grid has many
_VISIBLE = slice(1, 4)
_GREY_CLOUD = 0.55  # of bands that are not Sentinel-2's thirteen, where no thick cloud is in the scene
_BRIGHT_SHARE, _BRIGHT_ENOUGH = 0.05, 0.35
_PIXELS = 65536  # at a time: about 100 MB

# Of the thirteen bands of Sentinel-2: thick cloud; what shadow takes; noise of a cloud's colour in proportion to it;
# where ice differs from water, in proportion to the cloud; noise of the cirrus band; path reflectance of hazy air.
_THICK_CLOUD = tuple(round(sum(pair) / 2, 4) for pair in THICK_CLOUD.values())
_DEPTH = tuple(round(shadow_depth(band.wavelength or 1.0), 3) for band in SENTINEL2_L1C)
_COLOUR = (0.15, 0.075, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 0.525, 4.5, 0.105, 0.135)
_ICE = (0.0,) * 9 + (0.8, 0.0, -0.4, -0.45)
_CIRRUS = (0.0,) * 10 + (0.1, 0.0, 0.0)
_PATH = tuple(PATH.values())
_ELSEWHERE = (0.88, 0.07, 0.0, 0.0, 0.04)  # the same of any band of another sensor


class Unveiled(NamedTuple):
    """What `unveil` found: posterior means of the ground and of its light, and how much of its variance was seen.

    ground: (batch, band, y, x). seen: (batch, 1, y, x), mean of `light` over bands. sureness: (batch, 1, y, x), 0
    where the estimate is all there is, 1 where the ground lies open.
    """

    ground: Tensor
    seen: Tensor
    sureness: Tensor


class Veil(NamedTuple):
    """What a scene says of its clouds and its ground.

    spectrum: of its thick cloud (band,). ground: mean (band,) of clear pixels. path: reflectance (band,) that its
    shadows do not darken. covariance: (band, band) of the clear pixels around what SAR explains of them. trust: (),
    share of the covariance that the estimate may be wrong by. Any number of axes may stand in front.
    """

    spectrum: Tensor
    ground: Tensor
    path: Tensor
    covariance: Tensor
    trust: Tensor

    def packed(self) -> Tensor:
        """All of it as one tensor (band + 4, band), for `unpacked`."""
        trust = self.trust[..., None].expand_as(self.ground)
        return torch.cat([torch.stack([self.spectrum, self.ground, self.path, trust], dim=-2), self.covariance], dim=-2)

    @classmethod
    def unpacked(cls, packed: Tensor) -> Veil:
        """The veil that `packed` made."""
        return cls(packed[..., 0, :], packed[..., 1, :], packed[..., 2, :], packed[..., 4:, :], packed[..., 3, 0])


class _Layers(NamedTuple):
    """What lies over the ground for all pairs (t, s), each (pair, band) unless said otherwise.

    light: share of the ground's light that arrives. lit: light of a cloud of brightness 1. scattering: share of the
    path's light. noise: (pair, band, band), of all but ground and path. prior: (pair,) log odds.
    """

    light: Tensor
    lit: Tensor
    scattering: Tensor
    noise: Tensor
    prior: Tensor


class _Pairs(NamedTuple):
    """All pairs (t, s) of a scene.

    whitening: (pair, band, 2 band) acts on (observed, estimate); less its offset (pair, band), the squared norm is
    the misfit. gain, gain_offset: likewise, to what is to be added to the estimate. size: (pair,), log determinant
    less twice the prior's log odds. light, sureness: (pair,).
    """

    whitening: Tensor
    whitening_offset: Tensor
    size: Tensor
    gain: Tensor
    gain_offset: Tensor
    light: Tensor
    sureness: Tensor


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
    path = _PATH_SHARE * _usual_path(ground, covariance)
    return Veil(_spectrum(hidden), ground, path, covariance, ground.new_tensor(trust))


def towards_cloud_and_shadow(hidden: Tensor, *, ground: Tensor) -> Tensor:
    """(band, 2): what a thick cloud, and full shadow, would add to `ground` (band,); hidden: (pixel, band)."""
    return torch.stack([_spectrum(hidden) - ground, -_tables(ground)[0] * ground], dim=1)


@torch.no_grad()
def learn_path(cloudy: Tensor, estimate: Tensor, *, hidden: Tensor, veil: Veil, factor: int = 1) -> Veil:
    """The veil with the path that the scene's own shadows show.

    Bayesian linear regression of what the shadows are brighter by than light * estimate, by expectation maximisation
    over the pairs (t, s). The ground itself may differ from its estimate, over wide areas in one direction, so that
    many neighbouring pixels count as one.

    Args:
        cloudy: (1, band, y, x) normalised reflectance.
        estimate: likewise, of the ground.
        hidden: (1, 1, y, x) bool.
        veil: from `learn_veil`.
        factor: pixels of the scene along one of these.
    """
    observed, guess = (image[0][:, hidden[0, 0]].T for image in (cloudy, estimate))
    seen = observed.isfinite().all(dim=1) & (observed != 0).any(dim=1)
    if not bool(seen.any()):
        return veil
    every = max(1, int(seen.sum()) // _PATH_PIXELS)
    observed, guess = observed[seen][::every], guess[seen][::every]
    exact = Veil(*(part.double() for part in veil))
    layers = _layers(exact)
    usual = _usual_path(exact.ground, exact.covariance)
    shared = _PATH_SPREAD * usual
    precision = torch.linalg.inv(torch.diag((_PATH_OWN * usual + _PATH_LEAST) ** 2) + torch.outer(shared, shared))
    weighed = exact.covariance * layers.light[:, :, None] * layers.light[:, None, :] + layers.noise
    counts = layers.scattering[:, :, None] * torch.linalg.inv(weighed)
    start = precision @ (_PATH_SHARE * usual)
    for _ in range(_PATH_PASSES):
        pairs = _all_pairs(exact, dtype=torch.float32)
        shares = torch.cat([_shares(*piece, pairs) for piece in _in_pieces(observed.float(), guess.float())]).double()
        total = shares.sum(dim=0)[:, None]
        left = shares.T @ observed.double() - layers.light * (shares.T @ guess.double())
        left = (left - total * _BRIGHTNESS * layers.lit) * (every * factor**2 / _LIKE_ONE)
        amount = total * (every * factor**2 / _LIKE_ONE) * layers.scattering
        matrix = precision + torch.einsum("hij,hj->ij", counts, amount)
        vector = start + torch.einsum("hij,hj->i", counts, left)
        exact = exact._replace(path=torch.linalg.solve(matrix, vector).clamp_min(0))
    return veil._replace(path=exact.path.to(veil.path.dtype))


@torch.no_grad()
def unveil(cloudy: Tensor, estimate: Tensor, *, hidden: Tensor, veil: Veil) -> Unveiled:
    """The ground under thin cloud and in shadow, from the observation and an estimate, both (batch, band, y, x).

    Args:
        cloudy: normalised reflectance; what is not finite counts as an opaque cloud.
        estimate: of the ground.
        hidden: (batch, 1, y, x) bool; elsewhere the ground is what was observed.
        veil: with a batch axis in front of every entry, of one scene for all or one for each.
    """
    ground, light, sureness = cloudy.clone(), torch.ones_like(cloudy[:, :1]), torch.ones_like(cloudy[:, :1])
    veil = Veil(*(part.expand(len(cloudy), *part.shape[1:]) for part in veil))
    for index in range(len(cloudy)):
        under = hidden[index, 0]
        if not cloudy.is_meta and not bool(under.any()):
            continue
        pairs = _all_pairs(Veil(*(part[index].double() for part in veil)), dtype=torch.float32)
        if cloudy.is_meta:  # operations are being counted: all pixels count as hidden
            _weigh(cloudy[index].flatten(1).T.float(), estimate[index].flatten(1).T.float(), pairs)
            continue
        observed, guess = (image[index][:, under].T.float() for image in (cloudy, estimate))
        found = torch.cat([_weigh(*piece, pairs) for piece in _in_pieces(observed, guess)]).T.to(cloudy.dtype)
        ground[index][:, under], light[index][:, under], sureness[index][:, under] = (
            found[:-2],
            found[-2:-1],
            found[-1:],
        )
    return Unveiled(ground, light, sureness)


def _in_pieces(observed: Tensor, estimate: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(observed, _PIXELS), torch.split(estimate, _PIXELS), strict=True)


def _weigh(observed: Tensor, estimate: Tensor, pairs: _Pairs) -> Tensor:
    """(pixel, band + 2): ground, light and sureness of pixels (pixel, band)."""
    precise = contextlib.nullcontext() if observed.is_meta else torch.autocast(observed.device.type, enabled=False)
    with precise:
        weights = _shares(observed, estimate, pairs)
        both = _both(observed, estimate)
        added = torch.einsum("ph,phb->pb", weights, _apply(pairs.gain, pairs.gain_offset, both))
        return torch.cat([estimate + added, (weights @ pairs.light)[:, None], (weights @ pairs.sureness)[:, None]], 1)


def _shares(observed: Tensor, estimate: Tensor, pairs: _Pairs) -> Tensor:
    """(pixel, pair): probability of each pair, all 0 where a band is not finite."""
    open_sky = observed.isfinite().all(dim=1, keepdim=True)
    misfit = _apply(pairs.whitening, pairs.whitening_offset, _both(observed, estimate)).square().sum(dim=2)
    return torch.softmax(-0.5 * (misfit + pairs.size), dim=1) * open_sky


def _both(observed: Tensor, estimate: Tensor) -> Tensor:
    open_sky = observed.isfinite().all(dim=1, keepdim=True)
    return torch.cat([torch.where(open_sky, observed, estimate), estimate], dim=1)


def _apply(matrix: Tensor, offset: Tensor, both: Tensor) -> Tensor:
    count, bands, _ = matrix.shape
    flat = torch.addmm(-offset.reshape(1, -1), both, matrix.reshape(count * bands, 2 * bands).T)
    return flat.view(-1, count, bands)


def _tables(cloud: Tensor) -> tuple[Tensor, ...]:
    """_DEPTH, _COLOUR, _ICE, _CIRRUS and _PATH for as many bands as `cloud` (band,) has."""
    tables: tuple[tuple[float, ...], ...] = (_DEPTH, _COLOUR, _ICE, _CIRRUS, _PATH)
    if len(cloud) != len(_THICK_CLOUD):
        tables = tuple((value,) * len(cloud) for value in _ELSEWHERE)
    return tuple(cloud.new_tensor(table) for table in tables)


def _usual_path(ground: Tensor, covariance: Tensor) -> Tensor:
    """The table's path where ground (band,) is bright enough: dark ground says how much there is at most."""
    return torch.minimum(_tables(ground)[-1], (ground - covariance.diagonal().sqrt()).clamp_min(0))


def _layers(veil: Veil) -> _Layers:
    """Of one scene, whose veil is in double precision."""
    cloud, ground = veil.spectrum, veil.ground
    depth, colour, ice, cirrus, _ = _tables(cloud)
    veiled = itertools.product(OPACITIES[1:-1], _VEILED_SHADES)
    grid = [*((OPACITIES[0], shade) for shade in SHADES), *veiled, (OPACITIES[-1], 0.0)]
    opacity, shade = cloud.new_tensor(grid).T[:, :, None]
    step = torch.where(opacity > 0, _VEILED_STEP, _STEP)
    light = (1 - opacity) * (1 - depth * shade)
    lit = opacity * cloud
    noise = _NOISE**2 + (colour * lit) ** 2 + (cirrus * opacity) ** 2
    noise = noise + ((1 - opacity) * _SHADE_NOISE * shade * depth * ground) ** 2
    noise = torch.diag_embed(noise + (_LIGHT_NOISE * (1 - light) * ground) ** 2)
    # What all bands share: brightness and ice of the cloud, and shadows between those of the grid.
    shared = (
        (_BRIGHTNESS_SPREAD * opacity + _LEAST_BRIGHTNESS_SPREAD) * cloud,
        _ICE_SPREAD * ice * lit,
        step * (shade > 0) * (1 - opacity) * depth * ground,
    )
    for direction in shared:
        noise = noise + direction[:, :, None] * direction[:, None, :]
    prior = _OPAQUE_FIRST * (opacity == 1) - _CLEAR_LAST * ((opacity == 0) & (shade == 0))
    prior = prior + _SHADED * ((opacity == 0) & (shade > 0))
    return _Layers(light, lit, (1 - opacity) * shade * depth, noise, prior[:, 0])


def _all_pairs(veil: Veil, *, dtype: torch.dtype) -> _Pairs:
    """Of one scene, whose veil is in double precision."""
    light, lit, scattering, noise, prior = _layers(veil)
    covariance = veil.trust * veil.covariance
    hazy = _PATH_SPREAD * scattering * _usual_path(veil.ground, veil.covariance)
    spread = light[:, :, None] * covariance * light[:, None, :] + noise + hazy[:, :, None] * hazy[:, None, :]
    factor = torch.linalg.cholesky(spread)
    whitening = torch.linalg.inv(factor)
    gain = (covariance * light[:, None, :]) @ whitening.mT @ whitening
    mean = _BRIGHTNESS * lit + scattering * veil.path
    size = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(dim=1) - 2 * prior
    sureness = (gain * (light[:, :, None] * covariance).mT).sum(dim=(1, 2))
    sureness = sureness / covariance.diagonal().sum().clamp_min(1e-12)
    parts = (
        torch.cat([whitening, -whitening * light[:, None, :]], dim=2),
        torch.einsum("hij,hj->hi", whitening, mean),
        size,
        torch.cat([gain, -gain * light[:, None, :]], dim=2),
        torch.einsum("hij,hj->hi", gain, mean),
        light.mean(dim=1),
        sureness,
    )
    return _Pairs(*(part.to(dtype) for part in parts))


def _spectrum(pixels: Tensor) -> Tensor:
    sentinel2 = pixels.shape[1] == len(_THICK_CLOUD)
    published = pixels.new_tensor(_THICK_CLOUD) if sentinel2 else pixels.new_full(pixels.shape[1:], _GREY_CLOUD)
    if len(pixels) == 0:
        return published
    brightness = pixels[:, _VISIBLE if sentinel2 else slice(None)].mean(dim=1)
    limit = torch.quantile(brightness[:: max(1, len(brightness) // 100_000)], 1 - _BRIGHT_SHARE)
    bright = pixels[brightness >= limit.clamp_min(_BRIGHT_ENOUGH)]
    return bright.mean(dim=0) if len(bright) >= 20 else published
