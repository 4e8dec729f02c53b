"""How a low-resolution image comes of a high-resolution one: cropped, shrunk, rounded; knows no file and no sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError
from eorestore.processing.resize import shrink

if TYPE_CHECKING:
    from torch import Tensor

Image = TypeVar("Image", "NDArray[np.floating]", "Tensor")

EIGHT_BITS = 255


@dataclass(frozen=True)
class Degradation:
    """Bicubic shrinking as the benchmarks of super-resolution define it; see processing.resize.

    scale: high-resolution pixels per low-resolution pixel along an axis.
    levels: the low-resolution image is clipped to 0 ... 1 and rounded to so many steps, 255 for 8 bits; 0 leaves it as
        it is, which reflectance wants, and a gradient.
    """

    scale: int = 4
    levels: int = EIGHT_BITS

    def crop(self, high: Image) -> Image:
        """(..., y, x) without the last rows and columns that fill no low-resolution pixel. Raises DataError."""
        height, width = (int(side) // self.scale * self.scale for side in high.shape[-2:])
        if 0 in (height, width):
            raise DataError(
                f"{' x '.join(str(side) for side in high.shape[-2:])} pixels are none at 1 / {self.scale} of the size",
                fix="leave the image out",
            )
        return high[..., :height, :width]

    def apply(self, high: Image) -> Image:
        """The low-resolution image of (..., y, x) in 0 ... 1, which is cropped first. Raises DataError."""
        low = shrink(self.crop(high), factor=self.scale)
        return rounded(low, levels=self.levels) if self.levels else low


def rounded(image: Image, *, levels: int = EIGHT_BITS) -> Image:
    """`image` clipped to 0 ... 1 and rounded to the nearest of `levels` steps; halves go up."""
    if isinstance(image, np.ndarray):
        return np.floor(image.clip(0, 1) * levels + 0.5) / levels
    return (image.clamp(0, 1) * levels + 0.5).floor() / levels
