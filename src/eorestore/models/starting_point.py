"""The image that a network corrects, where it starts from the scene's own estimate; knows no network and no file."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from eorestore.errors import UsageError
from eorestore.models import scene_estimate
from eorestore.models.thin_cloud import unveil
from eorestore.models.veil import Veil

_LEAST_SPREAD = 0.004  # reflectance
_MOST_BEYOND = 32.0  # spreads


class Start(NamedTuple):
    """Where a network begins.

    image: (batch, band, y, x), the observation with the estimate under the mask.
    seen: (batch, `seen_bands`, y, x), what the network looks at.
    unit: (batch, band, 1, 1), the scene's own spread by band, or 1; corrections are in it.
    """

    image: Tensor
    seen: Tensor
    unit: Tensor


def seen_bands(bands: int, *, sees_cloud: bool) -> int:
    """Number of bands of `Start.seen`: image, mask; with `sees_cloud` the observation in two forms, two maps."""
    return bands + 1 + (2 * bands + 2) * sees_cloud


def start_from_estimate(
    cloudy: Tensor,
    sar: Tensor,
    mask: Tensor | None,
    *,
    model: str,
    sees_cloud: bool,
    estimate: Tensor | None = None,
    surface: Tensor | None = None,
    coefficients: Tensor | None = None,
    veil: Tensor | None = None,
) -> Start:
    """The observation with its masked pixels replaced by the scene's estimate, and all that is known of them.

    Args:
        cloudy: (batch, band, y, x), normalised reflectance.
        sar: (batch, sar band, y, x); a missing band is NaN.
        mask: (batch, 1, y, x), 1 where a pixel is to be restored.
        model: name for messages.
        sees_cloud: look also at the observation under the mask: the estimate takes up what thin cloud and shadow let
            through (models.thin_cloud), and the network sees by how much the observation still differs from it.
        estimate: (batch, band, y, x); without it `surface` and `coefficients` of `prepare_estimate` make it.
        surface: (batch, band, y, x).
        coefficients: (batch, feature + 1, band).
        veil: (batch, 2 band + 5, band), a packed `veil.Veil`, with `sees_cloud`.

    Raises:
        UsageError: something is missing.
    """
    if estimate is None and surface is not None and coefficients is not None:
        estimate = scene_estimate.estimate(sar, surface, coefficients)
    wanted = {"mask": mask, "estimate": estimate} | ({"veil": veil} if sees_cloud else {})
    missing = " and ".join(name for name, value in wanted.items() if value is None)
    if mask is None or estimate is None or missing:
        raise UsageError(
            f'{model} with start="estimate" got no {missing}',
            fix='give mask (1 = restore) and what `prepare` returns, or load a model with start="cloudy"',
        )
    hidden = mask > 0.5
    if veil is None or not sees_cloud:
        # A choice, not a product: NaN and infinity under the mask stay out as well.
        filled = torch.where(hidden, estimate, cloudy)
        return Start(filled, torch.cat([filled, mask.to(filled.dtype)], dim=1), filled.new_ones(1, 1, 1, 1))
    sky = Veil.unpacked(veil)
    filled, share, sureness = unveil(cloudy, estimate, hidden=hidden, veil=sky)
    # In units of the scene's own spread, places of high and of low contrast look alike to the network; clouds do not
    # know of it, so the observation is there in reflectance as well.
    unit = sky.covariance.diagonal(dim1=1, dim2=2).sqrt().clamp_min(_LEAST_SPREAD)[..., None, None]
    mean = sky.ground[..., None, None]
    beyond = ((cloudy - filled) / unit).clamp(-_MOST_BEYOND, _MOST_BEYOND) / 8
    plain = torch.cat([mask, share, sureness], dim=1)
    return Start(filled, torch.cat([(filled - mean) / unit, beyond, 4 * (cloudy - mean), plain], dim=1), unit)
