"""An invented place on disk: cloudy and clear Sentinel-2, Sentinel-1, and the mask; knows no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eorestore.data.cloud_pairs import MASK_MARGIN, grow_mask
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.synthetic_scene import SceneSettings, synthetic_scene
from eorestore.raster import Band, BandSet, Raster, Unit
from eorestore.raster.encoding import Encoding

FILES = {"optical": "s2_cloudy.tif", "sar": "s1.tif", "reference": "s2_clear.tif", "mask": "mask.tif"}
"""Column of a manifest -> file name in the folder of a place."""

_OPTICAL = Encoding("uint16", scale=1e-4, offset=0.0, nodata=0)
_SAR = Encoding("float32", nodata=float("nan"))
_MASK = Encoding("uint8")


def write_simulated_place(
    folder: Path,
    *,
    size: tuple[int, int],
    clouds: CloudSettings,
    scene: SceneSettings,
    generator: np.random.Generator,
) -> float:
    """Invent a place of (height, width) pixels and write `FILES` into `folder`; returns the cover reached.

    Optical files hold DN without offset, SAR decibel, the mask 1 where cloud or shadow is (grown by a margin).
    Raises ConfigError and WriteError.
    """
    from eorestore.raster.files import write_raster

    place = synthetic_scene(size, generator=generator, settings=scene)
    sky = simulate_clouds(place.optical, clouds, generator=generator)
    optical = place.optical
    cloudy = Raster(sky.image, optical.valid, optical.bands, optical.grid)
    grown = grow_mask(sky.cloud | sky.shadow, MASK_MARGIN)[None].astype(np.float32)
    mask = Raster(grown, optical.valid, BandSet((Band("mask", Unit.CLASS),)), optical.grid)
    write_raster(folder / FILES["optical"], cloudy, encoding=_OPTICAL)
    write_raster(folder / FILES["reference"], optical, encoding=_OPTICAL)
    write_raster(folder / FILES["sar"], place.sar, encoding=_SAR)
    write_raster(folder / FILES["mask"], mask, encoding=_MASK)
    return float(sky.cloud.mean())
