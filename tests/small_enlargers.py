"""Small untrained networks that enlarge, and scenes for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from eorestore.data.synthetic_scene import UTM_32N
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.light_sr import LightSR, LightSRSettings
from eorestore.models.table import build_model
from eorestore.processing.table import PROCESSORS
from eorestore.raster import Grid


def light_checkpoint(folder: Path, *, kind: str = "convolution", tile: int = 64, loud: float = 0.02) -> Path:
    """A light-sr of a few thousand weights drawn at random, which adds detail that nobody asked for."""
    torch.manual_seed(0)
    model = LightSR(LightSRSettings(kind=kind, channels=8, blocks=2, kernel=5))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(loud * torch.randn_like(weight))
    return save_checkpoint(
        folder, model, PROCESSORS["rgb-x4"](), task="super-resolution", provenance={}, tile=tile, overlap=8
    )


def smooth(bands: int, size: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """Texture in 0 ... 1, float32 (band, y, x)."""
    noise = np.random.default_rng(seed).standard_normal((bands, *size))
    fine = gaussian_filter(noise, (0, 1.5, 1.5)) * 0.5 + gaussian_filter(noise, (0, 5, 5)) * 2
    low, high = fine.min(axis=(1, 2), keepdims=True), fine.max(axis=(1, 2), keepdims=True)
    return ((fine - low) / (high - low)).astype(np.float32)


def utm_grid(size: tuple[int, int]) -> Grid:
    return Grid(UTM_32N, (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_400_000.0), *size)


def two_experts(folder: Path) -> list[Path]:
    """Checkpoints `convolution` and `attention` whose images differ by hundredths."""
    settings = {"channels": 8, "blocks": 1, "heads": 2, "window": 4}
    folders = []
    for seed, kind in enumerate(("convolution", "attention")):
        model = build_model("light-sr", settings | {"kind": kind}, seed=seed)
        torch.nn.init.normal_(model.leave.weight, std=0.1, generator=torch.Generator().manual_seed(seed))
        folders.append(folder / kind)
        save_checkpoint(
            folders[-1], model, PROCESSORS["rgb-x4"](), task="super-resolution", provenance={}, tile=64, overlap=16
        )
    return folders
