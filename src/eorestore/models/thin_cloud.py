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
Where little of a scene is clear and what is hidden looks strange (`admit_strange_ground`), every pair that lets
something through stands there twice, the second time with the wider covariance of other places.

Cloud colours spread half as much again as in `data.cloud_simulation`, and usual path and depth of shadows are the same
there (raster.sky): scores under simulated clouds may flatter this model, which knows how they were made.
benchmarks/plain_clouds.py scores it under clouds that are made otherwise. How dark real shadows are was seen in one
scene (SSL4EO-S12, 2020-08-23, beside 2020-08-13): without `path` its shadows are taken for dark ground. The noise of
shadow was set by simulated ones; that scene would rather have more of it, as would one without a clear pixel.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from eorestore.models.veil import NEVER, PATH_SHARE, PATH_SPREAD, Veil, tables, usual_path

OPACITIES = (0.0, 0.1, 0.2, 0.35, 0.55, 0.8, 1.0)  # t
SHADES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75)  # s where the sky above is open
_VEILED_SHADES = (0.0, 0.35, 0.7)  # s where a cloud lies above, too
_NOISE = 0.002
_BRIGHTNESS, _BRIGHTNESS_SPREAD, _LEAST_BRIGHTNESS_SPREAD = 0.87, 0.13, 0.003
_SHADE_NOISE, _LIGHT_NOISE = 0.02, 0.01  # of the ground's light that shadow takes; of all that is hidden
_STEP, _VEILED_STEP = 0.04, 0.1  # spread of s around a value of the grid, under open sky and below a cloud
_PATH_OWN, _PATH_LEAST = 0.35, 0.005  # spread that each band has for itself, of the table's path and as reflectance
_PATH_PASSES = 2
_LIKE_ONE = 1000.0  # neighbouring pixels in shadow that tell of the path no more than one: their ground is alike
_PATH_PIXELS = 4000
_ICE_SPREAD = 0.5
_OPAQUE_FIRST, _CLEAR_LAST = 3.0, 2.0  # log odds for an opaque cloud, and against a pixel under the mask being clear
_SHADED = -0.7  # log odds of one shade under open sky, of which the grid has many
_SUSPECTED, _ADMITTED = 10.0, 4.5  # log odds against strange ground: for looking, and once it is found
_LEAST_STRANGE = 0.02  # of what is seen through the veil
_MOST_CLEAR = 6000.0  # pixels, above which clear ground is taken to show every kind
_PIXELS = 65536  # at a time: about 100 MB


class Unveiled(NamedTuple):
    """What `unveil` found: posterior means of the ground and of its light, and how much of its variance was seen.

    ground: (batch, band, y, x). seen: (batch, 1, y, x), mean of `light` over bands. sureness: (batch, 1, y, x), 0
    where the estimate is all there is, 1 where the ground lies open.
    """

    ground: Tensor
    seen: Tensor
    sureness: Tensor


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
    usual = usual_path(exact.ground, exact.covariance)
    shared = PATH_SPREAD * usual
    precision = torch.linalg.inv(torch.diag((_PATH_OWN * usual + _PATH_LEAST) ** 2) + torch.outer(shared, shared))
    weighed = exact.covariance * layers.light[:, :, None] * layers.light[:, None, :] + layers.noise
    counts = layers.scattering[:, :, None] * torch.linalg.inv(weighed)
    start = precision @ (PATH_SHARE * usual)
    for _ in range(_PATH_PASSES):
        pairs = _pairs(exact, dtype=torch.float32)
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
def admit_strange_ground(
    cloudy: Tensor, estimate: Tensor, *, hidden: Tensor, veil: Veil, elsewhere: Tensor, clear: float
) -> Veil:
    """The veil of a scene of which too little is clear to show all kinds of its ground; else the veil as it is.

    A few clear pixels of water leave no room for land: sand in shadow is then taken for thin cloud over water, although
    it can be seen. With the covariance of other places beside that of the clear pixels there is room. But ground that
    may be anything also takes up the texture of clouds, wherever the table does not know them well, so that it is
    admitted only where at least _LEAST_STRANGE of what is seen asks for it at small odds.

    Our own. The constants were chosen on training and validation places, so that a coast with hardly a clear pixel of
    its sand gains and calm fields are hardly ever suspected (results/strange-ground.json has both). Where enough is
    clear, nothing is asked: under real thin clouds, which the table knows less well, more was lost than won (a trial
    without record), hence _MOST_CLEAR.

    Args:
        cloudy: (1, band, y, x) normalised reflectance.
        estimate: likewise, of the ground.
        hidden: (1, 1, y, x) bool.
        veil: from `learn_path`.
        elsewhere: (band, band), covariance of other places around what SAR explains of them.
        clear: number of clear pixels of the scene.
    """
    observed, guess = (image[0][:, hidden[0, 0]].T.float() for image in (cloudy, estimate))
    every = max(1, len(observed) // _PATH_PIXELS)
    observed, guess = observed[::every], guess[::every]
    if clear > _MOST_CLEAR or len(observed) == 0:
        return veil
    admitted = veil._replace(elsewhere=elsewhere.to(veil.covariance), strange=veil.trust.new_tensor(_ADMITTED))
    suspected = admitted._replace(strange=veil.trust.new_tensor(_SUSPECTED))
    pairs = _all_pairs(Veil(*(part.double() for part in suspected)), dtype=torch.float32)
    shares = torch.cat([_shares(*piece, pairs) for piece in _in_pieces(observed, guess)]).sum(dim=0)
    opaque = len(shares) // 2  # the last pair of those of known ground, of which strange ground has none
    seen = shares.sum() - shares[opaque]
    return admitted if float(shares[opaque + 1 :].sum()) > _LEAST_STRANGE * float(seen) else veil


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


def _layers(veil: Veil) -> _Layers:
    """Of one scene, whose veil is in double precision."""
    cloud, ground = veil.spectrum, veil.ground
    depth, colour, ice, cirrus, _ = tables(cloud)
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
    """Of one scene, whose veil is in double precision; those of strange ground last, if it is expected."""
    known = _pairs(veil, dtype=dtype)
    if veil.strange.is_meta or float(veil.strange) >= NEVER:
        return known
    strange = _pairs(veil._replace(covariance=veil.elsewhere, trust=torch.ones_like(veil.trust)), dtype=dtype)
    # Under an opaque cloud there is nothing to tell them apart by.
    strange = _Pairs(*(part[:-1] for part in strange))
    strange = strange._replace(size=strange.size + 2 * veil.strange.to(dtype))
    return _Pairs(*(torch.cat(both) for both in zip(known, strange, strict=True)))


def _pairs(veil: Veil, *, dtype: torch.dtype) -> _Pairs:
    """Of one scene, whose veil is in double precision."""
    light, lit, scattering, noise, prior = _layers(veil)
    covariance = veil.trust * veil.covariance
    hazy = PATH_SPREAD * scattering * usual_path(veil.ground, veil.covariance)
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
