"""Planes of whole numbers on which the predictive coder is fitted: real bands, and kinds of product made from them.

Public bands are map-grid products of three kinds. The others are made: decimated (white), averaged (more looks),
speckle simulated over smoothed bands (one look to five, with and without correlation), amplitude counts, and 8-bit
pictures. Each is rounded to several steps, since the coder serves hundredths of a decibel and whole ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Bands = list[NDArray[np.float64]]
# Scenes that no constant is fitted to; they tell how well the fit carries over.
HELD_OUT = ("terramind_38D", "ben_20180204", "ben_20171221", "luojia_p22", "ssl4eo_20200903")
STEPS = (0.01, 1.0, 0.01, 1.0, 0.03, 0.1, 0.16, 0.5, 2.0)
SMALL = 30_000


def scenes(folder: Path) -> dict[str, Bands]:
    """Bands of each scene in decibel, VV before VH."""
    found: dict[str, Bands] = {}
    for path in sorted(folder.glob("train/*_V[VH].npy"), key=lambda path: (path.stem[:-1], path.stem[-1] == "H")):
        found.setdefault(path.stem[:-3], []).append(np.load(path).astype(np.float64))
    return found


def held_out(name: str) -> bool:
    """Whether a scene is kept from the fit."""
    return name.startswith(HELD_OUT)


def training_planes(folder: Path, rng: np.random.Generator) -> Iterator[list[NDArray[np.int32]]]:
    """Bands (y, x) of one kind of one scene at a time, those of a scene on one grid."""
    for name, bands in scenes(folder).items():
        if held_out(name):
            continue
        small = bands[0].size < SMALL
        for turn in range(3 if small else 8):
            step = STEPS[turn] if turn < 4 else float(rng.choice(STEPS))
            yield _rounded([turned(band, turn) + rng.uniform(0, step) for band in bands], step)
        yield _rounded([band[rng.integers(2) :: 2, ::2] for band in bands], float(rng.choice(STEPS)))
        if not small:
            yield from _made(bands, rng)
    for path in sorted(folder.glob("train_8bit/*.png")):
        picture = np.asarray(Image.open(path)).astype(np.int32)
        yield from ([np.ascontiguousarray(picture[100:500, 100:500, channel])] for channel in range(2))


def turned(band: NDArray[np.float64], turn: int) -> NDArray[np.float64]:
    """One of the eight turns and mirror images."""
    quarter = np.rot90(band, turn % 4)
    return quarter[:, ::-1] if turn >= 4 else quarter


def _made(bands: Bands, rng: np.random.Generator) -> Iterator[list[NDArray[np.int32]]]:
    """Kinds of product that are not among the public bands."""
    linear = [10 ** (band / 10) for band in bands]
    for _ in range(2):
        smooth = rng.uniform(2, 5)
        looks, blur = int(rng.choice([1, 3, 5])), float(rng.choice([0, 0.2, 0.4]))
        ground = [ndimage.gaussian_filter(band, smooth) for band in bands]
        yield _rounded([band + _speckle(band.shape, looks, blur, rng) for band in ground], float(rng.choice(STEPS)))
    averaged = [ndimage.uniform_filter(band, 2)[::2, ::2] for band in linear]
    zoom = rng.uniform(1.2, 1.6)
    resampled = [ndimage.zoom(band, zoom, order=1) for band in averaged]
    yield _rounded([_decibel(band) for band in resampled], float(rng.choice(STEPS)))
    filtered = [_decibel(ndimage.uniform_filter(band, 3)) for band in linear]
    yield _rounded(filtered, float(rng.choice(STEPS)))
    gain = 10 ** rng.uniform(2, 3.3)
    yield _rounded([np.sqrt(band) * gain for band in linear], 1.0)


def _speckle(shape: tuple[int, ...], looks: int, blur: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Speckle in decibel: the mean of `looks` intensities of complex noise, each blurred by (blur, 1, blur)."""
    total = np.zeros(shape)
    kernel = np.array([blur, 1, blur])
    for _ in range(looks):
        field = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        field = ndimage.convolve1d(ndimage.convolve1d(field, kernel, axis=0), kernel, axis=1)
        total += np.abs(field) ** 2
    return _decibel(total / total.mean())


def _decibel(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(linear, 1e-7))


def _rounded(bands: Bands, step: float) -> list[NDArray[np.int32]]:
    return [np.round(band / step).astype(np.int32) for band in bands]
