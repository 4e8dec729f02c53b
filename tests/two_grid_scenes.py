"""Made-up Sentinel-2 scenes in folders of per-band files, 10 m and 20 m; sharp edges that all bands share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from eorestore.layers.halving import halve
from eorestore.raster import SENTINEL2_10M, SENTINEL2_20M, BandSet, Grid, Raster
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import write_raster

UTM = rasterio.crs.CRS.from_epsg(32632).to_wkt()
DN = Encoding("uint16", 1e-4, 0.0, 0.0)
CORNER = (600_000.0, 5_300_040.0)


def ground(height: int, width: int, *, seed: int) -> NDArray[np.float32]:
    """Ten bands (10, height, width) of reflectance: mixtures of a few sharp fields."""
    generator = np.random.default_rng(seed)
    fields = [gaussian_filter(generator.normal(size=(height, width)), 3) > 0 for _ in range(4)]
    shares = generator.uniform(0.02, 0.2, size=(10, 4))
    values = 0.25 + np.tensordot(shares, np.stack(fields).astype(float), axes=1)
    return values.astype(np.float32)


def write_bands(
    folder: Path,
    values: NDArray[np.float32],
    bands: BandSet,
    *,
    pixel: float,
    shift: float = 0.0,
    scaled: bool = True,
) -> None:
    """One file a band of (band, y, x). shift: pixels by which the grid begins further east. scaled: says its scale."""
    folder.mkdir(exist_ok=True, parents=True)
    for band, image in zip(bands, values, strict=True):
        grid = Grid(UTM, (pixel, 0.0, CORNER[0] + shift * pixel, 0.0, -pixel, CORNER[1]), *image.shape)
        stored = image if scaled else 1e4 * image
        raster = Raster(stored[None], image > 0, BandSet((band,)), grid)
        write_raster(folder / f"{band.name}.tif", raster, encoding=DN if scaled else Encoding("uint16", nodata=0.0))


def write_scene(
    folder: Path,
    *,
    height: int = 64,
    width: int = 80,
    seed: int = 0,
    shift: float = 0.0,
    scaled: bool = True,
    values: NDArray[np.float32] | None = None,
) -> Path:
    """A scene of `height` x `width` pixels of 10 m whose 20 m bands are halved. shift: of the 20 m grid, its pixels."""
    image = ground(height, width, seed=seed) if values is None else values
    coarse = halve(torch.from_numpy(image[4:])[None])[0].numpy()
    write_bands(folder, image[:4], SENTINEL2_10M, pixel=10.0, scaled=scaled)
    write_bands(folder, coarse, SENTINEL2_20M, pixel=20.0, shift=shift, scaled=scaled)
    return folder
