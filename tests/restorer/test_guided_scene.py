"""Guided sharpening in memory: the guide helps where it explains, does no harm where it does not, and is exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from eorestore.data.single_scene import Piece, hold_back
from eorestore.errors import ConfigError, UnitError, UsageError
from eorestore.models.scene_enlargement import SceneEnlargement, Stages
from eorestore.models.table import build_model
from eorestore.models.zero_shot_sr import with_guide
from eorestore.processing.block_means import block_mean
from eorestore.raster import Raster, Unit
from eorestore.restorer.guided_network import regressors_of
from eorestore.restorer.guided_scene import UNGUIDED, guided_task, sharpen_scene
from eorestore.restorer.scene_learning import learn_scene
from eorestore.restorer.zero_shot import FALL_BACK
from eorestore.restorer.zero_shot_recipe import load_recipe
from guided_scenes import place

QUICK = (
    "network.start=none", "network.settings={channels: 16, blocks: 2}", "learning.steps=40",
    "learning.learning_rate=2e-3", "learning.precision=fp32", "inference.ensemble=none",
)  # fmt: skip


def task_for(low, scale, *more):
    return guided_task(load_recipe("balanced", [*QUICK, *more]), scale, low.grid.size)


def rmse(image, truth):
    return float(np.sqrt(np.mean((image - truth) ** 2)))


def means_of(raster, factor):
    return block_mean(raster.values[0].astype(np.float64), raster.valid, factor=factor)[0]


@pytest.fixture(scope="module")
def scene():
    return place(height=40, width=44, factor=4, field=4.0, blur=20.0)


@pytest.fixture(scope="module")
def automatic(scene):
    return sharpen_scene(scene.low, scene.guide, task_for(scene.low, 4))


def test_guided_methods_beat_what_knows_no_guide(scene, automatic):
    judged = automatic.judged
    assert set(judged) == {FALL_BACK, "tsharp", "atprk", UNGUIDED, "network"}
    for name in ("tsharp", "atprk", "network"):
        assert judged[name] < 0.6 * min(judged[FALL_BACK], judged[UNGUIDED])
    plain = sharpen_scene(scene.low, scene.guide, task_for(scene.low, 4, "learning.held_back=0"))
    assert plain.method == FALL_BACK
    assert rmse(automatic.raster.values[0], scene.truth) < 0.3 * rmse(plain.raster.values[0], scene.truth)


def test_automatic_takes_the_least_error_on_held_back_squares(automatic):
    assert automatic.method == min(automatic.judged, key=automatic.judged.get)
    assert not automatic.worse


@pytest.mark.parametrize("method", ["auto", "network", "tsharp", "atprk"])
def test_block_means_are_the_scene(scene, method):
    found = sharpen_scene(scene.low, scene.guide, task_for(scene.low, 4), method=method)
    assert np.abs(means_of(found.raster, 4) - scene.low.values[0]).max() < 1e-4
    assert found.deviation < 1e-4
    assert found.raster.grid == scene.guide.grid


def test_a_guide_of_noise_does_no_harm(scene):
    noise = np.random.default_rng(3).uniform(0.02, 0.5, scene.guide.values.shape).astype(np.float32)
    found = sharpen_scene(scene.low, replace(scene.guide, values=noise), task_for(scene.low, 4))
    assert found.judged[found.method] <= 1.001 * found.judged[FALL_BACK]


def test_a_named_method_is_used_even_where_it_is_worse_and_that_is_said(caplog):
    # temperature follows a field that is smooth to the coarse sensor; the guide is of somewhere else
    scene = place(height=40, width=44, factor=4, slope=0.0, blur=40.0, noise=0.0)
    other = place(height=40, width=44, factor=4, seed=5).guide
    found = sharpen_scene(scene.low, other, task_for(scene.low, 4), method="tsharp")
    assert found.method == "tsharp"
    assert found.judged["tsharp"] > found.judged[FALL_BACK]
    assert found.worse
    assert found.to_json()["worse_than_bicubic"] is True
    assert "tsharp does worse than" in caplog.text


def test_gaps_stay_gaps_and_reach_nothing(scene):
    valid = scene.low.valid.copy()
    valid[5:9, 12:20] = False
    spoiled = np.where(valid, scene.low.values, np.float32(1e4))
    task = task_for(scene.low, 4)
    for method in ("network", "atprk"):
        pair = [
            sharpen_scene(Raster(values, valid, scene.low.bands, scene.low.grid), scene.guide, task, method=method)
            for values in (scene.low.values, spoiled)
        ]
        assert np.array_equal(pair[0].raster.values, pair[1].raster.values)
        assert np.array_equal(pair[0].raster.valid, np.kron(valid, np.ones((4, 4), bool)))
        kept = np.abs(means_of(pair[0].raster, 4) - scene.low.values[0])[valid]
        assert kept.max() < 1e-4


def test_gaps_of_the_guide_are_bridged(scene):
    valid = scene.guide.valid.copy()
    valid[:60, :70] = False
    values = np.where(valid, scene.guide.values, np.float32(50.0))
    guide = Raster(values, valid, scene.guide.bands, scene.guide.grid)
    for method in ("network", "tsharp"):
        found = sharpen_scene(scene.low, guide, task_for(scene.low, 4), method=method)
        assert found.raster.valid.all()
        assert rmse(found.raster.values[0][valid], scene.truth[valid]) < 1.0
        assert np.abs(found.raster.values[0] - scene.truth).max() < 15


def test_a_scale_without_stages_is_enlarged_at_once():
    scene = place(height=40, width=40, factor=5, field=4.0, blur=30.0)
    task = task_for(scene.low, 5)
    found = sharpen_scene(scene.low, scene.guide, task, method="network")
    assert found.raster.grid.size == (200, 200)
    assert found.judged["network"] < found.judged[FALL_BACK]
    with pytest.raises(UsageError, match="no weights for a scale of 5 are shipped"):
        sharpen_scene(scene.low, scene.guide, task_for(scene.low, 5, "network.start=auto"), method="network")


def test_tiles_give_the_same_as_the_whole(scene):
    task = task_for(scene.low, 4, "learning.steps=5")
    whole, tiles = (sharpen_scene(scene.low, scene.guide, task, method="network", tile=tile) for tile in (64, 16))
    assert np.abs(whole.raster.values - tiles.raster.values).max() < 1e-3


def test_what_does_not_go_with_a_guide_is_refused(scene):
    for setting in ("inference.sensor=bicubic", "inference.passes=shifted", "inference.sharpen=0.5"):
        with pytest.raises(UsageError):
            task_for(scene.low, 4, setting)
    with pytest.raises(UsageError, match="--scale 17"):
        task_for(scene.low, 17)
    task = task_for(scene.low, 4, "network.settings={kind: residual-attention, norm: group}")
    with pytest.raises(ConfigError, match="only the fast network takes a guide"):
        sharpen_scene(scene.low, scene.guide, task, method="network")
    with pytest.raises(UsageError, match="a guide for a scale of 4"):
        sharpen_scene(scene.low, scene.guide, task_for(scene.low, 2))
    counts = replace(scene.low, bands=scene.low.bands.with_unit(Unit.COUNT))
    with pytest.raises(UnitError, match="is in count"):
        sharpen_scene(counts, scene.guide, task_for(scene.low, 4))


def test_regressors_are_standardised_and_their_means_are_those_of_fine_pixels(scene):
    hints = regressors_of(scene.guide, ["ndvi"])
    assert np.allclose(hints.values[0], (scene.ndvi - scene.ndvi.mean()) / scene.ndvi.std(), atol=1e-3)
    coarse = hints.coarse(4)
    assert torch.equal(coarse[1], torch.ones(40, 44))
    assert np.allclose(coarse[0], block_mean(hints.values[0], scene.guide.valid, factor=4)[0], atol=1e-5)


def test_a_network_with_a_guide_begins_as_the_one_without():
    plain = build_model("zero-shot-sr", {"scale": 2, "channels": 16, "blocks": 1}, seed=2).eval()
    stages, generator = Stages(4), torch.Generator().manual_seed(0)
    low, guide = torch.rand(1, 1, 12, 14, generator=generator), torch.rand(1, 3, 48, 56, generator=generator)
    with torch.no_grad():
        alone = SceneEnlargement(plain, stages)(low=low).image
        together = SceneEnlargement(with_guide(plain, 3), stages)(low=low, guide=guide).image
    assert torch.equal(alone, together)


@pytest.mark.parametrize(("scale", "own"), [(2, 2), (4, 2), (8, 2), (3, 3), (5, 5)])
def test_every_stage_sees_the_guide_at_its_own_size(scale, own):
    network = with_guide(build_model("zero-shot-sr", {"scale": own, "channels": 8, "blocks": 1}), 1)
    seen = []
    network.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    guide = torch.rand(1, 1, 9 * scale, 7 * scale, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        SceneEnlargement(network, Stages(scale, ensemble="none"))(low=torch.rand(1, 1, 9, 7), guide=guide)
    sizes = [tuple(given["guide"].shape[-2:]) for given in seen]
    assert sizes == [(9 * own ** (stage + 1), 7 * own ** (stage + 1)) for stage in range(len(seen))]
    assert sizes[-1] == (9 * scale, 7 * scale)
    expected = block_mean(guide[0, 0].double().numpy(), np.ones(guide.shape[-2:], bool), factor=scale // own)[0]
    assert np.allclose(seen[0]["guide"][0, 0], expected, atol=1e-5)


def test_learning_makes_use_of_the_guide():
    scene = place(height=48, width=48, factor=2, field=0.3, blur=30.0, noise=0.0)
    low = torch.from_numpy((scene.truth - 300) / 15).float()[None]
    guide = torch.from_numpy((scene.ndvi - 0.5) / 0.2).float()[None]
    valid = torch.ones(low.shape[-2:], dtype=torch.bool)
    piece = Piece(low, valid, hold_back(valid, 0.2), guide)
    network = with_guide(build_model("zero-shot-sr", {"scale": 2, "channels": 16, "blocks": 1}), 1)
    recipe = load_recipe("balanced", list(QUICK)).settled(2, (96, 96)).learning
    learned = learn_scene(network, [piece], recipe, stages=Stages(2), generator=np.random.default_rng(0))
    assert learned.after.network < 0.7 * learned.after.bicubic
