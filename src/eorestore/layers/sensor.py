"""What a sensor would deliver of an image, and the nearest image that it would have delivered; knows no network."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.layers.resampling import COLUMNS, ROWS, enlarge, weigh
from eorestore.processing.sensor import Sensor
from eorestore.processing.taps import Taps


def observe(image: Tensor, sensor: Sensor, *, factor: int) -> Tensor:
    """(..., factor * y, factor * x) to (..., y, x), the image going on as in a mirror behind its edges."""
    return _summed(image, sensor.terms(factor), step=factor)


def project(image: Tensor, low: Tensor, sensor: Sensor, *, factor: int) -> Tensor:
    """The image changed smoothly until the sensor would deliver `low`; exactly so for block means.

        rest  = low - observe(image)
        image = image + enlarge(inverse(rest))

    Back-projection (Irani and Peleg 1991) repeats image += enlarge(rest); what that comes to is a filter, see
    `layers.resampling.sharpen`, or a sum of such. For block means the rest of it, at most 1e-3, is then added to every
    pixel of its block, which is the orthogonal projection: means are kept to the rounding of the type.

    Args:
        image: (..., factor * y, factor * x).
        low: (..., y, x).
        sensor: the operator.
        factor: fine pixels per coarse pixel along an axis.
    """
    inverse = sensor.inverse(factor)
    for _ in range(sensor.rounds):
        rest = low - observe(image, sensor, factor=factor)
        image = image + enlarge(_summed(rest, inverse), factor=factor)
    if sensor.kind == "mean":
        image = image + repeat(low - observe(image, sensor, factor=factor), factor=factor)
    return image


def _summed(image: Tensor, terms: tuple[tuple[Taps, Taps], ...], *, step: int = 1) -> Tensor:
    found = [
        weigh(weigh(image, rows, axis=ROWS, step=step), columns, axis=COLUMNS, step=step) for rows, columns in terms
    ]
    return found[0] if len(found) == 1 else torch.stack(found).sum(0)


def repeat(low: Tensor, *, factor: int) -> Tensor:
    """Every pixel of (..., y, x) as a block of factor x factor equal ones."""
    return low.repeat_interleave(factor, dim=ROWS).repeat_interleave(factor, dim=COLUMNS)
