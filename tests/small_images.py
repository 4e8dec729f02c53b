"""Pictures with something to enlarge, and checkpoints for them, in milliseconds; written for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.table import build_model
from eorestore.processing.table import rgb_processor

LIGHT = {"channels": 4, "blocks": 1}
FUSION = {"channels": 8, "heads": 2, "refine_channels": 8, "refine_layers": 3, "edge_channels": 4}


def picture(seed: int, *, size: tuple[int, int] = (72, 88)) -> np.ndarray:
    """Even colours with sharp edges, (y, x, 3) uint8."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(*size, 3)), (4, 4, 0))
    return np.where(field > 0, 190, 60).astype(np.uint8)


def put(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_set(folder: Path, count: int, *, seed: int = 0) -> Path:
    """A folder of `count` pictures called a_HR.png, b_HR.png, ..."""
    for number in range(count):
        put(folder / f"{chr(97 + number)}_HR.png", picture(seed + number))
    return folder


def write_experts(folder: Path, images: Path, *, noise: dict[str, float]) -> Path:
    """What experts would have stored of a set: its pictures with noise of so many levels each."""
    for number, (name, size) in enumerate(noise.items()):
        generator = np.random.default_rng(100 + number)
        for path in sorted(images.glob("*_HR.png")):
            pixels = np.asarray(Image.open(path)).astype(float)
            made = pixels + size * generator.normal(size=pixels.shape)
            put(folder / name / f"{path.stem.removesuffix('_HR')}.png", made.clip(0, 255).round().astype(np.uint8))
    return folder


def save_model(folder: Path, name: str, settings: dict) -> Path:
    model = build_model(name, settings, seed=1)
    scale = model.scale
    return save_checkpoint(
        folder, model, rgb_processor(scale), task="super-resolution", provenance={}, tile=64, overlap=0
    )
