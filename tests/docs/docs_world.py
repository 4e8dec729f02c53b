"""The files that the documentation speaks of, made small from the synthetic scene; knows no page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.simulated_thermal import simulate_thermal
from eorestore.data.synthetic_scene import UTM_32N, synthetic_scene
from eorestore.processing.units import convert
from eorestore.raster import SENTINEL2_L2A, THERMAL, Band, BandSet, Grid, Raster, Unit
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import write_raster
from eorestore.raster.products import SENTINEL2_SCALE
from eorestore.reports.picture import average_blocks, picture, write_png

SIDE = 96  # divides by 6, so that bands of 60 m fit
NATIVE = {"B05": 2, "B06": 2, "B07": 2, "B8A": 2, "B11": 2, "B12": 2, "B01": 6, "B09": 6, "B10": 6}
DN = Encoding("uint16", scale=SENTINEL2_SCALE, nodata=0)
SHIFTED = Encoding("uint16", scale=SENTINEL2_SCALE, offset=-0.1, nodata=0)
DECIBEL = Encoding("float32", nodata=float("nan"))
CLASSES = Encoding("uint8")
PLACES = ("alps", "po", "jura")
OPTICAL_TAGS = {"ACQUISITION_DATE": "2026-06-14", "SUN_AZIMUTH": "150"}


def make_world(folder: Path) -> None:
    """Write every input that a block of the documentation names into `folder`."""
    optical, sar, cloudy, hidden = _place(1)
    write_raster(folder / "S2.tif", cloudy, encoding=DN, tags=OPTICAL_TAGS)
    write_raster(folder / "S1.tif", sar, encoding=DECIBEL, tags={"ACQUISITION_DATE": "2026-06-16"})
    write_raster(folder / "reference.tif", optical, encoding=DN)
    write_raster(folder / "S2_L2A.tif", cloudy.select(SENTINEL2_L2A.names), encoding=DN, tags=OPTICAL_TAGS)
    # Raw DN without a scale, as products come.
    _write_plain(folder / "S2_shifted.tif", cloudy, SHIFTED)
    power = convert(sar, Unit.POWER)
    write_raster(folder / "S1_power.tif", replace(power, bands=_without_names(2)), encoding=DECIBEL)
    _write_classes(folder / "mask.tif", hidden.astype(np.float32), optical.grid)
    classes = np.where(hidden, 9, 4).astype(np.float32)
    coarse = optical.grid.resize(SIDE // 2, SIDE // 2)
    coarse = replace(coarse, transform=(20.0, 0.0, coarse.transform[2], 0.0, -20.0, coarse.transform[5]))
    _write_classes(folder / "SCL.tif", classes[::2, ::2], coarse)
    _write_bands(folder / "S2_bands", cloudy)
    _write_guided(folder / "thermal_40m.tif", optical)
    for name in sar.bands.names:
        write_raster(folder / "S1_bands" / f"{name}.tif", sar.select([name]), encoding=DECIBEL)
    _write_photos(folder)
    _write_thermal(folder / "lst.tif")
    for number, name in enumerate(PLACES):
        clear, radar, covered, _ = _place(10 + number)
        write_raster(folder / "scenes" / name / "S2.tif", covered, encoding=DN)
        write_raster(folder / "scenes" / name / "S1.tif", radar, encoding=DECIBEL)
        write_raster(folder / "scenes" / name / "reference.tif", clear, encoding=DN)
        write_png(folder / "aerial" / f"{name}.png", picture(clear))


def _place(seed: int) -> tuple[Raster, Raster, Raster, np.ndarray]:
    generator = np.random.default_rng(seed)
    scene = synthetic_scene((SIDE, SIDE), generator=generator)
    grid = Grid(UTM_32N, (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_400_000.0), SIDE, SIDE)
    optical, sar = replace(scene.optical, grid=grid), replace(scene.sar, grid=grid)
    sky = simulate_clouds(optical, CloudSettings(cover=0.3, size_px=(16, 40)), generator=generator)
    return optical, sar, replace(optical, values=sky.image), sky.cloud | sky.shadow


def _write_plain(path: Path, raster: Raster, encoding: Encoding) -> None:
    raw = Raster(encoding.encode(raster.values).astype(np.float32), raster.valid, raster.bands, raster.grid)
    write_raster(path, raw, encoding=Encoding(encoding.dtype, nodata=encoding.nodata))


def _write_classes(path: Path, values: np.ndarray, grid: Grid) -> None:
    band = BandSet((Band("mask", Unit.CLASS),))
    write_raster(path, Raster(values[None], np.ones(grid.size, bool), band, grid), encoding=CLASSES)


def _write_guided(path: Path, optical: Raster) -> None:
    """Kelvin on four times larger pixels, the warmer the less near infrared."""
    near = optical.select(["B08"])
    kelvin = replace(near, values=310 - 30 * near.values, bands=THERMAL)
    write_raster(path, average_blocks(kelvin, 4), encoding=DECIBEL)


def _write_bands(folder: Path, raster: Raster) -> None:
    for name in raster.bands.names:
        _write_plain(folder / f"{name}.tif", average_blocks(raster.select([name]), NATIVE.get(name, 1)), DN)
    facts = {"PROCESSING_BASELINE": "03.01", "MEAN_SOLAR_AZIMUTH_ANGLE": 150.0}
    (folder / "metadata.json").write_text(json.dumps(facts))


def _write_thermal(path: Path) -> None:
    kelvin = simulate_thermal(SIDE, SIDE, kind="mixed", generator=np.random.default_rng(0))
    valid = np.ones((SIDE, SIDE), bool)
    valid[10:14, 20:30] = False
    grid = Grid(UTM_32N, (100.0, 0.0, 600_000.0, 0.0, -100.0, 5_400_000.0), SIDE, SIDE)
    write_raster(path, Raster(kelvin[None], valid, THERMAL, grid), encoding=DECIBEL)


def _write_photos(folder: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    (folder / "photos").mkdir()
    for path in (folder / "photo.png", folder / "photos" / "one.jpg", folder / "photos" / "two.png"):
        Image.fromarray(levels).save(path)


def _without_names(count: int) -> BandSet:
    return BandSet(tuple(Band(f"band {number}", Unit.POWER) for number in range(1, count + 1)))
