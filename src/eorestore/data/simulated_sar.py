"""Simulated SAR scenes: smooth reflectivity under correlated Gamma speckle; knows no file and no network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import gammaincinv, ndtr

from eorestore.raster import Band, BandSet, Grid, Raster, Unit

LOOKS = (3.5, 7.0)  # of Sentinel-1 ground range products
# A Gaussian of sigma s correlates white noise by exp(-d^2 / (4 s^2)) at a lag of d: .75 at one pixel.
SPECKLE_SIGMA = 0.93
_MEANS = {"VV": (-13.0, -8.0), "HH": (-13.0, -8.0), "VH": (-20.0, -14.0), "HV": (-20.0, -14.0)}  # decibel, of a scene


def simulated_sar(size: tuple[int, int], *, polarisation: str, generator: np.random.Generator) -> Raster:
    """One band in decibel: reflectivity times speckle of 3.5 to 7 looks; every pixel is valid.

    Terrain-corrected 10 m products are oversampled, so that speckle of neighbouring pixels correlates by about .75.
    """
    low, high = _MEANS[polarisation]
    scene = generator.uniform(low, high) + reflectivity(size, generator=generator)
    looks = generator.uniform(*LOOKS)
    values = scene + 10 * np.log10(speckle(size, looks=looks, generator=generator))
    grid = Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), *size)
    bands = BandSet((Band(polarisation, Unit.DECIBEL),))
    return Raster(values[None].astype(np.float32), np.ones(size, dtype=bool), bands, grid)


def reflectivity(size: tuple[int, int], *, generator: np.random.Generator) -> NDArray[np.float64]:
    """Decibels around 0, (y, x): rolling ground, fields with straight edges, and in half of the scenes dark water."""
    ground = sum(
        weight * _noise(size, sigma, generator) for sigma, weight in ((48.0, 2.0), (16.0, 1.2), (5.0, 0.7), (2.0, 0.3))
    )
    rows, columns = np.indices(size)
    angle = generator.uniform(0, np.pi)
    along, across = (
        rows * np.cos(angle) + columns * np.sin(angle),
        columns * np.cos(angle) - rows * np.sin(angle),
    )
    sides = generator.uniform(12, 40, size=2)
    number = np.floor(along / sides[0]).astype(int) * 64 + np.floor(across / sides[1]).astype(int)
    levels = generator.normal(0, 1.5, size=4096)
    decibel = ground + np.where(_noise(size, 40.0, generator) > 0, levels[number % 4096], 0.0)
    if generator.random() < 0.5:
        decibel = np.where(_noise(size, 30.0, generator) > 1.0, generator.uniform(-10, -6), decibel)
    return np.asarray(decibel, dtype=np.float64)


def speckle(size: tuple[int, int], *, looks: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Intensity of mean 1 and variance 1 / looks, (y, x), Gamma distributed at every pixel.

    A correlated normal field carried through the quantiles of the Gamma distribution, so that the distribution is exact
    and the number of looks need not be whole.
    """
    uniform: NDArray[np.floating] = np.clip(ndtr(_noise(size, SPECKLE_SIGMA, generator)), 1e-7, 1 - 1e-7)
    return np.asarray(gammaincinv(looks, uniform) / looks, dtype=np.float64)


def _noise(size: tuple[int, int], sigma: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """A normal field of mean 0 and deviation 1, smooth over `sigma` pixels."""
    field = gaussian_filter(generator.standard_normal(size), sigma, mode="wrap")
    # the deviation that is expected, not the field's own, which in a small scene is a matter of chance
    kernel = np.zeros(4 * max(1, round(4 * sigma)))
    kernel[kernel.size // 2] = 1
    weights = gaussian_filter(kernel, sigma, mode="constant")
    return np.asarray(field / float((weights**2).sum()), dtype=np.float64)
