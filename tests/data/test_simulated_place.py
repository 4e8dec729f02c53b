"""An invented place on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from eorestore.data.cloud_simulation import CloudSettings
from eorestore.data.simulated_place import FILES, write_simulated_place
from eorestore.data.synthetic_scene import SceneSettings
from eorestore.raster.files import open_raster


def _write(folder: Path, seed: int = 0) -> float:
    return write_simulated_place(
        folder,
        size=(64, 80),
        clouds=CloudSettings(cover=0.3, size_px=(8.0, 30.0), haze=0.0),
        scene=SceneSettings(),
        generator=np.random.default_rng(seed),
    )


def test_files_hold_one_place_on_one_grid(tmp_path: Path):
    reached = _write(tmp_path)
    assert abs(reached - 0.3) < 0.02
    rasters = {column: open_raster(tmp_path / name).read() for column, name in FILES.items() if column != "mask"}
    assert all(raster.grid.same_as(rasters["optical"].grid) for raster in rasters.values())
    assert all(raster.valid.all() for raster in rasters.values())
    with rasterio.open(tmp_path / FILES["mask"]) as file:
        mask = file.read(1)
    assert set(np.unique(mask)) == {0, 1}
    change = np.abs(rasters["optical"].values - rasters["reference"].values).max(axis=0)
    # Outside the mask only the fringe of clouds and shadows is left, below their thresholds.
    assert change[mask == 0].max() < 0.05
    assert change[mask == 1].mean() > 0.1


def test_reflectance_goes_through_the_file_and_back(tmp_path: Path):
    _write(tmp_path)
    reference = open_raster(tmp_path / FILES["reference"]).read()
    b10 = reference.values[reference.bands.index("B10")]
    assert abs(float(np.median(b10)) - 0.001) < 5e-4
    with rasterio.open(tmp_path / FILES["reference"]) as file:
        assert file.dtypes[0] == "uint16"
        assert file.crs.to_epsg() == 32632


def test_the_same_seed_writes_the_same_pixels(tmp_path: Path):
    for name in ("one", "two"):
        _write(tmp_path / name, seed=4)
    for file in FILES.values():
        one, two = (rasterio.open(tmp_path / name / file).read() for name in ("one", "two"))
        np.testing.assert_array_equal(one, two)
