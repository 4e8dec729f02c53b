"""Differences in the shape of a pixel's spectrum, whatever its brightness; know nothing of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.losses.pixel import mean_over

NORM_FLOOR = 1e-3  # spectra far darker than this have no direction worth a gradient
CORNER = 1e-5  # radians below which the cone |u - v| is rounded off


def spectral_angle(prediction: Tensor, target: Tensor, *, valid: Tensor) -> Tensor:
    """Mean angle between the spectra of a pixel, across bands, in radians. In [0, pi], lower is better.

    2 atan2(|u - v|, |u + v|) for the unit vectors u, v: the same angle as arccos(u . v) (Kruse et al. 1993),
    whose gradient is infinite at equality. Here |u - v| is rounded off below 1e-5, and norms have a floor of
    1e-3, so that the gradient is finite at equality and at zero.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.

    Returns:
        Scalar; 0 at equality and where no pixel is valid.
    """
    u, v = _unit(prediction, valid), _unit(target, valid)
    apart = torch.sqrt(((u - v) ** 2).sum(dim=1, keepdim=True) + CORNER**2) - CORNER
    together = torch.sqrt(((u + v) ** 2).sum(dim=1, keepdim=True) + CORNER**2)
    return mean_over(2 * torch.atan2(apart, together), valid)


def one_minus_cosine(prediction: Tensor, target: Tensor, *, valid: Tensor) -> Tensor:
    """1 - cosine of the angle between the spectra of a pixel, averaged. In [0, 2], lower is better.

    The spectral term of AFSST, in our reading. Computed as |u - v|^2 / 2 for the unit vectors u, v, which is the same
    and exactly 0 at equality, whatever the floor of 1e-3 under their norms. Near equality it is half the square of the
    angle, so small angles weigh less than in `spectral_angle`. Arguments as there.
    """
    u, v = _unit(prediction, valid), _unit(target, valid)
    return mean_over(((u - v) ** 2).sum(dim=1, keepdim=True) / 2, valid)


def _unit(image: Tensor, valid: Tensor) -> Tensor:
    image = torch.where(valid, image, image.new_zeros(()))
    return image / torch.sqrt((image**2).sum(dim=1, keepdim=True) + NORM_FLOOR**2)
