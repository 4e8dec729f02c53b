"""Hot spots of a thermal image: where the warmest pixel lies, and which hot regions are there; knows no network.

Shapes, `valid`, `region` and NaN as in `fidelity.mae`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from eorestore.metrics.fidelity import aligned

RISE_K = 10.0  # a hot pixel is so much warmer than the median of the reference


def peak_error(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Warmest p minus warmest t, mean over bands; 0 is best, negative is a hot spot flattened."""
    warmest = [values.amax(dim=(-2, -1)) for values in _sunk(prediction, target, valid, region)]
    return _where_any(warmest[0] - warmest[1], valid, region).mean(dim=-1)


def peak_distance(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Pixels from the warmest pixel of t to that of p, mean over bands; 0 is best. Of equal ones the first counts."""
    width = target.shape[-1]
    first, second = (values.flatten(-2).argmax(dim=-1) for values in _sunk(prediction, target, valid, region))
    down, right = first // width - second // width, first % width - second % width
    return _where_any(torch.hypot(down.double(), right.double()), valid, region).mean(dim=-1)


def hot_iou(
    prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None, rise: float = RISE_K
) -> Tensor:
    """Intersection over union of hot pixels of p and t; in [0, 1], higher is better; NaN where neither has any.

    Hot is at least `rise` above the median of the reference's counted pixels of that band; bands are counted together.
    """
    p, t = _hot(prediction, target, valid, region, rise)
    return (p & t).sum(dim=(-3, -2, -1)) / (p | t).sum(dim=(-3, -2, -1)).double()


def invented_regions(
    prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None, rise: float = RISE_K
) -> Tensor:
    """Number of hot regions of p, of pixels that touch, without a hot pixel of t; 0 is best. Hot as in `hot_iou`."""
    p, t = _hot(prediction, target, valid, region, rise)
    return _where_any(_alone(p, t), valid, region).sum(dim=-1)


def missed_regions(
    prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None, rise: float = RISE_K
) -> Tensor:
    """Number of hot regions of t, of pixels that touch, without a hot pixel of p; 0 is best. Hot as in `hot_iou`."""
    p, t = _hot(prediction, target, valid, region, rise)
    return _where_any(_alone(t, p), valid, region).sum(dim=-1)


def _sunk(prediction: Tensor, target: Tensor, valid: Tensor, region: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both images with what does not count colder than anything."""
    prediction, target, _, counted = aligned(prediction, target, valid, region)
    cold = prediction.new_full((), -math.inf)
    return torch.where(counted, prediction, cold), torch.where(counted, target, cold)


def _where_any(values: Tensor, valid: Tensor, region: Tensor | None) -> Tensor:
    """Values (..., band), NaN where no pixel counts."""
    counted = valid.bool() if region is None else valid.bool() & region.bool()
    some = counted.flatten(-2).any(dim=-1).to(values.device)
    return torch.where(some, values, values.new_full((), math.nan))


def _hot(
    prediction: Tensor, target: Tensor, valid: Tensor, region: Tensor | None, rise: float
) -> tuple[Tensor, Tensor]:
    prediction, target, _, counted = aligned(prediction, target, valid, region)
    planes, shape = target.flatten(0, -3), target.shape
    masks = counted.expand(shape).flatten(0, -3)
    medians = [
        float(np.median(plane[mask].cpu().numpy())) if mask.any() else math.nan
        for plane, mask in zip(planes, masks, strict=True)
    ]
    level = torch.tensor(medians, dtype=target.dtype, device=target.device).view(*shape[:-2], 1, 1) + rise
    return (prediction >= level) & counted, (target >= level) & counted


def _alone(regions: Tensor, others: Tensor) -> Tensor:
    """How many connected regions (8 neighbours) hold no pixel of the others: (..., band, y, x) -> (..., band)."""
    from scipy.ndimage import label

    found = []
    for region, other in zip(regions.flatten(0, -3).cpu().numpy(), others.flatten(0, -3).cpu().numpy(), strict=True):
        numbers, count = label(region, structure=np.ones((3, 3)))
        found.append(float(count - np.unique(numbers[region & other]).size))
    return torch.tensor(found, dtype=torch.float64).view(regions.shape[:-2])
