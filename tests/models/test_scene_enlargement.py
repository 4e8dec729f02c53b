"""A network in stages as one model: agreement with the input, ensembles, reach, shares, uncertainty, tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from eorestore.layers.resampling import enlarge
from eorestore.layers.sensor import observe, project
from eorestore.models import scene_enlargement
from eorestore.models.scene_enlargement import SceneEnlargement, Stages, local_variance
from eorestore.models.table import build_model
from eorestore.processing.sensor import Sensor
from eorestore.tiling.ensembling import turn, turn_back


def network(own: int = 2, **settings):
    """Untrained, with a last layer that adds much."""
    model = build_model("zero-shot-sr", {"channels": 8, "blocks": 1, "scale": own} | settings, seed=2).eval()
    torch.nn.init.normal_(model.trunk.leave.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    return model


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def run(model, low, **inputs):
    with torch.no_grad():
        return model(low=low, **inputs)


@pytest.mark.parametrize(("factor", "own"), [(2, 2), (4, 2), (8, 2), (16, 2), (3, 3), (4, 4)])
@pytest.mark.parametrize("ensemble", ["none", "mean", "median"])
def test_the_input_comes_back_from_the_block_means(factor, own, ensemble):
    low = image(1, 1, 13, 10)
    model = SceneEnlargement(network(own), Stages(factor, ensemble=ensemble))
    found = run(model, low).image
    assert found.shape == (1, 1, 13 * factor, 10 * factor)
    assert (observe(found, Sensor("mean"), factor=factor) - low).abs().max() < 2e-6
    assert (found - model.base(low)).abs().max() > 0.01


def test_a_share_of_the_network_agrees_with_the_input_too():
    low = image(1, 1, 13, 10)
    for share in (0.25, 0.6):
        found = run(SceneEnlargement(network(), Stages(4, share=share)), low).image
        assert (observe(found, Sensor("mean"), factor=4) - low).abs().max() < 2e-6


@pytest.mark.parametrize("factor", [2, 4])
def test_no_share_is_projected_bicubic_enlargement_bit_by_bit(factor):
    low = image(2, 3, 9, 12)
    found = run(SceneEnlargement(network(), Stages(factor, share=0.0), bands=3), low)
    expected = project(enlarge(low, factor=factor), low, Sensor("mean"), factor=factor)
    assert torch.equal(found.image, expected)
    assert not found.extras["sigma"].any()


def test_without_projection_the_network_alone_is_the_result():
    low = image(1, 1, 9, 12)
    found = run(SceneEnlargement(network(), Stages(2, ensemble="none", project=False)), low).image
    assert torch.equal(found, run(network(), low).image)


def test_the_ensemble_is_that_of_eight_turned_and_projected_images():
    low, net = image(1, 1, 9, 12), network()
    images = []
    for index in range(8):
        turned = turn(low, index)
        images.append(turn_back(project(run(net, turned).image, turned, Sensor("mean"), factor=2), index))
    stack = torch.stack(images).numpy()
    mean = run(SceneEnlargement(net, Stages(2, ensemble="mean")), low)
    assert np.allclose(mean.image.numpy(), stack.mean(0), atol=1e-6)
    assert np.allclose(mean.extras["sigma"].numpy(), stack.std(0), atol=1e-6)
    median = run(SceneEnlargement(net, Stages(2, ensemble="median")), low).image
    expected = project(torch.from_numpy(np.median(stack, axis=0)), low, Sensor("mean"), factor=2)
    assert torch.allclose(median, expected, atol=1e-6)


@pytest.mark.parametrize("passes", ["overlapping", "shifted"])
def test_patches_agree_with_the_input_as_the_whole_does(passes):
    low = image(1, 1, 30, 26)
    stages = Stages(4, ensemble="none", passes=passes, patch=12, overlap=0.25, shifts=2)
    model = SceneEnlargement(network(), stages)
    found = run(model, low).image
    assert (observe(found, Sensor("mean"), factor=4) - low).abs().max() < 2e-6
    whole = run(SceneEnlargement(network(), replace(stages, passes="whole")), low).image
    assert 0 < (found - whole).abs().mean() < 0.1
    assert (model.reach, model.tiling) == (None, "blend")


@pytest.mark.parametrize("ensemble", ["none", "mean", "median"])
@pytest.mark.parametrize(("factor", "sensor"), [(2, "mean"), (4, "mean"), (2, "gaussian:0.2"), (8, "bicubic")])
def test_a_pixel_beyond_the_reach_changes_nothing(factor, sensor, ensemble):
    model = SceneEnlargement(network(), Stages(factor, Sensor.parse(sensor), ensemble, sigma=(0.1, 1.0, 1.0)))
    low = image(1, 1, 2, 2 * model.reach + 9)
    before = run(model, low)
    low[..., model.reach + 4] += 10
    after = run(model, low)
    for old, new in ((before.image, after.image), (before.extras["sigma"], after.extras["sigma"])):
        changed = (new != old).flatten(0, 2).any(0).nonzero().flatten() // factor
        assert int(changed.min()) >= 4
        assert int(changed.max()) <= 2 * model.reach + 4


def test_a_median_is_projected_once_more_and_reaches_farther_for_it():
    mean, median = (SceneEnlargement(network(), Stages(2, ensemble=name)) for name in ("mean", "median"))
    assert median.reach == mean.reach + Sensor("mean").reach(2)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("ensemble", ["mean", "median"])
def test_a_tile_with_its_halo_is_the_whole(factor, ensemble):
    """To rounding; that tiles of one shape are equal bit by bit is for the restorer's tests."""
    model = SceneEnlargement(network(), Stages(factor, ensemble=ensemble))
    halo = model.reach
    low = image(1, 1, 2 * halo + 20, 2 * halo + 24)
    whole = run(model, low).image
    side = 2 * halo + 10
    tile = run(model, low[..., 6 : 6 + side, 8 : 8 + side]).image
    inner = tile[..., halo * factor : -halo * factor, halo * factor : -halo * factor]
    rows, columns = (slice((start + halo) * factor, (start + halo + 10) * factor) for start in (6, 8))
    assert torch.allclose(inner, whole[..., rows, columns], atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"spatial_attention": True}, {"kind": "residual-attention", "blocks": 2}])
