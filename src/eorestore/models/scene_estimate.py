"""What a scene tells about its own hidden pixels: smooth interpolation and regression on SAR.

Both are fitted on the clear pixels of the one scene and need no training; where none is clear, a prior from other
places stands in for the first fit. Tensors are (batch, band, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from eorestore.errors import MaskError
from eorestore.models.depth_trust import depth_of, trust_by_depth, trust_map
from eorestore.models.ground_prior import GroundPrior, load_ground_prior
from eorestore.models.model import Prepared, SceneSample
from eorestore.models.scene_regression import SIGMAS, fit_ground, ground_from_sar, sar_features, widened
from eorestore.models.thin_cloud import admit_strange_ground, learn_path, unveil
from eorestore.models.veil import Veil, guess_veil, learn_veil

_LEAST_CLEAR = 100  # pixels, below which other places stand in
_RELAXATIONS = (4, 8, 16, 30)  # from the finest level on; the last for all coarser ones
_FIRST_TRUST = 0.4  # of the covariance: the first estimate, from clear pixels alone, errs by more than the last
_SURE = (0.5, 0.7, 0.9)  # shares of the ground's variance from which on what thin cloud or shadow lets through is known


def interpolate(values: Tensor, known: Tensor) -> Tensor:
    """Fill pixels where `known` (batch, 1, y, x) is 0 with the harmonic surface through the known ones.

    Solves Laplace's equation coarse to fine: the known pixels are averaged over 2 x 2 blocks down to one pixel,
    then each level starts from the coarser one and is relaxed by Jacobi steps (a cascadic multigrid, Bornemann and
    Deuflhard 1996). Raises MaskError where nothing is known.
    """
    if not bool((known > 0).any()):
        raise MaskError("no clear pixel to interpolate from", fix="give a tighter mask or a larger scene")
    known = (known > 0).to(values.dtype)
    if bool(known.all()):
        return values
    filled = _coarse_to_fine(values * known, known)
    return torch.where(known > 0, values, filled)


def _coarse_to_fine(values: Tensor, known: Tensor, *, level: int = 0) -> Tensor:
    height, width = values.shape[-2:]
    if min(height, width) > 1 and not bool(known.all()):
        even = (0, width % 2, 0, height % 2)
        padded, weight = F.pad(values * known, even), F.pad(known, even)
        share = F.avg_pool2d(weight, 2)
        coarse = F.avg_pool2d(padded, 2) / share.clamp_min(1e-6)
        below = _coarse_to_fine(coarse, (share > 0).to(values.dtype), level=level + 1)
        surface = F.interpolate(below, scale_factor=2, mode="bilinear")[..., :height, :width]
    else:
        total = known.sum(dim=(-2, -1), keepdim=True)
        mean = (values * known).sum(dim=(-2, -1), keepdim=True) / total.clamp_min(1)
        surface = mean.expand_as(values)
    steps = _RELAXATIONS[min(level, len(_RELAXATIONS) - 1)]
    return _relaxed(torch.where(known > 0, values, surface), known, steps)


def _relaxed(surface: Tensor, known: Tensor, steps: int) -> Tensor:
    """The surface after that many Jacobi steps, in one buffer with a repeated edge: this is where the time goes."""
    share = 0.25 * (known <= 0).to(surface.dtype)
    fixed = torch.where(known > 0, surface, 0.0)
    buffer = F.pad(surface, (1, 1, 1, 1), mode="replicate")
    inner = buffer[..., 1:-1, 1:-1]
    around = torch.empty_like(surface)
    for _ in range(steps):
        torch.add(buffer[..., 1:-1, :-2], buffer[..., 1:-1, 2:], out=around)
        around += buffer[..., :-2, 1:-1]
        around += buffer[..., 2:, 1:-1]
        inner.copy_(torch.addcmul(fixed, around, share))
        buffer[..., 0, :], buffer[..., -1, :] = buffer[..., 1, :], buffer[..., -2, :]
        buffer[..., 0], buffer[..., -1] = buffer[..., 1], buffer[..., -2]
    return inner.clone()


def prepare_estimate(scene: SceneSample, *, sees_cloud: bool) -> Prepared:
    """Regression on SAR, the interpolated remainder, and what the scene says of its clouds.

    With `sees_cloud` it is fitted four times: on the clear pixels, then also on those that thin cloud, shadow and the
    margin of the mask let see well (models.thin_cloud), which under a broken sky are as many as the clear ones. How
    well is well enough nobody knows, so that one fit takes few of them, one more, one most: their errors differ, so
    that the mean of these three errs less. The regression is fitted again only where the overview is the scene itself;
    a larger scene has clear pixels enough. Where no pixel is clear, or hardly one, other places stand in for the first
    fit (models.ground_prior), if their bands are these. Without `sees_cloud` no pixel under the mask is looked at.

    Maps: `surface`, the remainder (clear - explained by SAR) interpolated over the overview, and fading with depth as
    the scene's own clear pixels teach (models.depth_trust). Constants: `coefficients` of the regression
    (models.scene_regression); `veil`, a packed `veil.Veil`. Raises MaskError.
    """
    features = [sar_features(window["sar"]) for window in scene.windows]
    pieces = [(one, window["cloudy"], window["mask"]) for one, window in zip(features, scene.windows, strict=True)]
    seen, known = scene.overview["cloudy"], 1 - scene.overview["mask"]
    whole = sar_features(scene.overview["sar"])
    prior = _prior_where_needed(pieces) if sees_cloud else None
    if prior is None:
        # What the mean of a block's SAR says is the mean of what its pixels say only where the regression is linear.
        coefficients = fit_ground(pieces, bends=scene.factor == 1)
        explained = ground_from_sar(whole, coefficients)
        surface = _surface(seen - explained, known)
        if not sees_cloud:
            return Prepared({"surface": surface}, {"coefficients": coefficients})
        veil = learn_veil([(cloudy, ground_from_sar(one, coefficients), mask) for one, cloudy, mask in pieces])
        first_trust = _FIRST_TRUST
    else:
        first_trust = 1.0  # of other places' spread; what is refitted on this scene is not known to be better
        linear, left = prior.regression(seen.shape[1], _present(scene))
        coefficients = widened(linear)
        explained = ground_from_sar(whole, coefficients)
        surface, known = torch.zeros_like(seen), torch.zeros_like(known)
        under = torch.cat([cloudy.movedim(1, -1)[mask[:, 0] > 0.5] for _, cloudy, mask in pieces])
        veil = guess_veil(under, ground=prior.mean[-seen.shape[1] :].float(), covariance=left, trust=first_trust)
    veil = learn_path(seen, explained + surface, hidden=known <= 0, veil=veil, factor=scene.factor)
    elsewhere = load_ground_prior(bands=seen.shape[1], features=whole.shape[1]) if prior is None else None
    if elsewhere is not None:
        _, left = elsewhere.regression(seen.shape[1], _present(scene))
        clear = float(known.sum()) * scene.factor**2
        veil = admit_strange_ground(
            seen, explained + surface, hidden=known <= 0, veil=veil, elsewhere=left, clear=clear
        )
    first = veil._replace(trust=veil.trust.new_tensor(first_trust))
    batched = Veil(*(part[None] for part in first))
    unveiled = unveil(seen, explained + surface, hidden=known <= 0, veil=batched)
    observed = (seen != 0).any(dim=1, keepdim=True)
    values = torch.where(known > 0, seen, unveiled.ground)
    fits = [
        _refitted(
            whole,
            values,
            torch.maximum(known, ((unveiled.sureness > sure) & observed).to(known.dtype)),
            _Fit(surface, coefficients),
            scene.factor,
            prior is None,
        )
        for sure in _SURE
    ]
    surface, coefficients = (torch.stack(parts).mean(dim=0) for parts in zip(*fits, strict=True))
    warnings = () if prior is None else ("hardly a pixel is clear: what other places look like stands in for this one",)
    return Prepared({"surface": surface}, {"coefficients": coefficients, "veil": veil.packed()}, warnings)


class _Fit(NamedTuple):
    surface: Tensor
    coefficients: Tensor


def _refitted(features: Tensor, values: Tensor, known: Tensor, first: _Fit, factor: int, clear: bool) -> _Fit:
    """The fit on all that is `known`; parts of `first` where too little is. clear: whether any pixel of it is clear."""
    coefficients = first.coefficients
    if factor == 1 and (clear or float(known.sum()) >= _LEAST_CLEAR):
        coefficients = fit_ground([(features, values, 1 - known)])
    if not clear and not bool(known.any()):
        return _Fit(first.surface, coefficients)
    return _Fit(_surface(values - ground_from_sar(features, coefficients), known), coefficients)


def _present(scene: SceneSample) -> Tensor:
    """Which SAR features (feature,) the scene has."""
    bands = torch.stack([window["sar"].isfinite().any(dim=-1).any(dim=-1)[0] for window in scene.windows])
    return bands.any(dim=0).repeat(1 + len(SIGMAS))


def _prior_where_needed(pieces: Sequence[tuple[Tensor, Tensor, Tensor]]) -> GroundPrior | None:
    """The prior of (features, bands, mask) where fewer than _LEAST_CLEAR pixels are clear; None for other bands."""
    if sum(int((mask < 0.5).sum()) for *_, mask in pieces) >= _LEAST_CLEAR:
        return None
    features, cloudy, _ = pieces[0]
    return load_ground_prior(bands=cloudy.shape[1], features=features.shape[1])


def _surface(remainder: Tensor, known: Tensor) -> Tensor:
    trust = trust_by_depth(remainder, known, interpolate=interpolate)
    return interpolate(remainder, known) * trust_map(depth_of(known), trust)


def estimate(sar: Tensor, surface: Tensor, coefficients: Tensor) -> Tensor:
    """The hidden pixels from SAR and surroundings alone: remainder + regression, (batch, band, y, x)."""
    return surface + ground_from_sar(sar_features(sar), coefficients)
