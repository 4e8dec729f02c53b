"""Simulated clouds: spectra, cover, shadows."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy.ndimage import shift as moved

from eorestore.data.cloud_simulation import (
    CLOUD_THRESHOLD,
    CloudSettings,
    shadow_offset,
    simulate_clouds,
)
from eorestore.errors import BandError, ConfigError, MaskError, UnitError
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A, Band, BandSet, Grid, Raster, Unit
from eorestore.raster.sky import THICK_CLOUD

OPAQUE = {"thick": (1.0, 1.0), "thin_share": 0.0, "cirrus_probability": 0.0}


def _scene(side: int = 256, bands: BandSet = SENTINEL2_L1C, value: float = 0.1) -> Raster:
    values = np.full((len(bands), side, side), value, np.float32)
    if "B10" in bands:
        values[bands.index("B10")] = 0.001
    grid = Grid('PROJCS["any"]', (10.0, 0, 5e5, 0, -10.0, 5e6), side, side)
    return Raster(values, np.ones((side, side), bool), bands, grid)


def _simulate(seed: int = 0, *, scene: Raster | None = None, masks=None, **settings):
    generator = np.random.default_rng(seed)
    return simulate_clouds(scene or _scene(), CloudSettings(**settings), generator=generator, masks=masks)


@pytest.mark.parametrize("kind", ["blobs", "fractal"])
@pytest.mark.parametrize("cover", [0.0, 0.05, 0.2, 0.4, 0.7, 0.9, 1.0])
def test_the_cover_asked_for_is_reached(kind: str, cover: float):
    for seed in range(3):
        assert _simulate(seed, kind=kind, cover=cover).cloud.mean() == pytest.approx(cover, abs=0.02)


def test_real_masks_reach_the_cover_too():
    rows, columns = np.mgrid[:200, :200]
    mask = np.hypot(rows - 80, columns - 90) < 60
    for seed in range(3):
        sky = _simulate(seed, kind="masks", cover=0.3, masks=[mask])
        assert sky.cloud.mean() == pytest.approx(0.3, abs=0.02)


def test_thick_cloud_has_the_measured_spectrum_within_its_jitter():
    sky = _simulate(cover=0.5, texture=0.0, colour=0.0, **OPAQUE)
    seen = sky.image[:, sky.thickness > 0.999].mean(axis=1)
    measured = np.array([sum(THICK_CLOUD[name]) / 2 for name in SENTINEL2_L1C.names])
    assert (sky.thickness > 0.999).mean() > 0.2
    np.testing.assert_allclose(seen, measured, rtol=0.075)


def test_the_colour_of_a_cloud_varies_as_measured():
    sky = _simulate(cover=0.9, texture=0.0, **OPAQUE)
    inside = sky.image[:, sky.thickness > 0.999]
    spread = dict(zip(SENTINEL2_L1C.names, inside.std(axis=1) / inside.mean(axis=1), strict=True))
    assert spread["B02"] == pytest.approx(0.048, rel=0.35)
    assert spread["B09"] == pytest.approx(0.29, rel=0.35)
    assert spread["B06"] < spread["B11"] < spread["B09"]
    plain = _simulate(cover=0.9, texture=0.0, colour=0.0, **OPAQUE)
    np.testing.assert_array_equal(plain.thickness, sky.thickness)
    assert plain.image[:, plain.thickness > 0.999].std(axis=1).max() < 1e-3


def test_cirrus_band_stays_dark_under_thick_low_cloud():
    sky = _simulate(cover=0.6, **OPAQUE)
    under = sky.image[SENTINEL2_L1C.index("B10"), sky.thickness > 0.9]
    assert under.max() < 0.003
    assert under.mean() == pytest.approx(0.0015, abs=0.0005)


def test_cirrus_raises_b10_and_dims_the_short_wave_infrared():
    ice = _simulate(3, cover=0.4, cirrus_probability=1.0, shadow=(0.0, 0.0), thin_share=0.0)
    names = SENTINEL2_L1C.index
    high = ice.image[names("B10")] > 0.01
    assert 0.05 < high.mean() < 0.4
    assert ice.image[names("B10")].max() > 0.02
    low = ~high & (ice.thickness > 0.9)
    ratio = ice.image[names("B11")] / ice.image[names("B04")]
    veil = high & (ice.thickness < 0.6)
    assert ratio[veil].mean() < ratio[low].mean()


@pytest.mark.parametrize(
    ("azimuth", "expected"),
    [(0, (150, 0)), (90, (0, -150)), (180, (-150, 0)), (270, (0, 150)), (135, (-106, -106))],
)
def test_a_cloud_1500_m_up_under_a_sun_at_45_degrees_casts_its_shadow_150_pixels_away(azimuth, expected):
    offset = shadow_offset(_scene().grid, 1500.0, zenith_rad=math.radians(45), azimuth_rad=math.radians(azimuth))
    assert offset == expected


def test_degrees_shrink_along_a_parallel():
    step = 10 / 111_320
    grid = Grid("EPSG:4326", (step, 0, 10.0, 0, -step, 60.0 + 50 * step), 100, 100)
    rows, columns = shadow_offset(grid, 1500.0, zenith_rad=math.radians(45), azimuth_rad=math.radians(225))
    assert (rows, columns) == (-106, 212)


@pytest.mark.parametrize("azimuth", [20.0, 110.0, 200.0, 335.0])
def test_the_shadow_is_the_cloud_moved_away_from_the_sun(azimuth: float):
    scene = _scene()
    sky = _simulate(
        5,
        cover=0.15,
        size_px=(20, 50),
        height_m=(500.0, 500.0),
        sun_zenith_deg=(45.0, 45.0),
        sun_azimuth_deg=(azimuth, azimuth),
        shadow=(0.5, 0.5),
        **OPAQUE,
    )
    offset = (50 * math.cos(math.radians(azimuth)), -50 * math.sin(math.radians(azimuth)))
    row = SENTINEL2_L1C.index("B12")
    darkening = 1 - sky.image[row] / scene.values[row]
    expected = 0.5 * moved(sky.thickness, [round(part) for part in offset], order=0, cval=np.nan)
    seen = (sky.thickness == 0) & np.isfinite(expected)
    assert (expected[seen] > 0.4).sum() > 500
    np.testing.assert_allclose(darkening[seen], expected[seen], atol=0.04)  # the path stays


def test_shadows_come_from_clouds_outside_the_scene():
    geometry = {"height_m": (1000.0, 1000.0), "sun_zenith_deg": (45.0, 45.0), "sun_azimuth_deg": (180.0, 180.0)}
    # The sun stands in the south: what lies in shadow on the last 100 rows has its cloud south of the scene.
    skies = [_simulate(seed, cover=0.3, **geometry) for seed in range(6)]
    assert all(sky.shadow[156:].any() for sky in skies)
    assert np.mean([sky.shadow[156:].mean() for sky in skies]) > 0.1


def test_cloud_is_drawn_over_shadow():
    sky = _simulate(cover=0.7, sun_zenith_deg=(50, 55), texture=0.0, colour=0.0, **OPAQUE)
    assert not (sky.cloud & sky.shadow).any()
    assert sky.shadow.mean() > 0.03
    opaque = sky.thickness > 0.999
    assert np.ptp(sky.image[SENTINEL2_L1C.index("B04"), opaque]) < 1e-3


def test_a_shadow_is_deeper_in_the_infrared_than_in_the_blue():
    sky = _simulate(cover=0.3)
    inside = sky.shadow & (sky.thickness == 0)
    loss = 1 - sky.image[:, inside].mean(axis=1) / _scene().values[:, 0, 0]
    assert loss[SENTINEL2_L1C.index("B12")] > loss[SENTINEL2_L1C.index("B02")] > 0


def test_shade_lies_over_all_of_the_ground():
    scene = _scene()
    sky = _simulate(2, scene=scene, cover=0.2, shade=(0.3, 0.6))
    plain = _simulate(2, scene=scene, cover=0.2)
    np.testing.assert_array_equal(sky.cloud, plain.cloud)
    assert (sky.shadow | sky.cloud).all()
    under = sky.shadow & (sky.thickness == 0)
    infrared = SENTINEL2_L1C.index("B12")
    assert (sky.image[infrared, under] < 0.8 * scene.values[infrared, under]).all()


def test_a_varied_sky_has_other_colours_and_the_same_outlines():
    scene, thick = _scene(), SENTINEL2_L1C.index("B04")
    skies = [_simulate(4, scene=scene, cover=0.4, variety=variety) for variety in (0.0, 0.1, 1.0)]
    for sky in skies[1:]:
        np.testing.assert_array_equal(sky.cloud, skies[0].cloud)
        np.testing.assert_array_equal(sky.shadow, skies[0].shadow)
    near, far = (np.abs(sky.image - skies[0].image)[thick, sky.cloud].mean() for sky in skies[1:])
    assert 0 < near < far
    clear = (skies[0].thickness == 0) & ~skies[0].shadow
    assert np.abs(skies[2].image - scene.values)[:, clear].mean() < 0.001


def test_varied_shadows_may_take_the_same_of_all_bands():
    scene, depths = _scene(), []
    for seed in range(12):
        sky = _simulate(seed, scene=scene, cover=0.3, variety=1.0)
        inside = sky.shadow & (sky.thickness == 0)
        loss = 1 - sky.image[:, inside].mean(axis=1) / scene.values[:, 0, 0]
        depths.append(loss[SENTINEL2_L1C.index("B02")] / loss[SENTINEL2_L1C.index("B12")])
    plain = _simulate(0, scene=scene, cover=0.3)
    inside = plain.shadow & (plain.thickness == 0)
    loss = 1 - plain.image[:, inside].mean(axis=1) / scene.values[:, 0, 0]
    assert max(depths) > loss[SENTINEL2_L1C.index("B02")] / loss[SENTINEL2_L1C.index("B12")]
    assert all(0 < depth <= 1.01 for depth in depths)


def test_clear_pixels_are_untouched():
    scene = _scene()
    sky = _simulate(scene=scene, cover=0.3)
    clear = (sky.thickness == 0) & ~sky.shadow
    changed = (sky.image != scene.values).any(axis=0)
    assert clear.mean() > 0.2
    # Below the threshold of `shadow` the ground may have lost up to 5 % of its light, nowhere more.
    assert (sky.image[:, clear] >= 0.949 * scene.values[:, clear]).all()
    assert changed[clear].mean() < 0.2


def test_haze_stays_below_the_cloud_threshold():
    sky = _simulate(cover=0.0, haze=0.04)
    assert 0.01 < sky.thickness.mean() < CLOUD_THRESHOLD
    assert not sky.cloud.any()


def test_the_same_generator_gives_the_same_clouds_and_another_gives_others():
    first, again, other = (_simulate(seed, cover=0.4) for seed in (7, 7, 8))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.cloud != other.cloud).any()


def test_fewer_bands_see_the_same_clouds():
    whole = _simulate(4, cover=0.4)
    l2a = _simulate(4, scene=_scene(bands=SENTINEL2_L2A), cover=0.4)
    three = _simulate(4, scene=_scene(bands=SENTINEL2_L1C.select(["B08", "B03"])), cover=0.4)
    varied = [
        _simulate(4, scene=_scene(bands=bands), cover=0.4, variety=1.0) for bands in (SENTINEL2_L1C, SENTINEL2_L2A)
    ]
    np.testing.assert_allclose(varied[1].image, np.delete(varied[0].image, 10, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(whole.cloud, l2a.cloud)
    np.testing.assert_allclose(l2a.image, np.delete(whole.image, 10, axis=0), rtol=1e-6)
    np.testing.assert_allclose(three.image, whole.image[[7, 2]], rtol=1e-6)


def test_thickness_stays_a_share():
    for seed in range(4):
        thickness = _simulate(seed, cover=0.6, cirrus_probability=1.0, haze=0.03).thickness
        assert thickness.dtype == np.float32
        assert thickness.min() >= 0
        assert thickness.max() <= 1


def test_a_scene_of_256_pixels_takes_a_fraction_of_a_second():
    scene = _scene()
    times = []
    for seed in range(3):
        start = time.process_time()
        _simulate(seed, scene=scene, cover=0.5)
        times.append(time.process_time() - start)
    assert min(times) < 0.4


def test_bands_of_other_sensors_get_the_cloud_of_their_neighbour_in_wavelength():
    names = {"blue": 0.485, "green": 0.563, "red": 0.655, "nir": 0.82}
    sensor = BandSet(tuple(Band(name, Unit.REFLECTANCE, length) for name, length in names.items()))
    named = SENTINEL2_L1C.select(("B02", "B03", "B04", "B08"))
    one, two = (
        _simulate(4, scene=_scene(64, bands), size_px=(8.0, 30.0), shadow=(0.0, 0.0)) for bands in (sensor, named)
    )
    assert one.cloud.any()
    np.testing.assert_array_equal(one.image, two.image)


def test_a_band_beside_the_absorption_of_vapour_is_not_taken_as_dark():
    for name, length, expected in (("edge", 0.93, "B8A"), ("cirrus", 1.374, "B10"), ("gap", 1.24, "B11")):
        scene = _scene(32, BandSet((Band(name, Unit.REFLECTANCE, length),)))
        image = _simulate(0, scene=scene, cover=1.0, colour=0.0, texture=0.0, haze=0.0, **OPAQUE).image
        low, high = sorted(THICK_CLOUD[expected])
        assert 0.9 * low < np.median(image) < 1.1 * high


def test_foreign_bands_and_units_are_refused():
    with pytest.raises(BandError, match="VV"):
        _simulate(scene=_scene(bands=SENTINEL1))
    with pytest.raises(BandError, match="thermal"):
        _simulate(scene=_scene(bands=BandSet((Band("thermal", Unit.REFLECTANCE, 10.9),))))
    with pytest.raises(UnitError, match="reflectance"):
        _simulate(scene=_scene(bands=SENTINEL2_L1C.with_unit(Unit.COUNT)))
    with pytest.raises(MaskError, match="none is given"):
        _simulate(kind="masks")


@pytest.mark.parametrize(
    "settings",
    [
        {"cover": 1.2},
        {"cover": math.nan},
        {"haze": 0.2},
        {"shadow": (0.4, 1.2)},
        {"shade": (-0.1, 0.5)},
        {"size_px": (150.0, 20.0)},
        {"size_px": (1.0, 20.0)},
        {"sun_zenith_deg": (30.0, 89.0)},
        {"kind": "stripes"},
    ],
)
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        CloudSettings(**settings)
