"""Small scenes on disk for the tests of the restorer and the command line; written by rasterio, not by our writer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import torch

from eorestore.data.cloud_pairs import grow_mask
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.synthetic_scene import SyntheticScene, synthetic_scene
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.glf_cr import GLFCR, GLFCRSettings
from eorestore.models.parts import example_inputs
from eorestore.processing.table import PROCESSORS
from eorestore.raster import SENTINEL2_L1C, Grid, Raster

NAMES = SENTINEL2_L1C.names
TINY = GLFCRSettings(channels=8, growth=4, blocks=1, layers=1, heads=2, head_channels=4, drop_path=0.0)


@dataclass(frozen=True)
class World:
    """An invented cloudy place in memory; mask: True where cloud or shadow is."""

    place: SyntheticScene
    cloudy: Raster
    mask: np.ndarray

    @property
    def dn(self) -> np.ndarray:
        """Cloudy DN without offset, uint16 (band, y, x), nowhere 0."""
        return np.clip(np.rint(self.cloudy.values * 10000), 1, 65535).astype(np.uint16)


def make_world(size=(96, 80), *, seed=0, cover=0.3) -> World:
    generator = np.random.default_rng(seed)
    place = synthetic_scene(size, generator=generator)
    sky = simulate_clouds(place.optical, CloudSettings(cover=cover, size_px=(8.0, 30.0)), generator=generator)
    cloudy = replace(place.optical, values=sky.image)
    return World(place, cloudy, grow_mask(sky.cloud | sky.shadow, 2))


def write_tif(path: Path, values: np.ndarray, grid: Grid | None, *, names=None, nodata=None, tags=None, units=None):
    """values (band, y, x); grid None leaves the file without georeference."""
    place = {}
    if grid is not None:
        place = {"crs": rasterio.crs.CRS.from_wkt(grid.crs), "transform": rasterio.Affine(*grid.transform)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype, nodata=nodata, **place,
    ) as file:  # fmt: skip
        file.write(values)
        if names is not None:
            file.descriptions = tuple(names)
        if units is not None:
            file.units = tuple(units)
        file.update_tags(**(tags or {}))
    return path


def write_world(folder: Path, world: World, *, dn: np.ndarray | None = None, **options) -> Path:
    """s2.tif, s1.tif, mask.tif and clear.tif; returns the folder. options: of `write_tif`, for s2.tif."""
    grid = world.cloudy.grid
    write_tif(folder / "s2.tif", world.dn if dn is None else dn, grid, names=NAMES, **options)
    write_tif(folder / "s1.tif", world.place.sar.values, grid, names=("VV", "VH"))
    write_tif(folder / "mask.tif", world.mask[None].astype(np.uint8), grid)
    clear = np.clip(np.rint(world.place.optical.values * 10000), 1, 65535).astype(np.uint16)
    write_tif(folder / "clear.tif", clear, grid, names=NAMES)
    return folder


def write_bands(folder: Path, world: World) -> Path:
    """One file a band, at 10 m, at 20 m (B05, B11) and at 60 m (B01), as a Sentinel-2 product has them."""
    for name, values in zip(NAMES, world.dn, strict=True):
        step = {"B05": 2, "B11": 2, "B01": 6}.get(name, 1)
        height, width = (side // step for side in values.shape)
        coarse = values[: height * step, : width * step].reshape(height, step, width, step).mean(axis=(1, 3))
        grid = world.cloudy.grid.resize(height, width)
        write_tif(folder / f"{name}.tif", np.rint(coarse)[None].astype(np.uint16), grid)
    return folder


def read_tif(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def tiny_checkpoint(folder: Path, *, seed: int = 0, tile: int = 64, overlap: int = 16, start: str = "cloudy") -> Path:
    """A GLF-CR of a few thousand weights, all of them drawn at random, so that every branch speaks."""
    torch.manual_seed(seed)
    model = GLFCR(replace(TINY, start=start))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    example = example_inputs(model, height=16, width=16)
    return save_checkpoint(
        folder, model, PROCESSORS["glf-cr-optional-cirrus"](), task="cloud-removal", provenance={}, tile=tile,
        overlap=overlap, example=example,
    )  # fmt: skip
