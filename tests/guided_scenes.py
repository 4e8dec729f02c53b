"""A simulated place seen by a thermal and an optical sensor: temperature follows vegetation and a field of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from eorestore.processing.block_variogram import CORRELATIONS
from eorestore.raster import THERMAL, Band, BandSet, Grid, Raster, Unit

OPTICAL = BandSet(tuple(Band(name, Unit.REFLECTANCE) for name in ("B04", "B08", "B11")))


@dataclass(frozen=True)
class Place:
    """truth, ndvi: (factor * y, factor * x), kelvin and index; low, guide: rasters of the two sensors."""

    truth: NDArray[np.float64]
    ndvi: NDArray[np.float64]
    low: Raster
    guide: Raster
    factor: int


def place(
    *,
    height: int = 30,
    width: int = 36,
    factor: int = 4,
    slope: float = -15.0,
    field: float = 2.0,
    blur: float = 6.0,
    noise: float = 0.1,
    seed: int = 0,
) -> Place:
    """Fields and roads under truth = 312 + slope * NDVI + a smooth field + noise; low is its block mean.

    field, noise: standard deviations in kelvin. blur: of the smooth field, in fine pixels.
    """
    rng = np.random.default_rng(seed)
    size = height * factor, width * factor
    ndvi = fields(size, rng)
    smooth = gaussian_filter(rng.standard_normal(size), blur, mode="wrap")
    truth = 312 + slope * ndvi + field * smooth / smooth.std() + noise * rng.standard_normal(size)
    low = truth.reshape(height, factor, width, factor).mean(axis=(1, 3))
    fine = Grid("EPSG:32617", (10.0, 0.0, 5e5, 0.0, -10.0, 4e6), *size)
    red = np.full(size, 0.08)
    near = red * (1 + ndvi) / (1 - ndvi)
    optical = np.stack([red, near, 0.25 - 0.1 * ndvi]).astype(np.float32)
    return Place(
        truth,
        ndvi,
        Raster(low[None].astype(np.float32), np.ones((height, width), bool), THERMAL, fine.resize(height, width)),
        Raster(optical, np.ones(size, bool), OPTICAL, fine),
        factor,
    )


def fields(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """NDVI of rectangular fields of some 20 pixels with roads of one and two pixels between and across them."""
    coarse = rng.uniform(0.15, 0.85, (size[0] // 17 + 2, size[1] // 23 + 2))
    ndvi = zoom(coarse, (17, 23), order=0)[: size[0], : size[1]]
    ndvi = ndvi + 0.02 * rng.standard_normal(size)
    ndvi[::51] = 0.05
    ndvi[:, 11::46] = 0.05
    ndvi[:, 12::46] = 0.05
    rows = np.arange(size[0])
    ndvi[rows, (rows * 2 // 3 + 7) % size[1]] = 0.05
    return ndvi


def gaussian_field(
    size: tuple[int, int], length: float, *, model: str = "exponential", sill: float = 4.0, seed: int = 0
) -> NDArray[np.float64]:
    """A Gaussian field with a covariance of that model and range, by the Fourier transform of a torus."""
    rows, columns = (np.minimum(np.arange(side), side - np.arange(side)) for side in size)
    covariance = CORRELATIONS[model](np.hypot(rows[:, None], columns[None, :]) / length)
    spectrum = np.maximum(np.fft.fft2(covariance).real, 0)
    white = np.fft.fft2(np.random.default_rng(seed).standard_normal(size))
    return np.sqrt(sill) * np.fft.ifft2(white * np.sqrt(spectrum)).real
