"""Without a mask every pixel is restored; what is clear is then taken from the built-in mask, to learn from."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.raster import MemoryPixels
from eorestore.restorer import restore_raster
from eorestore.restorer.restore import load_restorer
from eorestore.restorer.scene import Scene
from small_scenes import make_world


@pytest.fixture(scope="module")
def world():
    return make_world((128, 128), seed=3)


def inputs(world, cloudy=None):
    return {"cloudy": world.cloudy if cloudy is None else cloudy, "sar": world.place.sar}


def error(world, result, where):
    return float(np.abs(result.raster.values - world.place.optical.values)[:, where].mean())


def test_a_scene_without_a_mask_is_learned_from_what_looks_clear(world, caplog):
    guessed = restore_raster("scene-estimate", inputs(world), mask=None)
    assert "what the built-in one leaves out is taken for clear" in caplog.text
    blind = restore_raster("scene-estimate", inputs(world), mask=np.ones((128, 128), bool))
    for where in (world.mask, ~world.mask):
        assert error(world, guessed, where) < 0.7 * error(world, blind, where)
    assert (guessed.source == blind.source).all()


def test_a_scene_in_which_no_cloud_is_found_may_as_well_lie_in_shadow(world, caplog):
    clear = world.place.optical
    guessed, blind = (
        restore_raster("scene-estimate", inputs(world, clear), mask=mask) for mask in (None, np.ones((128, 128), bool))
    )
    assert "built-in" not in caplog.text
    assert np.array_equal(guessed.raster.values, blind.raster.values)


def test_a_network_can_adapt_without_a_mask(world):
    restorer = load_restorer("scene-estimate", bands=world.cloudy.bands)
    scene = Scene({key: MemoryPixels(raster) for key, raster in inputs(world).items()}, "cloudy")
    hidden = restorer.sample(scene, None).overview["mask"].mean()
    assert 0.1 < float(hidden) < 0.95
