"""How training samples differ from what was observed: colours, speckle, registration, turns; knows no file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eorestore.raster import Raster


def recoloured(optical: Raster, *, generator: np.random.Generator) -> Raster:
    """The optical raster (reflectance) in other colours and with another contrast; B10 stays as it is.

    Each band becomes a random mixture of itself and the others, times a gain that neighbouring bands share in part;
    then all contrast is scaled around the means. Our own augmentation: what a network learns of clouds holds over any
    ground, what it learns of the ground of few places does not.
    """
    values, count = optical.values, len(optical.bands)
    distance = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    likeness = 0.375 + 0.125 * np.eye(count) + 0.5 * np.exp(-distance / 3)
    gain = np.exp(0.35 * np.linalg.cholesky(likeness) @ generator.standard_normal(count))
    share = generator.uniform(0, 0.5)
    mixing = (1 - share) * np.eye(count) + share * generator.dirichlet(np.full(count, 0.5), size=count)
    mixing *= gain[:, None]
    mixed = np.tensordot(mixing.astype(np.float32), values, axes=1)
    mean = mixed.mean(axis=(1, 2), keepdims=True)
    contrast = np.float32(np.exp(generator.normal(0, 0.3)))
    changed = np.clip(mean + contrast * (mixed - mean), 0, 1).astype(np.float32)
    if "B10" in optical.bands:
        row = optical.bands.index("B10")
        changed[row] = values[row]
    return replace(optical, values=changed)


def add_speckle(sar: Raster, *, generator: np.random.Generator) -> Raster:
    """The SAR raster (decibel) with weak gamma speckle of 8 to 40 looks on top, in half of the draws."""
    looks = generator.uniform(8.0, 40.0)
    if generator.random() < 0.5:
        return sar
    gamma = generator.standard_gamma(looks, size=sar.values.shape, dtype=np.float32) / np.float32(looks)
    return replace(sar, values=sar.values + 10 * np.log10(np.maximum(gamma, np.float32(1e-6))))


def moved(values: NDArray[np.float32], offset_px: tuple[float, float]) -> NDArray[np.float32]:
    """(band, y, x) moved up and to the left by (rows, columns), bilinear; edges are repeated."""
    for axis, amount in enumerate(offset_px, start=1):
        if amount == 0:
            continue
        whole = int(np.floor(amount))
        share = np.float32(amount - whole)
        places = np.arange(values.shape[axis]) + whole
        near, far = (np.clip(places + step, 0, values.shape[axis] - 1) for step in (0, 1))
        values = (1 - share) * np.take(values, near, axis=axis) + share * np.take(values, far, axis=axis)
    return values


def turned(values: NDArray[np.generic], turns: int, *, flip: bool) -> NDArray[np.generic]:
    """(band, y, x) after so many quarter turns and, with `flip`, mirrored left to right."""
    rotated = np.rot90(values, turns, axes=(1, 2))
    return rotated[:, :, ::-1] if flip else rotated
