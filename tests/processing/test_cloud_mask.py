"""Clouds and shadows by thresholds: on flat colours, on simulated clouds, on real scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import MaskError
from eorestore.processing.cloud_mask import (
    HALO,
    SHADOW_REACH,
    ShadowLimits,
    cloud_and_shadow,
    cloud_score,
    shadow_limits,
    widen,
)
from eorestore.raster import SENTINEL2_L1C, SENTINEL2_L2A, BandSet, Grid, Raster, Window
from eorestore.raster.files import open_raster
from eorestore.raster.products import Declared
from eorestore.raster.sky import THICK_CLOUD

# Reflectance of B01 ... B12 at the top of the atmosphere, rounded from textbook spectra.
MEADOW = (0.13, 0.10, 0.09, 0.06, 0.10, 0.22, 0.28, 0.30, 0.31, 0.10, 0.001, 0.20, 0.10)
SNOW = (0.85, 0.85, 0.82, 0.82, 0.82, 0.81, 0.80, 0.79, 0.78, 0.40, 0.004, 0.10, 0.08)
SAND = (0.18, 0.20, 0.28, 0.38, 0.40, 0.42, 0.43, 0.44, 0.45, 0.20, 0.002, 0.55, 0.50)
WATER = (0.12, 0.08, 0.06, 0.04, 0.03, 0.02, 0.02, 0.02, 0.02, 0.01, 0.001, 0.01, 0.01)
CLOUD = tuple(sum(pair) / 2 for pair in THICK_CLOUD.values())
SHADOW = tuple(0.35 * value for value in MEADOW)
ALWAYS = ShadowLimits(1.0, 1.0)


def painted(ground: tuple[float, ...], *patches: tuple[tuple[float, ...], Window], size: int = 200) -> Raster:
    values = np.empty((13, size, size), np.float32)
    values[:] = np.array(ground, np.float32)[:, None, None]
    for colour, window in patches:
        values[:, window.rows, window.columns] = np.array(colour, np.float32)[:, None, None]
    grid = Grid("LOCAL", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), size, size)
    return Raster(values, np.ones((size, size), bool), SENTINEL2_L1C, grid)


PATCH = Window(90, 90, 30, 30)


def of_level(raster: Raster, level: str) -> Raster:
    return raster if level == "L1C" else raster.select(SENTINEL2_L2A.names)


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_a_bright_white_cloud_is_found_where_it_is(level: str):
    scene = of_level(painted(MEADOW, (CLOUD, PATCH)), level)
    cloud, shadow = cloud_and_shadow(scene, ShadowLimits(infrared=0.15, blue=0.08))
    inside = np.zeros_like(cloud)
    inside[PATCH.rows, PATCH.columns] = True
    assert widen(cloud)[inside].all()
    assert not cloud[~widen(inside, 6)].any()
    assert not shadow.any()


def test_a_thick_cloud_that_a_low_sun_reddens_is_cloud_to_its_core():
    red = tuple(value * factor for value, factor in zip(CLOUD, (0.85, 0.9, 1, 1.08) + (1,) * 9, strict=True))
    assert red[1] / red[3] < 0.85  # as red as soil
    score = cloud_score(painted(MEADOW, (red, PATCH)))
    assert score[PATCH.rows, PATCH.columns][3:-3, 3:-3].min() > 0.2


@pytest.mark.parametrize("level", ["L1C", "L2A"])
@pytest.mark.parametrize("ground", [MEADOW, SNOW, SAND, WATER], ids=["meadow", "snow", "sand", "water"])
def test_clear_ground_is_no_cloud(level: str, ground: tuple[float, ...]):
    scene = of_level(painted(ground, size=40), level)
    cloud, shadow = cloud_and_shadow(scene, shadow_limits([scene]))
    assert not cloud.any()
    assert not shadow.any()


def test_the_score_lies_between_zero_and_one():
    score = cloud_score(painted(MEADOW, (CLOUD, PATCH), (SNOW, Window(0, 0, 40, 40))))
    assert score.dtype == np.float32
    assert score.min() == 0
    assert 0.5 < score.max() <= 1


def test_a_missing_band_is_named_with_a_way_out():
    scene = painted(MEADOW, size=8).select(["B02", "B03", "B04", "B08"])
    with pytest.raises(MaskError, match="needs B01, B11") as caught:
        cloud_score(scene)
    assert "--mask" in caught.value.fix


def test_a_shadow_lies_away_from_the_sun_only():
    away, towards = Window(130, 90, 25, 30), Window(50, 90, 25, 30)
    scene = painted(MEADOW, (CLOUD, PATCH), (SHADOW, away), (SHADOW, towards))
    limits = shadow_limits([scene])
    sun_in_the_south = cloud_and_shadow(scene, limits, sun_azimuth=180)[1]
    assert sun_in_the_south[towards.rows, towards.columns].mean() > 0.9
    assert not sun_in_the_south[away.rows, away.columns].any()
    sun_in_the_north = cloud_and_shadow(scene, limits, sun_azimuth=0)[1]
    assert sun_in_the_north[away.rows, away.columns].mean() > 0.9
    assert not sun_in_the_north[towards.rows, towards.columns].any()
    anywhere = cloud_and_shadow(scene, limits)[1]
    assert anywhere[away.rows, away.columns].mean() > 0.9
    assert anywhere[towards.rows, towards.columns].mean() > 0.9


def test_a_sun_in_the_east_throws_shadows_to_the_west():
    west = Window(90, 50, 30, 25)
    scene = painted(MEADOW, (CLOUD, PATCH), (SHADOW, west))
    limits = shadow_limits([scene])
    assert cloud_and_shadow(scene, limits, sun_azimuth=90)[1][west.rows, west.columns].mean() > 0.9
    assert not cloud_and_shadow(scene, limits, sun_azimuth=270)[1].any()


def test_dark_ground_far_from_any_cloud_is_no_shadow():
    far = Window(0, 0, 40, 40)
    scene = painted(MEADOW, (CLOUD, Window(170, 170, 25, 25)), (SHADOW, far))
    assert not cloud_and_shadow(scene, shadow_limits([scene]))[1][far.rows, far.columns].any()


def test_without_a_cloud_nothing_is_shadow():
    scene = painted(MEADOW, (SHADOW, PATCH))
    assert not cloud_and_shadow(scene, ALWAYS)[1].any()


def test_water_beside_a_cloud_is_no_shadow():
    lake = Window(130, 90, 40, 30)
    scene = painted(MEADOW, (CLOUD, PATCH), (WATER, lake))
    assert not cloud_and_shadow(scene, ALWAYS)[1][134:166, 94:116].any()


def test_invalid_pixels_are_neither_cloud_nor_shadow():
    scene = painted(MEADOW, (CLOUD, PATCH), (SHADOW, Window(130, 90, 25, 30)))
    scene.valid[95:140, 95:100] = False
    cloud, shadow = cloud_and_shadow(scene, shadow_limits([scene]))
    assert not (cloud | shadow)[~scene.valid].any()


def test_an_overcast_scene_has_cloud_and_no_shadow():
    scene = painted(CLOUD, size=64)
    cloud, shadow = cloud_and_shadow(scene, shadow_limits([scene]))
    assert cloud.all()
    assert not shadow.any()


@pytest.mark.parametrize("azimuth", [None, 150.0])
def test_blocks_with_a_halo_give_the_mask_of_the_whole(azimuth: float | None):
    scene = clouded(3, "L1C")[0]
    limits = shadow_limits([scene])
    cloud, shadow = cloud_and_shadow(scene, limits, sun_azimuth=azimuth)
    whole = widen(cloud | shadow)
    for window in (Window(0, 0, 90, 100), Window(130, 110, 60, 90), Window(200, 230, 120, 90)):
        wide = window.grow(HALO, within=scene.grid.size)
        block = np.logical_or(*cloud_and_shadow(scene.crop(wide), limits, sun_azimuth=azimuth))
        inner = window.relative_to(wide)
        np.testing.assert_array_equal(widen(block)[inner.rows, inner.columns], whole[window.rows, window.columns])


def test_shadow_limits_of_pieces_are_those_of_the_whole():
    scene = painted(MEADOW, (SHADOW, Window(0, 0, 200, 100)))
    pieces = [scene.crop(Window(0, 0, 200, 100)), scene.crop(Window(0, 100, 200, 100))]
    assert shadow_limits(pieces) == shadow_limits([scene])


def test_widening_is_a_round_dilation():
    mask = np.zeros((41, 41), bool)
    mask[20, 20] = mask[5, 33] = True
    down, across = np.mgrid[-4:5, -4:5]
    np.testing.assert_array_equal(widen(mask, 4), binary_dilation(mask, down**2 + across**2 <= 16))
    assert not widen(np.zeros((5, 5), bool), SHADOW_REACH).any()


def clouded(seed: int, level: str) -> tuple[Raster, np.ndarray, np.ndarray, np.ndarray]:
    """A clouded invented scene, where cloud is thick, where it is at all, where its shadow lies."""
    clear = of_level(synthetic_scene((320, 320), generator=np.random.default_rng(seed)).optical, level)
    sky = CloudSettings(
        cover=0.35, size_px=(20, 100), thin_share=0, cirrus_probability=0, sun_azimuth_deg=(150, 150),
        height_m=(300, 900),
    )  # fmt: skip
    found = simulate_clouds(clear, sky, generator=np.random.default_rng(seed + 10))
    return replace(clear, values=found.image), found.thickness > 0.5, found.cloud, found.shadow


@pytest.mark.parametrize("level", ["L1C", "L2A"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_simulated_clouds_are_found_with_stated_recall_and_precision(seed: int, level: str):
    scene, thick, clouds, shadows = clouded(seed, level)
    cloud, shadow = cloud_and_shadow(scene, shadow_limits([scene]), sun_azimuth=150)
    assert cloud[thick].mean() > 0.94
    assert clouds[cloud].mean() > 0.88
    assert (clouds | shadows)[shadow].mean() > 0.70
    mask = widen(cloud | shadow)
    assert mask[thick | shadows].mean() > 0.90
    assert (clouds | shadows)[mask].mean() > 0.74


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_clear_invented_land_stays_clear(level: str):
    for seed in range(3):
        scene = of_level(synthetic_scene((320, 320), generator=np.random.default_rng(seed)).optical, level)
        cloud, shadow = cloud_and_shadow(scene, shadow_limits([scene]), sun_azimuth=150)
        assert cloud.mean() < 0.01
        assert (cloud | shadow).mean() < 0.02


def masked_share(scene: Raster) -> float:
    return float(widen(np.logical_or(*cloud_and_shadow(scene, shadow_limits([scene])))).mean())


@pytest.mark.real
@pytest.mark.parametrize(
    ("scene", "least", "most"),
    [
        ("s2c/0000200/20200823T054639_20200823T055618_T43RCP", 0.40, 0.90),
        ("s2c/0000200/20200604T054639_20200604T054831_T43RCP", 0.0, 0.05),
        ("s2a/0000200/20200604T054639_20200604T054831_T43RCP", 0.0, 0.05),
        ("s2a/0000200/20200813T054639_20200813T054952_T43RCP", 0.0, 0.05),
    ],
)
def test_real_scenes_are_as_cloudy_as_they_look(real_data: Path, scene: str, least: float, most: float):
    assert least <= masked_share(open_raster(real_data / "cloud" / "ssl4eo" / scene).read()) <= most


@pytest.mark.real
@pytest.mark.parametrize("place", ["38D_378R_2_3", "637U_59R_1_3"])
@pytest.mark.parametrize("level", ["S2L1C", "S2L2A"])
def test_dry_land_and_farmland_without_cloud_stay_clear(real_data: Path, place: str, level: str):
    path = real_data / "cloud" / "terramind" / place / f"{level}.tif"
    assert masked_share(open_raster(path).read()) < 0.05


@pytest.mark.real
def test_an_undeclared_offset_makes_clear_ground_look_cloudy(real_data: Path):
    path = real_data / "cloud" / "terramind" / "282D_485L_3_3" / "S2L1C.tif"
    share = {
        offset: masked_share(open_raster(path, declared=Declared(s2_offset=offset)).read()) for offset in (0, 1000)
    }
    assert share[1000] < 0.15
    assert share[0] > 0.5


@pytest.mark.real
def test_snow_and_ice_with_the_offset_declared_are_no_cloud(real_data: Path):
    path = real_data / "cloud" / "terramind" / "609U_541L_3_0" / "S2L1C.tif"
    assert masked_share(open_raster(path, declared=Declared(s2_offset=1000)).read()) < 0.05


def test_bands_may_come_in_any_order():
    scene = painted(MEADOW, (CLOUD, PATCH))
    turned = scene.select(tuple(reversed(scene.bands.names)))
    assert isinstance(turned.bands, BandSet)
    np.testing.assert_array_equal(cloud_score(turned), cloud_score(scene))
