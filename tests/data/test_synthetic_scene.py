"""Invented scenes: spectra, speckle, grid."""

from __future__ import annotations

import time

import numpy as np
import pytest
import rasterio
from scipy.ndimage import binary_erosion
from scipy.stats import gamma, kstest

from eorestore.data.synthetic_land import LandCover, draw_land
from eorestore.data.synthetic_scene import UTM_32N, SceneSettings, SyntheticScene, synthetic_scene
from eorestore.data.synthetic_signatures import at_resolution, backscatter, hill_shade, mean_backscatter
from eorestore.errors import ConfigError


@pytest.fixture(scope="module")
def place() -> SyntheticScene:
    return synthetic_scene((256, 256), generator=np.random.default_rng(3))


def _mean(place: SyntheticScene, band: str, *covers: LandCover) -> float:
    inside = binary_erosion(np.isin(place.landcover, covers), iterations=2)
    return float(place.optical.values[place.optical.bands.index(band), inside].mean())


def test_every_kind_of_land_is_there(place: SyntheticScene):
    assert set(np.unique(place.landcover)) == {int(cover) for cover in LandCover}
    share = np.bincount(place.landcover.ravel()) / place.landcover.size
    assert 0.01 < share[LandCover.WATER] < 0.2
    assert 0.1 < share[LandCover.CONIFER] + share[LandCover.BROADLEAF] < 0.5


def test_forest_is_green_and_water_is_dark(place: SyntheticScene):
    forest = LandCover.CONIFER, LandCover.BROADLEAF
    red, infrared = (_mean(place, band, *forest) for band in ("B04", "B08"))
    assert (infrared - red) / (infrared + red) > 0.5
    assert _mean(place, "B08", LandCover.WATER) < 0.06
    assert _mean(place, "B08", LandCover.WATER) < _mean(place, "B03", LandCover.WATER)
    assert _mean(place, "B11", LandCover.SOIL) > _mean(place, "B08", LandCover.SOIL)


def test_cirrus_band_is_as_dark_as_over_real_clear_land(place: SyntheticScene):
    values = place.optical.values[place.optical.bands.index("B10")]
    assert np.median(values) == pytest.approx(0.001, abs=0.0005)
    assert values.max() < 0.003


def test_coarse_bands_hold_no_more_detail_than_their_pixels(place: SyntheticScene):
    def roughness(name: str) -> float:
        band = place.optical.values[place.optical.bands.index(name)]
        return float(np.abs(np.diff(band, axis=1)).mean() / band.std())

    assert roughness("B8A") < 0.65 * roughness("B08")
    assert roughness("B09") < 0.65 * roughness("B8A")


def test_block_means_survive_the_way_to_native_resolution_and_back():
    ramp = np.add.outer(np.arange(24.0), 2 * np.arange(36.0)).astype(np.float32)
    np.testing.assert_allclose(at_resolution(ramp, 6)[3:-3, 3:-3], ramp[3:-3, 3:-3], atol=1e-3)
    assert at_resolution(ramp[:23, :31], 6).shape == (23, 31)


def test_speckle_follows_the_gamma_law_of_its_looks():
    land = draw_land((128, 128), relief_m=100, towns=1, generator=np.random.default_rng(0))
    quiet = mean_backscatter(land, pixel_m=10, generator=np.random.default_rng(5))
    noisy = backscatter(land, looks=5, pixel_m=10, generator=np.random.default_rng(5))
    speckle = (10 ** (noisy / 10) / quiet).ravel()
    assert speckle.mean() ** 2 / speckle.var() == pytest.approx(5.0, rel=0.03)
    assert kstest(speckle, gamma(5, scale=1 / 5).cdf).statistic < 0.01


@pytest.mark.parametrize("looks", [1.0, 5.0, 20.0])
def test_looks_can_be_measured_over_a_lake(looks: float):
    place = synthetic_scene((256, 256), generator=np.random.default_rng(3), settings=SceneSettings(looks=looks))
    water = binary_erosion(place.landcover == LandCover.WATER, iterations=3)
    power = 10 ** (place.sar.values[0, water] / 10)
    assert water.sum() > 200
    # The wind makes even a lake slightly uneven, so that high numbers of looks are not reached in full.
    assert 0.6 * looks < power.mean() ** 2 / power.var() < 1.3 * looks


