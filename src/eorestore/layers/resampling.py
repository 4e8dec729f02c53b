"""Bicubic resizing of tensors whose every pixel comes out the same in a tile as in the whole; knows no network.

The weights are those of `processing.resize`. A product with a matrix adds up in an order that hangs on the size of the
image; here every pixel is the same short sum in the same order, so that tiles equal the whole bit by bit. All three
functions can be differentiated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.processing.taps import Taps, enlarge_taps, inverse_taps, shrink_taps

ROWS, COLUMNS = -2, -1


def shrink(image: Tensor, *, factor: int) -> Tensor:
    """(..., factor * y, factor * x) to (..., y, x), as `processing.resize.shrink`."""
    taps = shrink_taps(factor)
    return weigh(weigh(image, taps, axis=ROWS, step=factor), taps, axis=COLUMNS, step=factor)


def enlarge(image: Tensor, *, factor: int) -> Tensor:
    """(..., y, x) to (..., factor * y, factor * x), as `processing.resize.enlarge`."""
    for axis in (COLUMNS, ROWS):
        phases = [weigh(image, taps, axis=axis) for taps in enlarge_taps(factor)]
        image = torch.stack(phases, dim=axis if axis == ROWS else image.ndim)
        image = image.flatten(axis - 1, axis)
    return image


def sharpen(image: Tensor, *, factor: int) -> Tensor:
    """(..., y, x) such that `shrink(enlarge(sharpen(image)))` is the image, within 3e-4 of its largest value."""
    taps = inverse_taps(factor)
    return weigh(weigh(image, taps, axis=ROWS), taps, axis=COLUMNS)


def weigh(image: Tensor, taps: Taps, *, axis: int, step: int = 1) -> Tensor:
    """Weighted sums of neighbours around every `step`-th pixel of an axis; the image goes on as in a mirror."""
    length = image.shape[axis]
    last = (length // step - 1) * step
    around = image.index_select(axis, _mirrored(taps.first, last + taps.first + len(taps.weights), length, image))
    total: Tensor | None = None
    for place, weight in enumerate(taps.weights):
        chosen = slice(place, place + last + 1, step)
        piece = around[..., chosen, :] if axis == ROWS else around[..., chosen]
        # multiplied and added apart: a fused step would round differently at the end of a row
        total = piece * weight if total is None else total + piece * weight
    if total is None:
        raise ValueError("there are no weights")
    return total


def _mirrored(first: int, end: int, length: int, image: Tensor) -> Tensor:
    """Places first ... end - 1 of an axis, mirrored at its ends, the outermost pixel repeated."""
    places = torch.arange(first, end, device=image.device).remainder(2 * length)
    return torch.minimum(places, 2 * length - 1 - places)
