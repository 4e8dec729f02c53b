import json
import time
from dataclasses import replace

import numpy as np
import pytest

from eorestore.errors import BandError, GridError, UnitError, UsageError
from eorestore.processing.block_means import smooth_enlargement
from eorestore.processing.guided_sharpening import nesting_factor, sharpen
from eorestore.raster import Band, BandSet, Unit, Window
from guided_scenes import place

METHODS = ["tsharp", "atprk"]


@pytest.mark.parametrize("method", METHODS)
def test_a_thermal_raster_comes_back_on_the_grid_of_the_guide(method):
    scene = place()
    found = sharpen(scene.low, scene.guide, method=method)
    assert found.raster.grid == scene.guide.grid
    assert found.raster.bands == scene.low.bands
    assert found.raster.values.dtype == np.float32
    assert found.factor == 4
    error = found.raster.values[0].astype(np.float64) - scene.truth
    assert np.sqrt(np.mean(error**2)) < 0.3
    assert np.abs(error.mean()) < 1e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("regressors", [("fractional-cover",), ("ndvi", "ndbi"), ("bands",)])
def test_any_regressor_that_follows_the_vegetation_serves(method, regressors):
    scene = place()
    found = sharpen(scene.low, scene.guide, method=method, regressors=regressors)
    plain = smooth_enlargement(scene.low.values[0], factor=4)
    sharpened, smooth = (np.sqrt(np.mean((image - scene.truth) ** 2)) for image in (found.raster.values[0], plain))
    assert sharpened < 0.5 * smooth
    assert set(found.coefficients) == {"intercept", *found.regressors}


@pytest.mark.parametrize("method", METHODS)
def test_what_a_sidecar_tells_is_plain_and_tells_the_fit(method):
    told = sharpen(place().low, place().guide, method=method).to_json()
    assert json.loads(json.dumps(told)) == told
    assert told["method"] == method
    assert told["coefficients"]["ndvi"] == pytest.approx(-15, abs=2)
    assert 0 < told["r2"] < 1
    assert set(told["variogram"]) == ({"model", "sill", "range"} if method == "atprk" else set())


@pytest.mark.parametrize("method", METHODS)
def test_gaps_of_the_guide_are_no_gaps_of_the_result(method):
    scene = place()
    scene.guide.valid[20:50, 30:90] = False
    scene.guide.values[:, 20:50, 30:90] = np.nan
    scene.low.valid[0, :5] = False
    scene.low.values[0, 0, :5] = np.nan
    found = sharpen(scene.low, scene.guide, method=method).raster
    assert (found.valid == np.repeat(np.repeat(scene.low.valid, 4, 0), 4, 1)).all()
    assert np.isfinite(found.values).all()


def test_grids_that_do_not_nest_are_refused_with_what_to_do():
    scene = place()
    assert nesting_factor(scene.low, scene.guide) == 4
    with pytest.raises(GridError, match="118 x 144 pixels of the guide do not divide 30 x 36"):
        sharpen(scene.low, scene.guide.crop(Window(0, 0, 118, 144)))
    a, b, c, d, e, f = scene.guide.grid.transform
    moved = replace(scene.guide, grid=replace(scene.guide.grid, transform=(a, b, c + 20, d, e, f)))
    with pytest.raises(GridError, match="begin or end at different places") as caught:
        sharpen(scene.low, moved)
    assert "edges of thermal pixels" in caught.value.fix
    with pytest.raises(GridError, match="another CRS"):
        sharpen(scene.low, replace(scene.guide, grid=replace(scene.guide.grid, crs="EPSG:32618")))


def test_foreign_units_and_methods_are_refused():
    scene = place()
    counts = replace(scene.low, bands=BandSet((Band("thermal", Unit.COUNT),)))
    with pytest.raises(UnitError, match="thermal is in count"):
        sharpen(counts, scene.guide)
    with pytest.raises(UnitError, match="of the guide is in level"):
        sharpen(scene.low, replace(scene.guide, bands=scene.guide.bands.with_unit(Unit.LEVEL)))
    with pytest.raises(BandError, match="3 bands to sharpen"):
        sharpen(scene.guide, scene.guide)
    with pytest.raises(UsageError, match="'kriging'"):
        sharpen(scene.low, scene.guide, method="kriging")


@pytest.mark.parametrize("method", METHODS)
def test_a_million_pixels_with_scattered_gaps_take_seconds(method):
    scene = place(height=250, width=250)
    scene.low.valid[np.random.default_rng(0).random((250, 250)) < 0.05] = False
    before = time.process_time()
    sharpen(scene.low, scene.guide, method=method)
    assert time.process_time() - before < 15
