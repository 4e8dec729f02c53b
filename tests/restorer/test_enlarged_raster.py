"""Zero-shot enlargement in memory: the numbers of the file, in the kind that was given."""

from __future__ import annotations

import numpy as np
import pytest

import eorestore as eor
from enlarged_thermal import GAP, SIZE, TOY, thermal_scene, write_thermal
from eorestore.errors import UsageError
from eorestore.raster.files import open_raster
from eorestore.restorer import enlarge_raster
from eorestore.restorer.zero_shot_recipe import SceneTask, load_recipe


def test_a_path_gives_a_path_and_a_raster_the_same_numbers(tmp_path):
    scene = write_thermal(tmp_path / "lst.tif")
    out = eor.zero_shot(str(scene), scale=2, out=tmp_path / "x2.tif", settings=TOY)
    assert out == tmp_path / "x2.tif"
    written = open_raster(out).read()
    made = eor.zero_shot(open_raster(scene).read(), scale=2, settings=TOY)
    assert made.grid == written.grid
    assert made.bands == written.bands
    assert np.array_equal(made.valid, written.valid)
    assert np.array_equal(made.values[:, made.valid], written.values[:, made.valid])


def test_the_mean_of_every_block_is_the_pixel_and_gaps_are_blocks_of_gaps():
    raster = thermal_scene()
    raster.values[:, GAP[0], GAP[1]] = -1e9  # means nothing
    made = eor.zero_shot(raster, scale=4, settings=TOY)
    assert made.grid == raster.grid.scale(4)
    assert np.array_equal(made.valid, raster.valid.repeat(4, 0).repeat(4, 1))
    means = made.values.astype(np.float64).reshape(1, SIZE[0], 4, SIZE[1], 4).mean(axis=(2, 4))
    assert np.abs(means - raster.values)[:, raster.valid].max() < 2e-4


def test_maps_facts_and_the_network_come_with_it():
    task = SceneTask(load_recipe("balanced", TOY), 2)
    found = enlarge_raster(thermal_scene(), task, save=("sigma",))
    assert found.extras["sigma"].shape == found.raster.values.shape
    assert np.array_equal(np.isfinite(found.extras["sigma"][0]), found.raster.valid)
    assert found.facts["zero_shot"]["learned"]["steps"] == 3
    assert found.facts["enlargement"]["deviation"]["largest"]["thermal"] < 2e-4
    assert found.network is not None
    assert found.network.scale == 2


def test_the_same_seed_gives_the_same_and_another_another():
    raster = thermal_scene()
    forced = {**TOY, "inference.margin": -1, "learning.learning_rate": 0.01}
    first, again, other = (eor.zero_shot(raster, seed=seed, settings=forced) for seed in (3, 3, 4))
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)


@pytest.mark.parametrize("flat", [False, True])
def test_a_dataarray_comes_back_as_one_with_its_crs(flat):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("rioxarray")
    raster = thermal_scene()
    values = np.where(raster.valid, raster.values, np.float32(np.nan))
    rows, columns = (np.arange(side) + 0.5 for side in SIZE)
    coords = {"y": 5_400_000 - 100 * rows, "x": 600_000 + 100 * columns}
    if flat:
        array = xarray.DataArray(values[0], dims=("y", "x"), coords=coords)
    else:
        array = xarray.DataArray(values, dims=("band", "y", "x"), coords={"band": ["thermal"], **coords})
    made = eor.zero_shot(array.rio.write_crs(raster.grid.crs), scale=2, settings=TOY)
    assert made.dims == array.dims
    assert made.rio.crs == raster.grid.crs
    assert made.rio.resolution() == (50.0, -50.0)
    assert float(made.x[0]) == 600_025.0
    wanted = eor.zero_shot(raster, scale=2, settings=TOY)
    assert np.array_equal(np.isnan(made.values.reshape(wanted.values.shape)[0]), ~wanted.valid)
    np.testing.assert_array_equal(
        made.values.reshape(wanted.values.shape)[:, wanted.valid], wanted.values[:, wanted.valid]
    )


def test_what_belongs_to_files_is_refused_with_rasters(tmp_path):
    with pytest.raises(UsageError, match="go with paths"):
        eor.zero_shot(thermal_scene(), save="turbo")
    with pytest.raises(UsageError, match="no output is named"):
        eor.zero_shot(tmp_path / "lst.tif")
    with pytest.raises(UsageError, match="zero_shot takes no sar"):
        eor.zero_shot(tmp_path / "lst.tif", out=tmp_path / "o.tif", sar="x")
    with pytest.raises(UsageError, match="--scale 5 is not offered"):
        eor.zero_shot(thermal_scene(), scale=5)
