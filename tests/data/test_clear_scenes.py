"""Scenes of a manifest as rasters on one grid."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eorestore.data.clear_scenes import load_clear_scenes, read_scene
from eorestore.data.manifest import SceneRow
from eorestore.data.scene_arrays import save_scene
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import DataError, GridError, UnitError
from eorestore.raster import Unit, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import write_raster

COUNTS = Encoding("uint16", 1.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def scene():
    return synthetic_scene((48, 40), generator=np.random.default_rng(0))


def arrays_row(folder: Path, scene, *, sar: bool = True) -> SceneRow:
    path = folder / "scene.npz"
    save_scene(path, optical=scene.optical, sar=scene.sar if sar else None)
    return SceneRow("a", "here", "train", path, path)


def counts(raster, offset: int = 0):
    """The raster as plain DN of a file that does not say what they mean."""
    return replace(raster, values=np.rint(raster.values * 10000 + offset).astype(np.float32))


def write_files(folder: Path, scene, *, offset: int = 0) -> SceneRow:
    write_raster(folder / "optical.tif", counts(scene.optical, offset), encoding=COUNTS)
    write_raster(folder / "sar.tif", scene.sar, encoding=Encoding("float32", nodata=float("nan")))
    return SceneRow("a", "here", "train", folder / "optical.tif", folder / "sar.tif")


def test_a_scene_of_arrays_comes_as_stored(tmp_path, scene):
    found = read_scene(arrays_row(tmp_path, scene))
    assert np.array_equal(found.optical.values, scene.optical.values)
    assert np.array_equal(found.sar.values, scene.sar.values)
    assert found.reference is None


def test_a_scene_of_arrays_needs_no_rasterio(tmp_path, scene):
    arrays_row(tmp_path, scene)
    code = (
        "import sys; sys.modules['rasterio'] = None\n"
        "from pathlib import Path\n"
        "from eorestore.data.clear_scenes import load_clear_scenes\n"
        "from eorestore.data.manifest import SceneRow\n"
        f"path = Path({str(tmp_path / 'scene.npz')!r})\n"
        "assert len(load_clear_scenes([SceneRow('a', 'here', 'train', path, path)])) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("offset", [0, 1000])
def test_geotiffs_come_as_reflectance_with_the_offset_of_the_row_removed(tmp_path, scene, offset):
    row = replace(write_files(tmp_path, scene, offset=offset), s2_offset=float(offset))
    found = read_scene(row)
    assert np.abs(found.optical.values - scene.optical.values).max() < 1e-4
    assert np.allclose(found.sar.values, scene.sar.values)


def test_sar_on_a_shifted_grid_is_brought_onto_the_optical_grid(tmp_path, scene):
    row = write_files(tmp_path, scene)
    a, b, c, d, e, f = scene.sar.grid.transform
    moved = replace(scene.sar, grid=replace(scene.sar.grid, transform=(a, b, c + 4, d, e, f)))
    write_raster(tmp_path / "sar.tif", moved, encoding=Encoding("float32", nodata=float("nan")))
    found = read_scene(row)
    assert found.sar.grid.same_as(found.optical.grid)
    expected = 0.6 * scene.sar.values[:, :, 1:-1] + 0.4 * scene.sar.values[:, :, :-2]
    assert np.abs(found.sar.values[:, 1:-1, 1:-1] - expected[:, 1:-1]).max() < 0.02


def test_the_reference_is_the_clear_scene_where_there_is_one(tmp_path, scene):
    row = arrays_row(tmp_path, scene)
    clear = replace(scene.optical, values=scene.optical.values * np.float32(0.5))
    save_scene(tmp_path / "clear.npz", optical=clear)
    with_reference = replace(row, reference=tmp_path / "clear.npz")
    assert np.array_equal(load_clear_scenes([row])[0].optical.values, scene.optical.values)
    assert np.array_equal(load_clear_scenes([with_reference])[0].optical.values, clear.values)
    assert load_clear_scenes([with_reference])[0].place == "here"


def test_a_reference_on_another_grid_is_refused(tmp_path, scene):
    row = arrays_row(tmp_path, scene)
    save_scene(tmp_path / "clear.npz", optical=scene.optical.crop(Window(0, 0, 40, 40)))
    with pytest.raises(GridError, match=r"clear\.npz lies on another grid"):
        read_scene(replace(row, reference=tmp_path / "clear.npz"))


def test_arrays_without_sar_are_refused(tmp_path, scene):
    with pytest.raises(DataError, match="holds no SAR"):
        read_scene(arrays_row(tmp_path, scene, sar=False))


def test_a_scene_without_a_valid_pixel_is_refused(tmp_path, scene):
    nothing = replace(scene.optical, valid=np.zeros_like(scene.optical.valid))
    save_scene(tmp_path / "scene.npz", optical=nothing, sar=scene.sar)
    row = SceneRow("a", "here", "train", tmp_path / "scene.npz", tmp_path / "scene.npz")
    with pytest.raises(DataError, match="no valid pixel"):
        read_scene(row)


def test_an_optical_scene_that_is_radar_is_refused(tmp_path, scene):
    row = write_files(tmp_path, scene)
    with pytest.raises(UnitError, match="the optical scene is in decibel"):
        read_scene(replace(row, optical=row.sar))


def test_the_unit_of_the_row_is_the_unit_of_the_sar(tmp_path, scene):
    import rasterio

    row = write_files(tmp_path, scene)
    with rasterio.open(row.sar, "r+") as file:
        file.units = ("", "")
    assert {band.unit for band in read_scene(replace(row, sar_unit=Unit.POWER)).sar.bands} == {Unit.POWER}


@pytest.mark.real
def test_a_real_row_with_folders_of_band_files_is_read(real_data):
    root = real_data / "cloud" / "ssl4eo"
    row = SceneRow(
        "ssl4eo", "india", "test",
        optical=root / "s2c" / "0000200" / "20200823T054639_20200823T055618_T43RCP",
        sar=next((root / "s1" / "0000200").glob("*20200903*")),
        reference=root / "s2c" / "0000200" / "20200604T054639_20200604T054831_T43RCP",
    )  # fmt: skip
    found = read_scene(row)
    assert found.optical.grid.size == (264, 264)
    assert found.reference.grid.same_as(found.optical.grid)
    assert found.sar.grid.same_as(found.optical.grid)
    clear, cloudy = (np.quantile(raster.values[1], 0.9) for raster in (found.reference, found.optical))
    assert 0.05 < clear < 0.3 < cloudy
