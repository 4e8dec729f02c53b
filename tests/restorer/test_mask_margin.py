"""Masks that are too narrow: what the models make of them, and how a user widens them."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

import eorestore
from eorestore.errors import UsageError
from eorestore.models.baselines import SceneEstimate
from eorestore.processing.cloud_mask import widen
from eorestore.raster import MemoryPixels, Window
from eorestore.restorer import restore_raster
from eorestore.restorer.consistency import fit_sar
from eorestore.restorer.request import Request
from eorestore.restorer.restore import load_restorer, mask_of
from eorestore.restorer.run import restore_file
from eorestore.restorer.scene import PackedMask, Scene
from small_scenes import make_world, read_tif, write_tif, write_world


@pytest.fixture(scope="module")
def world():
    return make_world((128, 128), seed=3)


@pytest.fixture(scope="module")
def narrow(world):
    """The world's mask (2 pixels wider than its clouds and shadows) without 5 pixels of its rim."""
    return ~widen(~world.mask, 5)


def error(world, result, where):
    return float(np.abs(result.values - world.place.optical.values)[:, where].mean())


def scene_of(world, **more):
    return {"cloudy": world.cloudy, "sar": world.place.sar, **more}


def write_narrow(folder, world, narrow):
    """The world's files and narrow.tif; returns the folder."""
    write_tif(write_world(folder, world) / "narrow.tif", narrow[None].astype(np.uint8), world.cloudy.grid)
    return folder


def request_of(folder, **more):
    mask = str(folder / "narrow.tif")
    return Request(folder / "s2.tif", folder / "out.tif", sar=folder / "s1.tif", mask=mask, s2_offset=0, **more)


def test_what_lies_beside_a_narrow_mask_does_not_count_as_clear(world, narrow, monkeypatch, caplog):
    doubted = restore_raster("scene-estimate", scene_of(world), mask=narrow)
    assert "leaves out the rim" in caplog.text
    monkeypatch.setattr(SceneEstimate, "doubts_mask", False)
    believed = restore_raster("scene-estimate", scene_of(world), mask=narrow)
    assert error(world, doubted.raster, narrow) < 0.5 * error(world, believed.raster, narrow)
    assert np.array_equal(doubted.raster.values[:, ~narrow], world.cloudy.values[:, ~narrow])
    assert np.array_equal(doubted.source, believed.source)


def test_a_mask_that_fits_is_believed(world, monkeypatch, caplog):
    doubted = restore_raster("scene-estimate", scene_of(world), mask=world.mask)
    monkeypatch.setattr(SceneEstimate, "doubts_mask", False)
    believed = restore_raster("scene-estimate", scene_of(world), mask=world.mask)
    assert "rim" not in caplog.text
    assert np.array_equal(doubted.raster.values, believed.raster.values)


def test_a_baseline_that_looks_at_nothing_near_by_believes_its_mask(world, narrow, caplog):
    restore_raster("sar-regression", scene_of(world), mask=narrow)
    assert "rim" not in caplog.text


def test_the_rim_is_the_same_for_all_tiles(world, narrow):
    restorer = load_restorer("scene-estimate", bands=world.cloudy.bands)
    small = replace(restorer, facts=replace(restorer.facts, tile=32))
    whole, tiled = (restore_raster(one, scene_of(world), mask=narrow).raster.values for one in (restorer, small))
    np.testing.assert_allclose(tiled, whole, atol=2e-6)


def test_forward_is_given_the_wider_mask(world, narrow, monkeypatch):
    seen, forward = [], SceneEstimate.forward

    @functools.wraps(forward)
    def listening(self, **inputs):
        seen.append(inputs["mask"][0, 0].numpy() > 0.5)
        return forward(self, **inputs)

    monkeypatch.setattr(SceneEstimate, "forward", listening)
    restore_raster("scene-estimate", scene_of(world), mask=narrow)
    assert len(seen) == 1
    assert [pixels for pixels in range(10) if np.array_equal(seen[0], widen(narrow, pixels))] == [6]


def test_the_consistency_map_learns_from_what_is_clear_beyond_the_rim(tmp_path, world, narrow, monkeypatch):
    hidden = []

    def listening(scene, mask, **more):
        hidden.append(mask.read(Window(0, 0, *scene.size)))
        return fit_sar(scene, mask, **more)

    monkeypatch.setattr("eorestore.restorer.restore.fit_sar", listening)
    restore_raster("scene-estimate", scene_of(world), mask=narrow, save=["consistency"])
    restore_file(request_of(write_narrow(tmp_path, world, narrow), model="scene-estimate", save=("consistency",)))
    assert len(hidden) == 2
    for mask in hidden:
        assert np.array_equal(mask, widen(narrow, 6))


def test_a_network_adapts_to_what_is_clear_beyond_the_rim(world, narrow):
    restorer = load_restorer("scene-estimate", bands=world.cloudy.bands)
    scene = Scene({key: MemoryPixels(raster) for key, raster in scene_of(world).items()}, "cloudy")
    for mask, wider in ((narrow, widen(narrow, 6)), (world.mask, world.mask)):
        sample = restorer.sample(scene, mask_of(scene, mask))
        for piece in (sample.overview, *sample.windows):
            assert np.array_equal(piece["mask"][0, 0].numpy() > 0.5, wider)


def test_a_margin_widens_the_mask(tmp_path, world, narrow):
    wide = restore_raster("inpaint", scene_of(world), mask=widen(narrow, 3))
    same = restore_raster("inpaint", scene_of(world), mask=narrow, mask_margin=3)
    assert np.array_equal(same.source, wide.source)
    assert np.array_equal(same.raster.values, wide.raster.values)
    again = eorestore.restore(world.cloudy, sar=world.place.sar, model="inpaint", mask=narrow, mask_margin=3)
    assert np.array_equal(again.values, wide.raster.values)
    folder = write_narrow(tmp_path, world, narrow)
    facts = restore_file(request_of(folder, model="inpaint", mask_margin=3)).facts
    assert facts["mask_margin"] == 3
    assert facts["masked_share"] == pytest.approx(widen(narrow, 3).mean())
    assert np.array_equal(
        (read_tif(folder / "out.tif") != read_tif(folder / "s2.tif")).any(axis=0) & ~widen(narrow, 3),
        np.zeros_like(narrow),
    )


@pytest.mark.parametrize(("mask", "margin", "told"), [("auto", -1, "margin of -1"), (None, 2, "nothing to widen")])
def test_margins_that_make_no_sense_are_refused(world, mask, margin, told):
    with pytest.raises(UsageError, match=told):
        restore_raster("inpaint", scene_of(world), mask=mask, mask_margin=margin)


def test_a_packed_mask_grows_across_its_blocks():
    mask = np.zeros((1100, 1050), dtype=bool)
    mask[1022, 1022] = mask[5, 1025] = True
    packed = PackedMask.from_array(mask)
    assert np.array_equal(packed.widened(4).read(Window(0, 0, *mask.shape)), widen(mask, 4))
    assert packed.widened(0) is packed