def test_backscatter_orders_water_fields_forest_and_town(place: SyntheticScene):
    vv, vh = (
        [float(np.median(band[place.landcover == cover])) for cover in
         (LandCover.WATER, LandCover.GRASS, LandCover.BROADLEAF, LandCover.URBAN)]
        for band in place.sar.values
    )  # fmt: skip
    assert vv == sorted(vv)
    assert vh[0] < vh[1] < vh[2]
    assert vv[0] < -18
    assert all(cross < co for co, cross in zip(vv, vh, strict=True))


def test_parcels_show_in_the_radar_image_as_in_the_optical_one():
    land = draw_land((192, 192), relief_m=0, towns=0, generator=np.random.default_rng(2))
    vv = 10 * np.log10(mean_backscatter(land, pixel_m=10, generator=np.random.default_rng(0))[0])
    arable = (land.cover >= LandCover.GRASS) & (land.cover <= LandCover.SOIL)
    size = np.maximum(np.bincount(land.field[arable]), 1)
    means = np.bincount(land.field[arable], vv[arable]) / size
    within = (vv - means[np.minimum(land.field, len(means) - 1)])[arable].var()
    assert within < 0.5 * vv[arable].var()


def test_slopes_towards_the_sun_are_brighter():
    height = np.add.outer(np.zeros(8), 2.0 * np.arange(8)).astype(np.float32)
    morning, evening = (hill_shade(height, sun=(0.7, turn), pixel_m=10)[4, 4] for turn in (np.pi / 2, 3 * np.pi / 2))
    flat = hill_shade(np.zeros((8, 8), np.float32), sun=(0.7, 1.0), pixel_m=10)
    assert evening > 1 > morning
    np.testing.assert_allclose(flat, 1.0, rtol=1e-6)


def test_the_grid_is_true_utm(place: SyntheticScene):
    grid = place.optical.grid
    assert rasterio.crs.CRS.from_wkt(grid.crs).to_epsg() == 32632
    assert rasterio.crs.CRS.from_epsg(32632).to_wkt() == UTM_32N
    assert grid.pixel_size == (10.0, 10.0)
    assert grid.same_as(place.sar.grid)
    left, _, _, top = grid.bounds
    assert left % 60 == 0
    assert (top - 5_300_040) % 60 == 0


def test_the_same_generator_gives_the_same_place():
    first, again, other = (synthetic_scene((64, 96), generator=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.optical.values, again.optical.values)
    np.testing.assert_array_equal(first.sar.values, again.sar.values)
    assert (first.landcover != other.landcover).any()


def test_values_are_finite_reflectance_and_decibel():
    for seed in range(4):
        place = synthetic_scene((64, 80), generator=np.random.default_rng(seed))
        assert place.optical.values.dtype == place.sar.values.dtype == np.float32
        assert place.optical.values.min() > 0
        assert place.optical.values.max() < 0.8
        assert np.isfinite(place.sar.values).all()
        assert place.sar.values.mean() < -5


def test_a_place_without_towns_has_no_roofs():
    place = synthetic_scene((96, 96), generator=np.random.default_rng(0), settings=SceneSettings(towns=0))
    assert not (place.landcover == LandCover.URBAN).any()


def test_256_pixels_take_less_than_a_second():
    start = time.process_time()
    synthetic_scene((256, 256), generator=np.random.default_rng(9))
    assert time.process_time() - start < 1.0


def test_sizes_and_settings_without_sense_are_refused():
    with pytest.raises(ConfigError, match="too small"):
        synthetic_scene((16, 64), generator=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="looks"):
        SceneSettings(looks=0)
    with pytest.raises(ConfigError, match="sun"):
        SceneSettings(sun_zenith_deg=90)
