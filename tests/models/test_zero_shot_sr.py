"""Networks that learn a scene: sizes of the plan's, equivariance and reach of the fast one, where both begin."""

from __future__ import annotations

import pytest
import torch

from eorestore.errors import ConfigError
from eorestore.layers.resampling import enlarge
from eorestore.models.table import build_model

PLAN = {
    "kind": "residual-attention",
    "channels": 64,
    "blocks": 8,
    "channel_attention": True,
    "spatial_attention": True,
    "norm": "group",
}
LOCAL = {"kind": "residual-attention", "channels": 8, "blocks": 2, "reduction": 4}
SMALL = {
    "fast": {"channels": 8, "blocks": 2},
    "fast, spatial attention": {"channels": 8, "blocks": 2, "spatial_attention": True},
    "local residual attention": LOCAL | {"spatial_attention": True},
    "plan": LOCAL | {"norm": "group", "channel_attention": True, "spatial_attention": True},
}


def lively(settings):
    """A network whose last layer is not near 0, so that its own part of the image counts."""
    model = build_model("zero-shot-sr", settings, seed=3).eval()
    torch.nn.init.normal_(model.trunk.leave.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return model


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def run(model, low, **inputs):
    with torch.no_grad():
        return model(low=low, **inputs).image


@pytest.mark.parametrize(("scale", "parameters"), [(4, 937_609), (8, 1_085_321), (16, 1_233_033)])
def test_the_network_of_the_plan_has_its_number_of_parameters(scale, parameters):
    model = build_model("zero-shot-sr", PLAN | {"scale": scale})
    assert sum(weight.numel() for weight in model.parameters()) == parameters


@pytest.mark.parametrize("gain", [1.0, 37.0])
@pytest.mark.parametrize("scale", [2, 3])
def test_the_fast_network_passes_gain_and_offset_through(gain, scale):
    model, low = lively(SMALL["fast"] | {"scale": scale}), image(2, 1, 12, 17)
    assert torch.allclose(run(model, gain * low - 5), gain * run(model, low) - 5, atol=1e-5 * gain)
    assert (run(model, low) - enlarge(low, factor=scale)).abs().mean() > 0.01


def test_attention_gives_up_the_gain_and_keeps_the_offset():
    model, low = lively(SMALL["fast, spatial attention"]), image(1, 1, 12, 17)
    assert torch.allclose(run(model, low + 3), run(model, low) + 3, atol=1e-5)
    assert not torch.allclose(run(model, 9 * low), 9 * run(model, low), atol=1e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", list(SMALL))
def test_the_untrained_network_begins_at_bicubic(name, scale):
    low = image(1, 1, 20, 16)
    found = run(build_model("zero-shot-sr", SMALL[name] | {"scale": scale}, seed=1).eval(), low)
    change = (found - enlarge(low, factor=scale)).abs().max()
    assert 0 < change < 0.1


@pytest.mark.parametrize("name", [name for name in SMALL if name != "plan"])
@pytest.mark.parametrize("scale", [2, 3, 8])
def test_a_pixel_beyond_the_reach_changes_nothing_and_one_within_does(name, scale):
    model = lively(SMALL[name] | {"scale": scale})
    low = image(1, 1, 5, 2 * model.reach + 9)
    before = run(model, low)
    low[..., model.reach + 4] += 1
    changed = (run(model, low) != before).flatten(0, 2).any(0).nonzero().flatten() // scale
    assert int(changed.min()) >= 4
    assert int(changed.max()) <= 2 * model.reach + 4
    assert int(changed.max()) >= model.reach + 4 + min(4, model.reach)


def test_statistics_of_a_whole_tile_make_the_network_global():
    assert lively(SMALL["plan"]).reach is None
    assert lively(SMALL["plan"]).tiling == "blend"
    for switches in ({"norm": "group"}, {"channel_attention": True}):
        model, low = lively(LOCAL | switches), image(1, 1, 9, 60)
        before = run(model, low)
        low[..., 0] += 1
        assert model.reach is None
        assert not torch.equal(run(model, low)[..., -2:], before[..., -2:])


def test_a_guide_of_high_resolution_enters_by_its_detail():
    model, low = lively(SMALL["fast"] | {"guide_bands": 2}), image(1, 1, 8, 9)
    guide = image(1, 2, 16, 18, seed=1)
    found = run(model, low, guide=guide)
    assert torch.allclose(run(model, low, guide=guide + 4), found, atol=1e-5)
    assert not torch.allclose(run(model, low, guide=guide.flip(-1)), found, atol=1e-3)
    with pytest.raises(ConfigError, match="guide"):
        run(model, low)


REFUSED = {
    "no band": {"bands": 0},
    "no enlargement": {"scale": 1},
    "groups": {"kind": "residual-attention", "norm": "group", "channels": 12},
    "reduction": {"kind": "residual-attention", "channel_attention": True, "channels": 4},
    "norm in the fast one": {"norm": "group"},
    "channel attention in the fast one": {"channel_attention": True},
    "guide in the other": {"kind": "residual-attention", "guide_bands": 1},
    "a scale without stages": {"kind": "residual-attention", "scale": 6},
}


@pytest.mark.parametrize("settings", REFUSED.values(), ids=REFUSED)
def test_settings_that_do_not_go_together_are_refused_with_a_way_out(settings):
    with pytest.raises(ConfigError) as caught:
        build_model("zero-shot-sr", settings)
    assert caught.value.fix
