"""A scene as the restorer sees it: optical pixels, SAR on the same grid, and which pixels are to be restored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.processing.cloud_mask import widen
from eorestore.raster import Pixels, Raster, Window

_STEP = 1024

MaskOfWindow = Callable[[Window], NDArray[np.bool_]]
"""A mask, bool (y, x), as a function of a window of the scene; True is to be restored."""


def wider_mask(mask: MaskOfWindow, pixels: int, *, size: tuple[int, int]) -> MaskOfWindow:
    """The mask of a scene of `size` (height, width), and what lies at most so many pixels beside it."""

    def wider(window: Window) -> NDArray[np.bool_]:
        around = window.grow(pixels, within=size)
        inner = window.relative_to(around)
        return widen(mask(around), pixels)[inner.rows, inner.columns]

    return mask if pixels == 0 else wider


class PackedMask:
    """A bool (y, x) mask of a whole scene, eight pixels a byte: 15 MB for 10980 x 10980."""

    def __init__(self, size: tuple[int, int], bits: NDArray[np.uint8] | None = None) -> None:
        self.size = size
        self.bits = np.zeros((size[0], -(-size[1] // 8)), np.uint8) if bits is None else bits

    def write(self, window: Window, mask: NDArray[np.bool_]) -> None:
        """Store a window whose first column is a multiple of 8."""
        packed = np.packbits(mask, axis=1)
        first = window.column // 8
        self.bits[window.rows, first : first + packed.shape[1]] = packed

    def read(self, window: Window) -> NDArray[np.bool_]:
        """The mask of a window."""
        first, last = window.column // 8, -(-(window.column + window.width) // 8)
        pixels = np.unpackbits(self.bits[window.rows, first:last], axis=1)
        start = window.column - first * 8
        return pixels[:, start : start + window.width].astype(bool)

    def widened(self, pixels: int) -> PackedMask:
        """The mask, and what lies at most so many pixels beside it."""
        if pixels == 0:
            return self
        wider, grown = PackedMask(self.size), wider_mask(self.read, pixels, size=self.size)
        height, width = self.size
        for row, column in itertools.product(range(0, height, _STEP), range(0, width, _STEP)):
            window = Window(row, column, min(_STEP, height - row), min(_STEP, width - column))
            wider.write(window, grown(window))
        return wider

    @classmethod
    def from_array(cls, mask: NDArray[np.bool_]) -> PackedMask:
        """Pack a whole mask."""
        packed = cls((mask.shape[0], mask.shape[1]))
        packed.write(Window(0, 0, *packed.size), mask)
        return packed


@dataclass(frozen=True)
class Scene:
    """Inputs by the model's keywords, all on one grid; `primary` is the one that is restored."""

    inputs: Mapping[str, Pixels]
    primary: str
    sun_azimuth: float | None = None

    @property
    def optical(self) -> Pixels:
        """The input that is restored."""
        return self.inputs[self.primary]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.optical.grid.size


def physical(pixels: Pixels, raw: NDArray[Any], window: Window, *, valid: NDArray[np.bool_] | None = None) -> Raster:
    """Raw values of a window as a Raster in physical units; `valid` where it is known already."""
    encoding = pixels.encoding
    known = encoding.valid(raw) if valid is None else valid
    return Raster(encoding.decode(raw), known, pixels.bands, pixels.grid.crop(window))


def spread(size: tuple[int, int], count: int, side: int) -> list[Window]:
    """At most `count` windows spread evenly; the whole scene where it is small."""
    if max(size) <= 2 * side:
        return [Window(0, 0, *size)]
    per_axis = math.isqrt(count)
    starts = [
        sorted({round(index * max(length - side, 0) / (per_axis - 1)) for index in range(per_axis)}) for length in size
    ]
    return [Window(row, column, min(side, size[0]), min(side, size[1])) for row in starts[0] for column in starts[1]]
