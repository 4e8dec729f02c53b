"""Test-time adaptation: learns from the scene alone, the same for the same seed, and never keeps what is worse."""

import numpy as np
import pytest
import torch

from eorestore.data.cloud_pairs import grow_mask
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import MaskError, UsageError
from eorestore.models.model import SceneSample
from eorestore.models.table import build_model
from eorestore.processing.processor import glf_cr_processor
from eorestore.restorer import adaptation
from eorestore.restorer.adaptation import adapt

PROCESSOR = glf_cr_processor()
SMALL = {"channels": [8, 12], "sar_channels": [4, 6], "head_channels": 4}


@pytest.fixture(autouse=True)
def few_skies(monkeypatch):
    for name, value in {"_SKIES": 2, "_HELD_BACK": 2, "_CROP": 32, "_BATCH": 2, "_CHECKS": 2}.items():
        monkeypatch.setattr(adaptation, name, value)


@pytest.fixture(scope="module")
def sample():
    place = synthetic_scene((96, 96), generator=np.random.default_rng(5))
    generator = np.random.default_rng(6)
    sky = simulate_clouds(place.optical, CloudSettings(cover=0.3, size_px=(20.0, 40.0)), generator=generator)
    window = {
        "cloudy": torch.from_numpy(np.clip(sky.image, 0, 1).astype(np.float32))[None],
        "sar": torch.from_numpy(PROCESSOR.encode_one("sar", place.sar))[None],
        "mask": torch.from_numpy(grow_mask(sky.cloud | sky.shadow, 3).astype(np.float32))[None, None],
    }
    return SceneSample(window, (window,))


@pytest.fixture(scope="module")
def model():
    return build_model("clearview", SMALL, seed=2).eval()


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def test_the_model_that_came_is_left_as_it_was(model, sample):
    before = weights(model).clone()
    adapted = adapt(model, PROCESSOR, sample, steps=4)
    assert torch.equal(weights(model), before)
    assert adapted.model is not model


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(model, sample):
    first, again, other = (adapt(model, PROCESSOR, sample, steps=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(weights(first.model), weights(again.model))
    assert (first.before, first.after) == (again.before, again.after)
    assert other.before != first.before


def test_what_is_kept_is_never_worse_under_the_skies_held_back(model, sample):
    for rate in (5e-4, 10.0):
        adapted = adapt(model, PROCESSOR, sample, steps=6, learning_rate=rate)
        assert adapted.after >= adapted.before
    assert adapted.kept_step == 0, "weights thrown about by a rate of 10 must not be kept"
    assert torch.equal(weights(adapted.model), weights(model))


def test_a_network_that_knows_nothing_learns_from_the_scene(sample, monkeypatch):
    monkeypatch.setattr(adaptation, "_SKIES", 4)
    monkeypatch.setattr(adaptation, "_BATCH", 4)
    network = build_model("clearview", SMALL | {"start": "cloudy"}, seed=2).eval()
    adapted = adapt(network, PROCESSOR, sample, steps=80, learning_rate=5e-3)
    assert adapted.after > adapted.before + 1
    assert adapted.kept_step > 0


def test_a_gain_too_small_to_tell_of_is_not_kept(sample, monkeypatch):
    network = build_model("clearview", SMALL | {"start": "cloudy"}, seed=2).eval()
    for least, kept in ((0.0, True), (5.0, False)):
        monkeypatch.setattr(adaptation, "_LEAST_GAIN", least)
        adapted = adapt(network, PROCESSOR, sample, steps=20, learning_rate=5e-3)
        assert (adapted.kept_step > 0) == kept


def test_half_the_way_is_judged_too(sample, monkeypatch):
    monkeypatch.setattr(adaptation, "_SHARES", (0.5,))
    monkeypatch.setattr(adaptation, "_LEAST_GAIN", 0.0)
    monkeypatch.setattr(adaptation, "_SKIES", 4)
    network = build_model("clearview", SMALL | {"start": "cloudy"}, seed=2).eval()
    adapted = adapt(network, PROCESSOR, sample, steps=20, learning_rate=5e-3)
    assert adapted.kept_share == 0.5
    assert "by 0.5" in adapted.words
    assert not torch.equal(weights(adapted.model), weights(network))


def test_the_global_random_state_is_left_as_it_was(model, sample):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    adapt(model, PROCESSOR, sample, steps=2)
    assert torch.equal(torch.rand(1), expected)


def test_real_clouds_never_count_as_known(model, sample):
    window = dict(sample.windows[0])
    hidden = window["mask"] > 0.5
    sky = adaptation._pasted(
        model,
        PROCESSOR,
        sample,
        part=lambda height, width: torch.ones(1, 1, height, width, dtype=torch.bool),
        generator=np.random.default_rng(0),
        device=torch.device("cpu"),
    )
    assert not (sky.maps["known"] & hidden).any()
    assert sky.maps["known"].any()
    assert torch.equal(torch.where(hidden, sky.maps["cloudy"], 0), torch.where(hidden, window["cloudy"], 0))
    assert (sky.maps["mask"][hidden] == 1).all()


def test_what_judges_is_never_a_target():
    judged, taught = (adaptation._part(100, 90, corner=(7, 30), judged=which) for which in (True, False))
    assert not (judged & taught).any()
    assert (judged | taught).all()
    assert 0.15 < judged.float().mean() < 0.35


def test_a_scene_without_enough_clear_pixels_is_refused(model, sample):
    window = dict(sample.windows[0])
    window["mask"] = torch.ones_like(window["mask"])
    window["mask"][..., :2, :2] = 0
    with pytest.raises(MaskError, match="too few clear pixels"):
        adapt(model, PROCESSOR, SceneSample(window, (window,)), steps=2)


def test_a_scene_smaller_than_the_model_takes_is_refused(sample):
    model = build_model("clearview", SMALL).eval()
    window = {name: value[..., :3, :3] for name, value in sample.windows[0].items()}
    with pytest.raises(MaskError, match="too few to adapt"):
        adapt(model, PROCESSOR, SceneSample(window, (window,)), steps=2)


def test_a_model_without_weights_is_refused(sample):
    with pytest.raises(UsageError, match="no weights"):
        adapt(build_model("scene-estimate", {}), PROCESSOR, sample, steps=2)


def test_less_than_one_step_is_refused(model, sample):
    with pytest.raises(UsageError, match="--adapt 0"):
        adapt(model, PROCESSOR, sample, steps=0)
