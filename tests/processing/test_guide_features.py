import numpy as np
import pytest

from eorestore.errors import BandError, UnitError, UnknownNameError
from eorestore.processing.guide_features import INDICES, fractional_cover, guide_features, needed_bands
from eorestore.raster import Band, BandSet, Grid, Raster, Unit


def guide(names=("B04", "B08", "B11"), *, unit=Unit.REFLECTANCE, seed=0) -> Raster:
    values = np.random.default_rng(seed).uniform(0.05, 0.5, (len(names), 6, 5)).astype(np.float32)
    grid = Grid("", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 6, 5)
    return Raster(values, np.ones((6, 5), bool), BandSet(tuple(Band(name, unit) for name in names)), grid)


def test_indices_follow_their_formulas():
    scene = guide()
    red, near, short = scene.values.astype(np.float64)
    found = guide_features(scene, ("ndvi", "ndbi", "fractional-cover"))
    assert found.names == ("ndvi", "ndbi", "fractional-cover")
    ndvi = (near - red) / (near + red)
    assert np.allclose(found.values[0], ndvi, rtol=0, atol=1e-12)
    assert np.allclose(found.values[1], (short - near) / (short + near), rtol=0, atol=1e-12)
    assert np.allclose(found.values[2], 1 - (1 - ndvi) ** 0.625, rtol=0, atol=1e-12)
    assert found.valid.all()


def test_cover_runs_from_nothing_to_all():
    assert fractional_cover(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]
    assert (np.diff(fractional_cover(np.linspace(-1, 1, 50))) > 0).all()


@pytest.mark.parametrize("names", [("red", "nir", "swir1"), ("b4", "B8", "B11"), ("Red", "B8A", "SWIR")])
def test_bands_are_known_under_several_names(names):
    plain, renamed = guide_features(guide(), ("ndvi", "ndbi")), guide_features(guide(names), ("ndvi", "ndbi"))
    assert (plain.values == renamed.values).all()


def test_the_bands_themselves_can_be_regressors_and_none_comes_twice():
    scene = guide()
    found = guide_features(scene, ("B11", "ndvi", "bands"))
    assert found.names == ("B11", "ndvi", "B04", "B08")
    assert np.allclose(found.values[0], scene.values[2], rtol=0, atol=0)


def test_pixels_without_an_index_or_a_finite_value_are_not_valid():
    scene = guide()
    scene.values[:2, 0, 0] = 0
    scene.values[0, 1, 1] = np.nan
    scene.values[2, 2, 2] = np.inf
    scene.valid[3, 3] = False
    found = guide_features(scene)
    expected = np.ones((6, 5), bool)
    expected[[0, 1, 3], [0, 1, 3]] = False
    assert (found.valid == expected).all()
    assert np.isfinite(found.values).all()
    assert not guide_features(scene, ("B11",)).valid[2, 2]


def test_missing_bands_foreign_units_and_unknown_regressors_are_named():
    with pytest.raises(BandError, match="ndbi needs a swir band, and the guide has B04, B08"):
        guide_features(guide(("B04", "B08")), ("ndbi",))
    with pytest.raises(UnitError, match="B08 of the guide is in count"):
        guide_features(guide(unit=Unit.COUNT))
    with pytest.raises(UnknownNameError, match="ndwj"):
        guide_features(guide(), ("ndwj",))
    with pytest.raises(UnknownNameError):
        guide_features(guide(), ())


@pytest.mark.parametrize("regressor", [*INDICES, "bands", "B08"])
def test_the_bands_that_are_needed_are_enough(regressor):
    scene = guide()
    chosen = needed_bands(scene.bands, [regressor])
    whole, few = (guide_features(raster, [regressor]) for raster in (scene, scene.select(chosen)))
    assert np.array_equal(whole.values, few.values)
    assert len(chosen) == {"bands": 3, "B08": 1}.get(regressor, 2)


def test_a_band_that_is_needed_and_missing_is_named():
    bands = guide(("B04", "B08")).bands
    with pytest.raises(BandError, match="ndbi needs a swir band"):
        needed_bands(bands, ["ndvi", "ndbi"])
    with pytest.raises(UnknownNameError, match="ndwi"):
        needed_bands(bands, ["ndwi"])
