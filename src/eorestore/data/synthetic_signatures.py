"""How land cover looks to Sentinel-2 (13 bands of reflectance) and Sentinel-1 (VV, VH); knows no grid and no file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from eorestore.data.cloud_shapes import fractal_noise
from eorestore.data.synthetic_land import Land, LandCover

Field = NDArray[np.float32]

# Top-of-atmosphere reflectance in the order of Sentinel-2 L1C: typical values, not measurements of one place.
SPECTRA: Mapping[LandCover, tuple[float, ...]] = {
    LandCover.WATER: (0.100, 0.074, 0.062, 0.040, .038, .032, .031, .028, .025, .010, .001, .012, .008),
    LandCover.CONIFER: (0.095, 0.064, 0.058, 0.036, .062, .145, .175, .185, .200, .070, .001, .090, .043),
    LandCover.BROADLEAF: (0.098, 0.068, 0.072, 0.043, .082, .225, .285, .292, .318, .100, .001, .145, .066),
    LandCover.GRASS: (0.106, 0.079, 0.096, 0.072, .118, .235, .280, .290, .315, .100, .001, .205, .115),
    LandCover.CEREAL: (0.102, 0.073, 0.084, 0.052, .098, .290, .370, .380, .405, .130, .001, .165, .078),
    LandCover.MAIZE: (0.104, 0.078, 0.089, 0.064, .100, .235, .290, .300, .325, .105, .001, .195, .108),
    LandCover.RAPESEED: (0.105, 0.080, 0.142, 0.128, .180, .320, .375, .385, .410, .130, .001, .200, .105),
    LandCover.STUBBLE: (0.126, 0.112, 0.138, 0.172, .195, .222, .245, .258, .280, .095, .0015, .335, .245),
    LandCover.SOIL: (0.114, 0.096, 0.108, 0.128, .145, .160, .172, .184, .198, .070, .001, .265, .215),
    LandCover.URBAN: (.132, .120, .120, .128, .142, .160, .172, .182, .192, .080, .0015, .215, .180),
    LandCover.ROAD: (.130, .120, .122, .128, .138, .150, .156, .164, .170, .070, .001, .195, .170),
    LandCover.SAND: (.160, .160, .182, .208, .226, .244, .254, .264, .276, .100, .0015, .360, .310),
}  # fmt: skip
_GARDEN = SPECTRA[LandCover.GRASS]
_ROOFS = (
    (.118, .100, .096, .098, .105, .112, .116, .120, .125, .060, .001, .145, .135),
    (.128, .115, .130, .190, .215, .230, .240, .250, .260, .090, .0015, .300, .270),
    (.235, .240, .250, .260, .268, .272, .276, .280, .284, .110, .002, .290, .260),
)  # fmt: skip
"""Dark slate, red tile, bright flat roof."""

NATIVE_M = (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 60, 20, 20)
"""Ground sampling distance of each L1C band in metres."""

_NOISE = (0.0008, 0.0002)  # standard deviation a native pixel; B10 gathers little light and little noise
_CIRRUS = 0.0012

BACKSCATTER: Mapping[LandCover, tuple[float, float]] = {
    LandCover.WATER: (-20.5, -27.5), LandCover.CONIFER: (-9.4, -14.6), LandCover.BROADLEAF: (-8.8, -13.8),
    LandCover.GRASS: (-12.6, -19.3), LandCover.CEREAL: (-11.8, -18.2), LandCover.MAIZE: (-9.6, -15.8),
    LandCover.RAPESEED: (-9.2, -14.9), LandCover.STUBBLE: (-11.6, -19.0), LandCover.SOIL: (-10.9, -19.6),
    LandCover.URBAN: (-5.0, -12.5), LandCover.ROAD: (-15.5, -22.5), LandCover.SAND: (-16.0, -24.0),
}  # fmt: skip
"""Mean VV and VH in decibel, C band, about 35 degrees of incidence: typical values."""


def reflectance(land: Land, *, sun: tuple[float, float], pixel_m: float, generator: np.random.Generator) -> Field:
    """Reflectance (13, y, x) in the order of Sentinel-2 L1C; `sun` is (zenith, azimuth) in radians.

    Parcels differ in growth and brightness; slopes are shaded; 20 and 60 m bands are as smooth as their pixels.
    """
    table = np.array([SPECTRA[cover] for cover in LandCover], np.float32)
    image = np.ascontiguousarray(np.moveaxis(table[land.cover], -1, 0))
    _mix_growth(image, land, table, generator=generator)
    _build(image, land)
    shape = land.cover.shape
    uneven = fractal_noise(shape, generator=generator, longest=40.0, slope=1.4)
    trees = np.isin(land.cover, (LandCover.CONIFER, LandCover.BROADLEAF))
    water = land.cover == LandCover.WATER
    texture = (
        1 + 0.035 * uneven + np.where(trees, 0.16 * land.canopy, 0.0) + np.where(_arable(land), 0.02, 0) * land.rows
    )
    light = hill_shade(land.height, sun=sun, pixel_m=pixel_m)
    image *= np.where(water, 1 + 0.04 * uneven, texture * light).astype(np.float32)
    veil = fractal_noise(shape, generator=generator, longest=300.0, slope=2.6)
    for band, strength in enumerate((0.006, 0.004, 0.002, 0.001)):
        image[band] += np.float32(strength) * veil
    # B10 sees the top of the atmosphere, not the ground: neither shade nor texture reaches it.
    image[10] = np.float32(_CIRRUS)
    for band, metres in enumerate(NATIVE_M):
        factor = max(round(metres / pixel_m), 1)
        noise = generator.standard_normal(shape, dtype=np.float32) * factor  # a block's mean has it divided out
        image[band] = at_resolution(image[band] + np.float32(_NOISE[band == 10]) * noise, factor)
    return np.clip(image, 1e-4, 1.0)


def backscatter(land: Land, *, looks: float, pixel_m: float, generator: np.random.Generator) -> Field:
    """VV and VH (2, y, x) in decibel with gamma speckle of `looks` looks, independent from pixel to pixel."""
    power = mean_backscatter(land, pixel_m=pixel_m, generator=generator)
    speckle = generator.standard_gamma(looks, size=power.shape, dtype=np.float32) / np.float32(looks)
    decibel: Field = 10 * np.log10(np.maximum(power * speckle, np.float32(1e-5)))
    return decibel


def mean_backscatter(land: Land, *, pixel_m: float, generator: np.random.Generator) -> Field:
    """Linear backscatter (2, y, x) without speckle: parcels of their own roughness, slopes, bright corners."""
    table = np.array([BACKSCATTER[cover] for cover in LandCover], np.float32)
    decibel = np.ascontiguousarray(np.moveaxis(table[land.cover], -1, 0))
    count = int(land.field.max()) + 1
    rough, leaf = generator.normal(0, 1.6, count), generator.normal(0, 0.9, count)
    arable = _arable(land)
    decibel[0] += np.where(arable, rough[land.field], 0)
    decibel[1] += np.where(arable, (0.7 * rough + leaf)[land.field], 0)
    decibel += np.float32(0.3) * fractal_noise(land.cover.shape, generator=generator, longest=40.0, slope=1.5)
    # The radar looks east from an ascending pass: slopes that face it are bright.
    slope = np.gradient(land.height, pixel_m)[1]
    facing = np.clip(9.0 * slope, -3, 3) * (land.cover != LandCover.WATER)
    decibel += facing
    decibel += np.where(land.cover == LandCover.URBAN, 5.0 * land.roof - 3.0, 0)
    corner = (land.roof > 0.5) & (generator.random(land.cover.shape) < 0.06)
    decibel += np.where(corner, generator.uniform(4, 12, land.cover.shape), 0)
    power = np.power(10.0, decibel / 10).astype(np.float32)
    return np.stack([gaussian_filter(band, 0.6) for band in power])


def hill_shade(height: Field, *, sun: tuple[float, float], pixel_m: float) -> Field:
    """Sunlight on slopes relative to flat ground (y, x), a third of it diffuse."""
    down, east = np.gradient(height, pixel_m)
    zenith, azimuth = sun
    normal = np.sqrt(1 + down**2 + east**2)
    towards = -east * math.sin(azimuth) + down * math.cos(azimuth)
    cosine = (math.cos(zenith) + math.sin(zenith) * towards) / normal
    shade: Field = (0.33 + 0.67 * np.clip(cosine / math.cos(zenith), 0, 2)).astype(np.float32)
    return shade


def at_resolution(values: Field, factor: int) -> Field:
    """(y, x) averaged over blocks of `factor` pixels and interpolated back, bilinear."""
    if factor == 1:
        return values
    height, width = values.shape
    padded = np.pad(values, ((0, -height % factor), (0, -width % factor)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor)
    fine = zoom(blocks.mean(axis=(1, 3)), factor, order=1, mode="nearest", grid_mode=True)
    smooth: Field = fine[:height, :width].astype(np.float32)
    return smooth


def _arable(land: Land) -> NDArray[np.bool_]:
    return (land.cover >= LandCover.GRASS) & (land.cover <= LandCover.SOIL)


def _mix_growth(image: Field, land: Land, table: Field, *, generator: np.random.Generator) -> None:
    """Every parcel between its crop and bare soil, brighter or darker than its class."""
    count = int(land.field.max()) + 1
    bare = generator.beta(1.3, 4.0, count).astype(np.float32)[land.field]
    bright = np.exp(generator.normal(0, 0.10, count)).astype(np.float32)[land.field]
    arable = _arable(land)
    bare, bright = np.where(arable, bare, 0), np.where(arable, bright, 1)
    soil = table[LandCover.SOIL]
    for band in range(len(image)):
        image[band] = (image[band] * (1 - bare) + soil[band] * bare) * (1 + (bright - 1) * (0.5 if band < 3 else 1))


def _build(image: Field, land: Land) -> None:
    """Town pixels as a mixture of garden and one of three roofs."""
    town = land.cover == LandCover.URBAN
    kind = np.digitize(land.tone[town], (0.38, 0.8))
    roofs = np.array(_ROOFS, np.float32)[kind].T
    share = land.roof[town]
    garden = np.array(_GARDEN, np.float32)[:, None]
    image[:, town] = (1 - share) * garden + share * roofs
