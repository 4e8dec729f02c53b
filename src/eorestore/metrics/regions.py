"""Scores in total and inside cloud, shadow and clear ground; knows how to divide pixels, not how to score."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Metric = Callable[..., Tensor]
REGIONS = ("cloud", "shadow", "clear")


def divide(*, valid: Tensor, cloud: Tensor, shadow: Tensor) -> dict[str, Tensor]:
    """Every valid pixel in exactly one of `cloud`, `shadow` and `clear`; cloud over shadow counts as cloud.

    Args:
        valid: bool, any shape.
        cloud: bool, the same shape.
        shadow: bool, the same shape.
    """
    cloud, shadow = cloud.bool() & valid, shadow.bool() & valid
    return {"cloud": cloud, "shadow": shadow & ~cloud, "clear": valid & ~cloud & ~shadow}


def by_region(
    metric: Metric, prediction: Tensor, target: Tensor, *, valid: Tensor, cloud: Tensor, shadow: Tensor
) -> dict[str, Tensor]:
    """`metric` over all valid pixels (key "") and inside each region (keys "cloud", "shadow", "clear").

    Shapes as the metric's own; a region without a pixel gives NaN.
    """
    scores = {"": metric(prediction, target, valid=valid)}
    for name, region in divide(valid=valid, cloud=cloud, shadow=shadow).items():
        scores[name] = metric(prediction, target, valid=valid, region=region)
    return scores
