"""GLF-CR v1 to v4: each equals v0 until it is trained, keeps what the one before had, and does what it says."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from eorestore.config import load_config
from eorestore.errors import ConfigError
from eorestore.models.glf_cr import GLFCR, GLFCRSettings
from eorestore.models.glf_cr_branches import CrossModalAttention, GlobalLocalBlend, TextureBranch, pooled_size
from eorestore.models.parts import multiply_adds
from eorestore.models.settings import settings_from_dict
from eorestore.models.table import build_model

PRESETS = Path(__file__).parents[2] / "presets"
TINY = {"channels": 8, "growth": 8, "blocks": 3, "layers": 2, "heads": 2, "window": 4, "head_channels": 4}
HEADS = {"cross_attention_heads": 2, "global_heads": 2}
V1 = HEADS | {"cross_attention": (1,)}
V3 = V1 | {"texture": True}
V4 = V3 | {"global_blocks": (1, 2), "global_tokens": 4}
VERSIONS = {
    "v1": V1,
    "v1 in all blocks": V1 | {"cross_attention": (0, 1, 2)},
    "v1 in the last block": V1 | {"cross_attention": (2,)},
    "v1 before the fusion": V1 | {"cross_attention": (0, 2), "cross_attention_place": "before"},
    "v1 over channels": V1 | {"cross_attention": (0, 1, 2), "cross_attention_kind": "channel"},
    "v3": V3,
    "texture alone": {"texture": True},
    "v4": V4,
    "v4, narrow branches": V4 | {"branch_channels": 4},
    "global path alone": HEADS | {"global_blocks": (0,), "global_stride": 3},
    "v4 over an estimate": V4 | {"start": "estimate"},
}


@pytest.fixture(params=VERSIONS)
def version(request):
    return VERSIONS[request.param]


def make(settings, seed=0):
    return build_model("glf-cr", TINY | settings, seed=seed).eval()


def perturbed(module):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return module


def inputs(height=16, width=24):
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, 13, height, width, generator=generator)
    return {
        "cloudy": image,
        "sar": torch.rand(2, 2, height, width, generator=generator),
        "mask": (image[:, :1] > 0.5).float(),
        "estimate": image.flip(0),
    }


def preset(name):
    return load_config(PRESETS / f"{name}.yaml")


def network(name):
    with torch.device("meta"):
        return GLFCR(settings_from_dict(GLFCRSettings, preset(name).model.settings))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def base(version):
    return {key: value for key, value in version.items() if key == "start"}


def test_every_version_equals_v0_with_the_same_weights(version):
    v0 = perturbed(make(base(version), seed=5))
    model = make(version)
    shared = v0.state_dict()
    added = model.state_dict().keys() - shared.keys()
    assert added
    model.load_state_dict({key: shared.get(key, value) for key, value in model.state_dict().items()})
    assert torch.equal(model(**inputs()).image, v0(**inputs()).image)


def test_one_seed_gives_every_version_the_weights_of_v0(version):
    weights = make(version, seed=3).state_dict()
    for key, value in make(base(version), seed=3).state_dict().items():
        assert torch.equal(weights[key], value), key


def test_a_trained_branch_changes_the_image(version):
    model = perturbed(make(version))
    v0 = make(base(version))
    v0.load_state_dict({key: model.state_dict()[key] for key in v0.state_dict()})
    assert not torch.allclose(model(**inputs()).image, v0(**inputs()).image, atol=1e-4)


@pytest.mark.parametrize("name", ["v1 over channels", "v4"])
def test_checkpointing_changes_neither_image_nor_gradient(name):
    results = []
    for checkpointing in (False, True):
        model = perturbed(make(VERSIONS[name] | {"checkpointing": checkpointing, "drop_path": 0.5})).train()
        torch.manual_seed(4)
        image = model(**inputs()).image
        image.square().mean().backward()
        results.append([image, *(weight.grad for weight in model.parameters() if weight.grad is not None)])
    assert len(results[0]) == len(results[1])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*results, strict=True))


def test_attention_works_in_both_directions_and_only_where_it_is_read():
    v1 = make(V1 | {"cross_attention": (1, 2)}).cross_attentions
    assert set(v1["1"].gate) == {"optical", "sar"}
    assert set(v1["2"].gate) == {"optical"}
    before = make(V1 | {"cross_attention": (2,), "cross_attention_place": "before"}).cross_attentions
    assert set(before["2"].gate) == {"optical", "sar"}


@pytest.mark.parametrize("kind", ["window", "channel"])
def test_each_stream_takes_from_the_other(kind):
    attend = perturbed(CrossModalAttention(8, 2, kind=kind, width=8, window=4, shift=0, both=True))
    optical, sar = torch.rand(2, 1, 8, 4, 4)
    none = torch.zeros(1, 16, 16)
    seen_optical, seen_sar = attend(optical, sar, none)
    other_optical, _ = attend(optical, sar + torch.rand_like(sar), none)
    _, other_sar = attend(optical + torch.rand_like(optical), sar, none)
    assert not torch.allclose(seen_optical, other_optical, atol=1e-4)
    assert not torch.allclose(seen_sar, other_sar, atol=1e-4)


def test_high_frequencies_are_what_a_gaussian_takes_away():
    branch = TextureBranch(3, width=4).double()
    features = torch.rand(2, 3, 9, 13, dtype=torch.float64)
    blurred = gaussian_filter(features.numpy(), 1.0, mode="nearest", truncate=2.0, axes=(2, 3))
    assert np.allclose(branch.high_frequencies(features).numpy(), features.numpy() - blurred, atol=1e-7)
    assert branch.high_frequencies(torch.full((1, 3, 8, 8), 0.7, dtype=torch.float64)).abs().max() < 1e-7


def test_the_edge_map_weights_the_texture():
    branch = perturbed(TextureBranch(4, width=4))
    with torch.no_grad():
        branch.edges.weight.zero_()
        branch.edges.bias.fill_(-200.0)
    features = torch.rand(1, 4, 8, 8)
    with_texture, edges = branch(features)
    assert edges.max() == 0
    without = branch.fusion(torch.cat([features, torch.zeros_like(features)], dim=1))
    assert torch.allclose(with_texture, features + without)


def test_the_edge_map_is_an_extra_at_the_size_of_the_image():
    model = perturbed(make(V3))
    seen = []
    model.texture.register_forward_hook(lambda _module, _inputs, output: seen.append(output[1]))
    edges = model(**inputs()).extras["edges"]
    assert edges.shape == (2, 1, 16, 24)
    assert 0 <= edges.min() < edges.max() <= 1
    assert torch.equal(edges, F.interpolate(seen[0], size=(16, 24), mode="bilinear"))
    assert make(V1)(**inputs()).extras == {}


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 13), (2, 3), (1, 1)])
def test_the_global_path_takes_any_size(height, width):
    blend = perturbed(GlobalLocalBlend(4, 2, width=4, stride=4, tokens=2))
    features = torch.rand(2, 4, height, width)
    assert blend(features).shape == features.shape


@pytest.mark.parametrize(("logit", "share"), [(-200.0, 0.0), (0.0, 0.5), (200.0, 1.0)])
def test_the_two_paths_are_blended_by_a_softmax_of_two(logit, share):
    blend = perturbed(GlobalLocalBlend(4, 2, width=4, stride=4, tokens=8))
    with torch.no_grad():
        blend.blend.weight.zero_()
        blend.blend.bias.copy_(torch.tensor([0.0, logit]))
    far = []
    blend.far.register_forward_hook(lambda _module, _inputs, output: far.append(output))
    local = torch.rand(1, 4, 8, 8)
    blended = blend(local)
    assert far[0].abs().min() > 0
    assert torch.allclose(blended, (1 - share) * local + share * (local + far[0]))


def test_the_global_path_sees_the_other_end_of_the_tile():
    model = perturbed(make(V4))
    wide = inputs(8, 256)
    with torch.no_grad():
        before = model(**wide).image
        wide["cloudy"][..., :8] += 1
        assert (model(**wide).image != before)[..., -1].any()
    assert model.reach is None
    assert make(VERSIONS["v1 over channels"]).reach is None


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), most=st.integers(1, 2000))
def test_pooled_maps_never_have_too_many_tokens(height, width, most):
    rows, columns = pooled_size(height, width, most=most)
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    assert rows * columns <= most
    if height * width <= most:
        assert (rows, columns) == (height, width)


def test_attention_looks_at_a_bounded_number_of_tokens():
    blend = GlobalLocalBlend(4, 2, width=4, stride=4, tokens=16)
    keys = []
    blend.key_value.register_forward_hook(lambda _module, _inputs, output: keys.append(output.shape[1]))
    for side in (8, 16, 64, 200):
        blend(torch.rand(1, 4, side, side))
    assert keys == [4, 16, 16, 16]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cross_attention": (3,)}, "cross_attention .* does not name blocks"),
        ({"global_blocks": (0, 0)}, "global_blocks .* does not name blocks"),
        ({"cross_attention": (1,), "cross_attention_heads": 3}, "branch_channels 8 .* 3 heads"),
        ({"global_blocks": (1,), "branch_channels": 12}, "branch_channels 12 .* 8 heads"),
        ({"global_tokens": 0}, "global_tokens"),
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong, words):
    with pytest.raises(ConfigError, match=words):
        GLFCRSettings(**TINY | wrong)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("glf-cr-v0", 14_827_373), ("glf-cr-v1", 15_175_133), ("glf-cr-v2", 15_175_133), ("glf-cr-v3", 15_702_079),
        ("glf-cr-v4", 17_810_251),
    ],
)  # fmt: skip
def test_the_versions_at_published_size_have_their_number_of_parameters(name, expected):
    assert count(network(name)) == expected


@pytest.mark.parametrize("version", range(5))
def test_the_compact_versions_have_about_as_many_parameters(version):
    assert 270_000 <= count(network(f"glf-cr-compact-v{version}")) <= 330_000


@pytest.mark.parametrize("size", ["glf-cr", "glf-cr-compact"])
def test_every_preset_adds_to_the_one_before(size):
    chain = [preset(f"{size}-v{version}") for version in range(5)]
    for before, after in itertools.pairwise(chain):
        assert before.model.settings.items() <= after.model.settings.items()
        assert before.losses.items() <= after.losses.items()
        assert before.data == after.data
        assert before.training == after.training
    assert "cross_attention" in chain[1].model.settings
    assert chain[2].model.settings == chain[1].model.settings
    assert set(chain[2].losses) - set(chain[1].losses) > {"one_minus_ssim"}
    assert chain[3].model.settings["texture"]
    assert "edge_weighted_l1" in chain[3].losses
    assert {"cross_attention", "texture", "global_blocks"} <= chain[4].model.settings.keys()


def test_the_cost_of_the_published_network_is_the_one_counted_by_hand():
    # 56.37 of convolutions, 4.53 of linear maps, 1.51 of attention; 0.06 of dynamic filters are not counted.
    v0 = multiply_adds(network("glf-cr-v0"), height=128, width=128) / 1e9
    assert v0 == pytest.approx(56.37 + 4.53 + 1.51, abs=0.01)
