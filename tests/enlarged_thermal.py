"""A small thermal scene on disk, and settings that make its zero-shot enlargement a matter of a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eorestore.data.simulated_thermal import simulate_thermal
from eorestore.data.synthetic_scene import UTM_32N
from eorestore.raster import THERMAL, Grid, Raster
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import write_raster

TOY = {
    "network.start": "none", "network.settings.channels": 8, "network.settings.blocks": 1, "learning.steps": 3,
    "learning.crop": 12, "inference.ensemble": "none",
}  # fmt: skip
SETTINGS = [word for key, value in TOY.items() for word in ("-s", f"{key}={value}")]
SIZE = (40, 32)
GAP = (slice(8, 12), slice(20, 26))


def thermal_scene(*, size=SIZE, seed=1, gap=GAP) -> Raster:
    """Fields of 100 m pixels in kelvin, with a gap whose values mean nothing."""
    values = simulate_thermal(*size, kind="fields", generator=np.random.default_rng(seed))
    valid = np.ones(size, bool)
    if gap is not None:
        valid[gap] = False
    grid = Grid(UTM_32N, (100.0, 0.0, 600_000.0, 0.0, -100.0, 5_400_000.0), *size)
    return Raster(values[None], valid, THERMAL, grid)


def write_thermal(path: Path, raster: Raster | None = None) -> Path:
    """The scene as a float32 GeoTIFF, NaN in the gap."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scene = thermal_scene() if raster is None else raster
    write_raster(path, scene, encoding=Encoding("float32", nodata=float("nan")))
    return path
