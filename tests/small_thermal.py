"""Small thermal scenes in kelvin with texture that recurs, gaps and a coast, and pieces of them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from eorestore.data.single_scene import Piece, hold_back


def textured(size: tuple[int, int] = (96, 96), *, seed: int = 0, fields: int = 40) -> np.ndarray:
    """Fields with straight edges between 285 and 315 K under faint smooth noise, float32 (y, x)."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    values = np.full(size, 300.0)
    for _ in range(fields):
        row, column, angle = generator.uniform(0, size[0]), generator.uniform(0, size[1]), generator.uniform(0, np.pi)
        along = (rows - row) * np.cos(angle) + (columns - column) * np.sin(angle)
        across = (columns - column) * np.cos(angle) - (rows - row) * np.sin(angle)
        values[(abs(along) < generator.uniform(3, 14)) & (abs(across) < generator.uniform(2, 9))] = generator.uniform(
            285, 315
        )
    return (values + 0.2 * gaussian_filter(generator.standard_normal(size), 1.0)).astype(np.float32)


def gaps(size: tuple[int, int], share: float, *, seed: int = 0) -> np.ndarray:
    """Bool (y, x): cloud-like gaps over `share` of the scene and single pixels among them."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(size), 4.0)
    lost = noise < np.quantile(noise, share - 0.01)
    lost.ravel()[:: max(1, int(size[0] * size[1] // (0.01 * size[0] * size[1])))] = True
    return lost


def as_piece(values: np.ndarray, *, held_back: float = 0.2, low: float = 285.0, high: float = 315.0) -> Piece:
    """The scene scaled to about 0 ... 1, all of it valid."""
    valid = torch.ones(values.shape, dtype=torch.bool)
    image = torch.from_numpy(((values - low) / (high - low)).astype(np.float32))
    return Piece(image[None], valid, hold_back(valid, held_back))
