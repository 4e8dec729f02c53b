"""Cloud, shadow and clear ground, which scores are given for; knows how to divide pixels, not how to score."""

from __future__ import annotations

from torch import Tensor

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
