"""An invented place seen by a thermal and an optical sensor at once; knows no method and no file.

Temperature follows land cover and vegetation, which the optical sensor sees, and a field of its own, which it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from eorestore.data.cloud_shapes import fractal_noise
from eorestore.data.synthetic_scene import UTM_32N
from eorestore.errors import ConfigError
from eorestore.processing.block_means import block_mean
from eorestore.raster import THERMAL, Band, BandSet, Grid, Raster, Unit

OPTICAL = BandSet(tuple(Band(name, Unit.REFLECTANCE) for name in ("B04", "B08", "B11")))

_PIXEL = 20.0  # metres
_RED = 0.08
# water, meadow, wood, bare soil, buildings: share of the place, NDVI, NDBI, kelvin above the coolest
_COVERS = ((0.1, -0.2, -0.4, 0.0), (0.3, 0.55, -0.15, 9.0), (0.25, 0.8, -0.35, 6.0), (0.2, 0.15, 0.2, 16.0),
           (0.15, 0.1, 0.05, 20.0))  # fmt: skip


@dataclass(frozen=True)
class GuidedPlace:
    """truth: kelvin (factor * y, factor * x). low: its block means with the sensor's noise. guide: B04, B08, B11."""

    truth: NDArray[np.float64]
    low: Raster
    guide: Raster
    factor: int


def simulate_guided(
    height: int,
    width: int,
    *,
    factor: int,
    generator: np.random.Generator,
    slope: float = -8.0,
    contrast: float = 1.0,
    field: float = 2.0,
    noise: float = 0.1,
    stranger: bool = False,
) -> GuidedPlace:
    """A place of `height` x `width` thermal pixels.

    Args:
        height: thermal pixels.
        width: thermal pixels.
        factor: pixels of the guide along the side of a thermal one.
        generator: what all is drawn from.
        slope: kelvin per NDVI within a land cover.
        contrast: factor on the differences between land covers.
        field: standard deviation in kelvin of a fractal field that the guide does not see.
        noise: standard deviation in kelvin of the thermal sensor's noise.
        stranger: whether the guide is of another place, so that it explains nothing.

    Raises:
        ConfigError: no pixel, or a factor below 1.
    """
    if min(height, width, factor) < 1:
        raise ConfigError(f"{height} x {width} pixels at a factor of {factor}", fix="give whole numbers from 1 on")
    size = height * factor, width * factor
    ndvi, ndbi, warmth = _cover(size, generator)
    texture = 0.06 * fractal_noise(size, generator=generator, slope=1.2).astype(np.float64)
    ndvi = np.clip(ndvi + texture, -0.5, 0.92)
    own = fractal_noise(size, generator=generator, slope=2.2).astype(np.float64)
    truth = 288.0 + contrast * warmth + slope * texture + field * own
    low, _ = block_mean(truth, np.ones(size, bool), factor=factor)
    low = low + noise * generator.standard_normal(low.shape)
    if stranger:
        ndvi, ndbi, _ = _cover(size, generator)
        ndvi = np.clip(ndvi + 0.06 * fractal_noise(size, generator=generator, slope=1.2).astype(np.float64), -0.5, 0.92)
    near = _RED * (1 + ndvi) / (1 - ndvi)
    optical = np.stack([np.full(size, _RED), near, near * (1 + ndbi) / (1 - ndbi)])
    fine = Grid(UTM_32N, (_PIXEL, 0.0, 6e5, 0.0, -_PIXEL, 5.3e6), *size)
    coarse = fine.resize(height, width)
    return GuidedPlace(
        truth,
        Raster(low[None].astype(np.float32), np.ones(low.shape, bool), THERMAL, coarse),
        Raster(optical.astype(np.float32), np.ones(size, bool), OPTICAL, fine),
        factor,
    )


def _cover(size: tuple[int, int], generator: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
    """NDVI, NDBI and kelvin above the coolest, by land cover with edges of about a pixel."""
    relief = fractal_noise(size, generator=generator, slope=1.6)
    ends = np.quantile(relief, np.cumsum([share for share, *_ in _COVERS])[:-1])
    number = np.digitize(relief, ends)
    order = generator.permutation(len(_COVERS))
    layers = np.array([values for _, *values in _COVERS])[order]
    return tuple(gaussian_filter(layers[number, row], 0.5) for row in range(3))