def test_strips_are_the_whole(monkeypatch, settings):
    low = image(1, 2, 150, 20)
    model = SceneEnlargement(network(**settings), Stages(4, ensemble="mean"), bands=2)
    whole = run(model, low)
    seen = []
    model.network.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["low"].shape[-2]), with_kwargs=True
    )
    monkeypatch.setattr(scene_enlargement, "_PIXELS", 1000)
    strips = run(model, low)
    assert max(seen) < 150
    assert torch.allclose(strips.image, whole.image, atol=1e-6)
    assert torch.allclose(strips.extras["sigma"], whole.extras["sigma"], atol=1e-5)
    # a mean over channels is added up in an order that hangs on the size of the image
    assert torch.equal(strips.image, whole.image) or settings.get("spatial_attention")


def test_bands_go_through_one_by_one():
    low = image(2, 3, 9, 12)
    together = run(SceneEnlargement(network(), Stages(2), bands=3), low)
    single = SceneEnlargement(network(), Stages(2))
    for item in range(2):
        for band in range(3):
            alone = run(single, low[item : item + 1, band : band + 1])
            assert torch.allclose(together.image[item, band], alone.image[0, 0], atol=1e-6)
            assert torch.allclose(together.extras["sigma"][item, band], alone.extras["sigma"][0, 0], atol=1e-6)
    mixed = low.clone()
    mixed[:, 1] = 100.0
    assert torch.allclose(run(SceneEnlargement(network(), Stages(2), bands=3), mixed).image[:, 0], together.image[:, 0])


@pytest.mark.parametrize("value", [0.0, 300.0])
@pytest.mark.parametrize("ensemble", ["none", "mean", "median"])
def test_sigma_is_finite_and_never_negative_even_where_all_is_flat(value, ensemble):
    low = torch.full((1, 1, 9, 12), value)
    low[..., 6:, :] += image(1, 1, 3, 12)
    for weights in ((0.0, 1.0, 0.0), (0.2, 0.0, 0.7), (0.0, 0.0, 0.0)):
        sigma = run(SceneEnlargement(network(), Stages(4, ensemble=ensemble, sigma=weights)), low).extras["sigma"]
        assert sigma.isfinite().all()
        assert (sigma >= 0).all()


def test_sigma_is_the_root_of_the_weighted_variances():
    low = image(1, 1, 9, 12)
    model = SceneEnlargement(network(), Stages(2, sigma=(0.01, 0.0, 2.0)))
    expected = (0.01 + 2.0 * local_variance(model.base(low))).sqrt()
    assert torch.allclose(run(model, low).extras["sigma"], expected)


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_the_local_variance_is_that_of_numpy_windows(offset):
    plane = (image(1, 1, 8, 11) + offset).double()
    padded = np.pad(plane[0, 0].numpy(), 2, mode="edge")
    expected = np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).var(axis=(2, 3))
    assert np.allclose(local_variance(plane)[0, 0].numpy(), expected, atol=1e-9)
