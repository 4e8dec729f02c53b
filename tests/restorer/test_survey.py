"""The pass over a scene before it is restored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eorestore.errors import DataError
from eorestore.processing.cloud_mask import cloud_and_shadow, shadow_limits, widen
from eorestore.raster import MemoryPixels, Window
from eorestore.restorer import survey as survey_module
from eorestore.restorer.restore import baseline_processor
from eorestore.restorer.scene import PackedMask, Scene
from eorestore.restorer.survey import automatic_mask, survey
from small_scenes import make_world


@pytest.fixture(scope="module")
def world():
    return make_world((90, 77), seed=4)


def look(world, *, mask="given", wants_sample=True, cloudy=None):
    cloudy = world.cloudy if cloudy is None else cloudy
    scene = Scene({"cloudy": MemoryPixels(cloudy), "sar": MemoryPixels(world.place.sar)}, "cloudy")
    array = world.mask if isinstance(mask, str) else mask
    window = None if array is None else (lambda place: array[place.rows, place.columns])
    return survey(scene, baseline_processor(cloudy.bands), mask=window, wants_sample=wants_sample)


def test_shares_count_valid_pixels_alone(world):
    valid = np.ones(world.mask.shape, bool)
    valid[:30] = False
    found = look(world, cloudy=replace(world.cloudy, valid=valid))
    assert found.masked_share == pytest.approx(world.mask[30:].mean())


def test_without_mask_and_sample_only_the_first_valid_pixel_is_looked_for(world, monkeypatch):
    monkeypatch.setattr("eorestore.restorer.survey._STEP", 16)
    reads = []

    class Counting(MemoryPixels):
        def read_raw(self, window):
            reads.append(window)
            return super().read_raw(window)

    valid = np.ones(world.mask.shape, bool)
    valid[:20] = False
    scene = Scene({"cloudy": Counting(replace(world.cloudy, valid=valid))}, "cloudy")
    found = survey(scene, baseline_processor(world.cloudy.bands), mask=None, wants_sample=False)
    assert found.mask is None
    assert found.masked_share == 1
    assert max(window.row for window in reads) == 16
    scene = Scene({"cloudy": Counting(replace(world.cloudy, valid=np.zeros_like(valid)))}, "cloudy")
    with pytest.raises(DataError, match="no valid pixel"):
        survey(scene, baseline_processor(world.cloudy.bands), mask=None, wants_sample=False)


def test_the_mask_is_kept_bit_by_bit(world):
    found = look(world)
    assert np.array_equal(found.mask.read(Window(0, 0, *world.mask.shape)), world.mask)
    assert np.array_equal(found.mask.read(Window(5, 13, 40, 31)), world.mask[5:45, 13:44])


def test_a_packed_mask_comes_back_from_any_window():
    mask = np.random.default_rng(0).random((23, 61)) < 0.5
    packed = PackedMask.from_array(mask)
    for window in (Window(0, 0, 23, 61), Window(3, 7, 9, 20), Window(22, 60, 1, 1), Window(0, 8, 2, 8)):
        assert np.array_equal(packed.read(window), mask[window.rows, window.columns])


def test_a_small_scene_is_its_own_overview(world):
    sample = look(world).sample
    assert sample.factor == 1
    assert len(sample.windows) == 1
    np.testing.assert_array_equal(sample.overview["mask"][0, 0].numpy() == 1, world.mask)
    clear = ~world.mask
    np.testing.assert_allclose(sample.overview["cloudy"][0].numpy()[:, clear], world.cloudy.values[:, clear])


def test_the_overview_of_a_large_scene_averages_clear_pixels_alone(world, monkeypatch):
    monkeypatch.setattr(survey_module, "OVERVIEW", 30)
    sample = look(world).sample
    assert sample.factor == 3
    band, clear = world.cloudy.values[3], ~world.mask
    for row, column in ((0, 0), (10, 20), (29, 25)):
        place = slice(3 * row, 3 * row + 3), slice(3 * column, 3 * column + 3)
        inside = clear[place]
        assert bool(sample.overview["mask"][0, 0, row, column]) == (not inside.any())
        if inside.any():
            value = float(sample.overview["cloudy"][0, 3, row, column])
            assert value == pytest.approx(float(band[place][inside].mean()), abs=1e-5)
    sar = world.place.sar.values[0, 30:33, 60:63]
    encoded = (np.clip(sar, -25, 0) + 25) / 25
    assert float(sample.overview["sar"][0, 0, 10, 20]) == pytest.approx(float(encoded.mean()), abs=1e-4)


def test_hidden_values_do_not_enter_the_sample(world):
    spoiled = np.where(world.mask, np.float32(6.5), world.cloudy.values)
    one, two = look(world).sample, look(world, cloudy=replace(world.cloudy, values=spoiled)).sample
    clear = one.overview["mask"] == 0
    assert np.array_equal(one.overview["cloudy"][0][:, clear[0, 0]], two.overview["cloudy"][0][:, clear[0, 0]])


def test_a_scene_without_a_valid_pixel_is_refused(world):
    with pytest.raises(DataError, match="no valid pixel"):
        look(world, cloudy=replace(world.cloudy, valid=np.zeros(world.mask.shape, bool)))


def test_a_mask_over_everything_leaves_a_sample_without_clear_pixels(world):
    everything = np.ones_like(world.mask)
    assert (look(world, mask=everything).sample.overview["mask"] == 1).all()
    assert look(world, mask=everything, wants_sample=False).masked_share == 1


def test_the_automatic_mask_is_the_same_by_windows_and_as_a_whole():
    world = make_world((260, 230), seed=6)
    raster = world.cloudy
    cloud, shadow = cloud_and_shadow(raster, shadow_limits([raster]))
    whole = widen(cloud | shadow)
    mask = automatic_mask(Scene({"cloudy": MemoryPixels(raster)}, "cloudy"))
    pieces = np.zeros_like(whole)
    for row in range(0, 260, 100):
        for column in range(0, 230, 100):
            window = Window(row, column, min(100, 260 - row), min(100, 230 - column))
            pieces[window.rows, window.columns] = mask(window)
    assert whole.any()
    assert np.array_equal(pieces, whole)
