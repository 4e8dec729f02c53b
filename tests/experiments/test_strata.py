"""Strata of cases written by hand."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from skimage.filters import sobel

from eorestore.data.manifest import SceneRow
from eorestore.errors import DataError, UnknownNameError, UsageError
from eorestore.experiments.cases import UNKNOWN_CLASS, Case
from eorestore.experiments.strata import check_land_cover, check_strata, metrics_of, strata_of
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, Grid, Raster

SIZE = (40, 50)
GRID = Grid("EPSG:32632", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), *SIZE)


def case(cloud: np.ndarray, **changes) -> Case:
    generator = np.random.default_rng(0)
    bands = SENTINEL2_L1C.select(("B02", "B03"))
    target = Raster(generator.random((2, *SIZE), dtype=np.float32), np.ones(SIZE, bool), bands, GRID)
    sar = Raster(np.zeros((2, *SIZE), np.float32), np.ones(SIZE, bool), SENTINEL1, GRID)
    row = SceneRow("a", "p", "test", *[None] * 2)
    settings = {"mask": cloud, "cloud": cloud, "shadow": np.zeros(SIZE, bool)} | changes
    return Case(row, target, sar, target, **settings)


def square(size: int = 20) -> np.ndarray:
    cloud = np.zeros(SIZE, bool)
    cloud[:size, :size] = True
    return cloud


def named(found) -> dict:
    return {stratum.name: stratum.pixels for stratum in found}


def test_the_scene_falls_into_the_bin_of_its_own_share():
    assert list(named(strata_of(case(square()), ["cloud"]))) == ["20-40 %"]  # 400 of 2000: the lower bound counts
    assert list(named(strata_of(case(square(19)), ["cloud"]))) == ["0-20 %"]
    full = named(strata_of(case(np.ones(SIZE, bool)), ["cloud"]))
    assert full["80-100 %"].all()


def test_thick_is_what_hides_half_of_the_light_or_more():
    thickness = np.zeros(SIZE, np.float32)
    thickness[:20, :10], thickness[:20, 10:20] = 0.49, 0.5
    found = named(strata_of(case(square(), thickness=thickness), ["thickness"]))
    assert {name: np.unique(thickness[pixels]).tolist() for name, pixels in found.items()} == {
        "thin": [np.float32(0.49)],
        "thick": [0.5],
    }


def test_distances_are_scipys_distances_to_the_nearest_clear_pixel():
    cloud, shadow = square(), np.zeros(SIZE, bool)
    shadow[:20, 20:23] = True
    one = case(cloud, shadow=shadow)
    found = named(strata_of(one, ["distance"]))
    places, clear = np.argwhere(cloud), np.argwhere(one.clear)
    nearest = cdist(places, clear).min(axis=1)
    assert list(found) == ["0-8 px", "8-32 px"]
    assert set(map(tuple, places[nearest < 8])) == set(map(tuple, np.argwhere(found["0-8 px"])))
    assert found["0-8 px"].sum() + found["8-32 px"].sum() == 400


def test_without_a_clear_pixel_everything_is_far():
    found = named(strata_of(case(np.ones(SIZE, bool)), ["distance"]))
    assert list(found) == ["32+ px"]
    assert found["32+ px"].all()


def test_textured_is_the_fifth_with_the_strongest_gradient_of_scikit_image():
    one = case(np.ones(SIZE, bool))
    found = named(strata_of(one, ["texture"]))
    strength = np.mean([sobel(band.astype(float)) for band in one.target.values], axis=0)
    inside = np.zeros(SIZE, bool)
    inside[1:-1, 1:-1] = True
    assert found["textured"].sum() == pytest.approx(0.2 * inside.sum(), abs=1)
    assert strength[found["textured"]].min() > strength[found["smooth"]].max()
    assert np.array_equal(found["textured"] | found["smooth"], inside)


def test_every_class_of_the_map_under_cloud_is_a_stratum():
    classes = np.full(SIZE, 3)
    classes[:, 10:] = 11
    classes[0] = UNKNOWN_CLASS
    found = named(strata_of(case(square(), classes=classes), ["landcover"]))
    assert {name: int(pixels.sum()) for name, pixels in found.items()} == {"class 3": 190, "class 11": 190}


def test_strata_hold_valid_pixels_under_cloud_only():
    one = case(square(), thickness=np.ones(SIZE, np.float32), classes=np.zeros(SIZE, np.int64))
    one.target.valid[:5] = False
    found = strata_of(one, ["cloud", "thickness", "distance", "texture", "landcover"])
    assert {stratum.kind for stratum in found} == {"cloud", "thickness", "distance", "texture", "landcover"}
    assert not any((stratum.pixels & ~one.inside).any() for stratum in found)


def test_texture_is_scored_by_edges_too():
    assert metrics_of("texture", ("psnr", "sam")) == ("psnr", "sam", "gradient_correlation", "edge_correlation")
    assert metrics_of("cloud", ("psnr", "sam")) == ("psnr", "sam")


def test_strata_that_cannot_be_had_are_refused_by_name():
    assert check_strata(["cloud", "texture", "cloud"], simulated=False) == ("cloud", "texture")
    with pytest.raises(UnknownNameError) as failure:
        check_strata(["tekstur"], simulated=True)
    assert failure.value.suggestion == "texture"
    with pytest.raises(UsageError, match="how thick"):
        check_strata(["thickness"], simulated=False)
    with pytest.raises(DataError, match="no scene has a map"):
        check_land_cover(["landcover"], maps=0)
