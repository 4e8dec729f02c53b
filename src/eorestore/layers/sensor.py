"""What a sensor would deliver of an image, and the nearest image that it would have delivered; knows no network."""

from __future__ import annotations

from torch import Tensor

from eorestore.layers.resampling import COLUMNS, ROWS, enlarge, weigh
from eorestore.processing.sensor import Sensor


def observe(image: Tensor, sensor: Sensor, *, factor: int) -> Tensor:
    """(..., factor * y, factor * x) to (..., y, x), the image going on as in a mirror behind its edges."""
    total: Tensor | None = None
    for rows, columns in sensor.terms(factor):
        term = weigh(weigh(image, rows, axis=ROWS, step=factor), columns, axis=COLUMNS, step=factor)
        total = term if total is None else total + term
    if total is None:
        raise ValueError("the sensor has no weights")
    return total


def project(image: Tensor, low: Tensor, sensor: Sensor, *, factor: int) -> Tensor:
    """The image changed smoothly until the sensor would deliver `low`; exactly so for block means.

        rest  = low - observe(image)
        image = image + enlarge(inverse(rest))

    Back-projection (Irani and Peleg 1991) repeats image += enlarge(rest); where the sensor is separable, what that
    comes to is one filter, see `layers.resampling.sharpen`. For block means the rest of it, at most 1e-3, is then added
    to every pixel of its block, which is the orthogonal projection: means are kept to the rounding of the type.

    Args:
        image: (..., factor * y, factor * x).
        low: (..., y, x).
        sensor: the operator.
        factor: fine pixels per coarse pixel along an axis.
    """
    inverse = sensor.inverse(factor)
    for _ in range(sensor.rounds):
        rest = low - observe(image, sensor, factor=factor)
        if inverse is not None:
            rest = weigh(weigh(rest, inverse, axis=ROWS), inverse, axis=COLUMNS)
        image = image + enlarge(rest, factor=factor)
    if sensor.kind == "mean":
        image = image + repeat(low - observe(image, sensor, factor=factor), factor=factor)
    return image


def repeat(low: Tensor, *, factor: int) -> Tensor:
    """Every pixel of (..., y, x) as a block of factor x factor equal ones."""
    return low.repeat_interleave(factor, dim=ROWS).repeat_interleave(factor, dim=COLUMNS)
