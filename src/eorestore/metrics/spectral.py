"""How near the spectra of an image are to those of its reference; knows no sensor and no neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.metrics.fidelity import aligned, mean_of_item


def sam_degrees(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Spectral angle in degrees: mean over pixels of arccos(p . t / (|p| |t|)) (Kruse et al. 1993).

    In [0, 180], lower is better. Two spectra of zeros are 0 degrees apart, one of zeros and another 90.
    Computed as 2 atan2(|u - v|, |u + v|) of the unit vectors, which keeps small angles exact.

    Args:
        prediction: (batch, band, y, x) or (band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) or (1, y, x) bool; what lies outside cannot change the score, NaN included.
        region: bool like `valid`; only valid pixels inside it count. None: all valid pixels.

    Returns:
        (batch,), or a scalar for a single image; float64; NaN where no pixel counts.
    """
    prediction, target, _, counted = aligned(prediction, target, valid, region)
    return mean_of_item(spectral_angle_degrees(prediction, target), counted)


def spectral_angle_degrees(prediction: Tensor, target: Tensor) -> Tensor:
    """The angle of `sam_degrees` at every pixel: (..., band, y, x) -> (..., 1, y, x)."""
    u, v = _unit(prediction), _unit(target)
    apart, together = (u - v).norm(dim=-3, keepdim=True), (u + v).norm(dim=-3, keepdim=True)
    return torch.rad2deg(2 * torch.atan2(apart, together))


def _unit(image: Tensor) -> Tensor:
    length = image.norm(dim=-3, keepdim=True)
    return image / torch.where(length > 0, length, torch.ones_like(length))
