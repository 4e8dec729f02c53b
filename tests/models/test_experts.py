"""Frozen experts: ours and those of others, strict, unclamped, alone or together, and fused as one model."""

import sys

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from eorestore.config import ExpertConfig
from eorestore.errors import CheckpointError, ConfigError, MissingError, UsageError
from eorestore.models.catalogue import SizeRule, read_config
from eorestore.models.checkpoint import load_checkpoint, save_checkpoint
from eorestore.models.expert_facts import joined_rule
from eorestore.models.experts import load_expert, load_experts
from eorestore.models.fused_experts import Routing, whole_model
from eorestore.models.model import SceneSample
from eorestore.models.table import build_model
from eorestore.processing.table import rgb_processor
from small_enlargers import two_experts

LIGHT = {"channels": 8, "blocks": 1, "heads": 2, "window": 4}
FUSION = {"experts": 2, "channels": 8, "heads": 2, "refine_channels": 6, "refine_layers": 3, "edge_channels": 4}


@pytest.fixture
def ours(tmp_path):
    """Two checkpoints of different kinds."""
    return two_experts(tmp_path)


@pytest.fixture
def swinir(tmp_path):
    """A file as SwinIR's authors write it, of a small network that nobody trained."""
    pytest.importorskip("spandrel")
    from spandrel.architectures.SwinIR import SwinIR

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SwinIR(
            upscale=4,
            in_chans=3,
            img_size=64,
            window_size=8,
            depths=[2],
            embed_dim=12,
            num_heads=[2],
            mlp_ratio=2,
            img_range=1.0,
            upsampler="pixelshuffledirect",
            resi_connection="1conv",
        ).eval()
    path = tmp_path / "small_swinir.safetensors"
    safetensors.torch.save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path, network


def image(*, height=16, width=24, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def wanted(*sources, **settings):
    return [ExpertConfig(str(source), **settings) for source in sources]


def test_an_expert_of_ours_is_its_network(ours):
    low = image()
    found, features = load_experts(wanted(ours[0]), scale=4)(low)
    with torch.no_grad():
        assert torch.equal(found[:, 0], load_checkpoint(ours[0]).model(low=low).image)
    assert features is None


def test_sides_that_the_network_cannot_take_are_padded_and_cropped(ours):
    low = image(height=13, width=9)
    found, features = load_experts(wanted(*ours), scale=4, features=True)(low)
    assert found.shape == (1, 2, 3, 52, 36)
    assert features.shape == (1, 16, 13, 9)


def test_a_file_of_others_is_its_network_without_the_clamp(swinir):
    path, network = swinir
    low = 3 * image()
    found, features = load_experts(wanted(path), scale=4, features=True)(low)
    with torch.no_grad():
        assert torch.allclose(found[:, 0], network(low), atol=1e-5)
    assert found.max() > 1.5
    assert features.shape == (1, 12, 16, 24)


def test_features_are_those_of_the_network(swinir):
    path, network = swinir
    seen = []
    network.conv_after_body.register_forward_hook(lambda *told: seen.append(told[-1]))
    low = image()
    with torch.no_grad():
        network(low)
    _, features = load_experts(wanted(path), scale=4, features=True)(low)
    assert torch.allclose(features, seen[0], atol=1e-5)


def test_a_network_of_scale_one_sees_the_bicubic_enlargement(tmp_path):
    pytest.importorskip("spandrel")
    from spandrel.architectures.NAFNet import NAFNet

    network = NAFNet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1]).eval()
    path = tmp_path / "small_nafnet.safetensors"
    safetensors.torch.save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    low = image()
    found, features = load_experts(wanted(path), scale=4, features=True)(low)
    large = F.interpolate(low, scale_factor=4, mode="bicubic", align_corners=False)
    with torch.no_grad():
        assert torch.allclose(found[:, 0], network(large), atol=1e-5)
    assert features.shape == (1, 8, 16, 24)


def test_the_real_file_of_craft_loads_and_enlarges(real_data):
    pytest.importorskip("spandrel")
    expert = load_expert(ExpertConfig(str(real_data / "weights" / "craft_x4.pth")), scale=4, features=True)
    low = F.interpolate(image(height=4, width=5), size=(20, 33), mode="bicubic").clamp(0, 1)
    found, features = expert(low)
    assert (expert.facts.parameters, features.shape) == (753344, (1, 48, 20, 33))
    plain = F.interpolate(low, scale_factor=4, mode="bicubic", align_corners=False)
    assert (found - plain).abs().mean() < 0.02


@pytest.mark.parametrize("spoil", ["missing", "unused"])
def test_no_tensor_may_be_missing_or_unused(swinir, spoil):
    path, network = swinir
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    if spoil == "missing":
        del tensors["conv_after_body.bias"]
    else:
        tensors["something.else"] = torch.zeros(1)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(CheckpointError, match="small_swinir"):
        load_experts(wanted(path), scale=4)


def test_a_file_of_no_known_network_is_refused(tmp_path):
    pytest.importorskip("spandrel")
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match="no network is known"):
        load_experts(wanted(tmp_path / "odd.safetensors"), scale=4)


def test_a_missing_expert_is_an_error_with_the_places_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(MissingError) as caught:
        load_experts(wanted("nowhere/HAT-L.pth"), scale=4)
    assert str(tmp_path / "weights") in caught.value.message


def test_a_file_is_also_found_in_the_folder_of_weights(swinir, monkeypatch):
    path, _ = swinir
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(path.parent))
    assert load_expert(ExpertConfig(path.name), scale=4).facts.name == "small_swinir"


def test_without_spandrel_a_file_of_others_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "net.safetensors")
    with pytest.raises(MissingError) as caught:
        load_experts(wanted(tmp_path / "net.safetensors"), scale=4)
    assert "eorestore[experts]" in caught.value.fix


def test_another_file_than_the_one_asked_for_is_refused(ours):
    with pytest.raises(CheckpointError, match="asked for is 000"):
        load_experts(wanted(ours[0], sha256="0" * 64), scale=4)


def test_experts_of_another_scale_or_number_of_bands_are_refused(ours):
    with pytest.raises(ConfigError, match="enlarges 4 times"):
        load_experts(wanted(ours[0]), scale=2)
    with pytest.raises(UsageError, match="takes 3 bands"):
        load_experts(wanted(ours[0]), scale=4)(torch.zeros(1, 4, 8, 8))


def test_features_come_from_the_module_that_is_named(ours):
    _, features = load_experts(wanted(ours[0], features="enter"), scale=4, features=True)(image())
    with torch.no_grad():
        assert torch.equal(features, load_checkpoint(ours[0]).model.enter(image()))
    with pytest.raises(ConfigError, match="no module for its features at nowhere"):
        load_experts(wanted(ours[0], features="nowhere"), scale=4, features=True)


def test_bf16_is_near_and_refused_where_the_network_cannot(ours):
    low = image()
    exact = load_experts(wanted(ours[0]), scale=4)(low)[0]
    near = load_experts(wanted(ours[0], precision="bf16"), scale=4)(low)[0]
    assert near.dtype == torch.float32
    assert 0 < (near - exact).abs().max() < 0.1


def test_two_workers_give_what_one_gives(ours):
    low = image()
    serial = load_experts(wanted(*ours), scale=4, features=True)(low)
    together = load_experts(wanted(*ours), scale=4, features=True, workers=2)(low)
    assert all(torch.equal(one, other) for one, other in zip(serial, together, strict=True))


def test_experts_take_no_gradient_and_never_train(ours):
    experts = load_experts(wanted(*ours), scale=4).train()
    found, _ = experts(image().requires_grad_())
    assert not found.requires_grad
    assert not any(module.training for module in experts.experts)
    assert not any(parameter.requires_grad for parameter in experts.parameters())


@pytest.fixture
def fused(ours, tmp_path):
    """The folder of a fusion of both."""
    facts = load_experts(wanted(*ours), scale=4).facts
    folder = tmp_path / "fused"
    save_checkpoint(
        folder,
        build_model("expert-fusion", FUSION, seed=1),
        rgb_processor(4),
        task="super-resolution",
        provenance={},
        tile=64,
        overlap=64,
        experts=facts,
    )
    return folder


def test_a_fusion_restores_with_its_experts_and_starts_at_their_mean(fused):
    model = whole_model(load_checkpoint(fused))
    low = image()
    with torch.no_grad():
        experts, fused_image = model.experts_of(low), model(low=low).image
    assert model.expert_names == ("convolution", "attention")
    assert torch.allclose(fused_image, experts.mean(dim=1), atol=1e-6)
    assert (experts[:, 0] - experts[:, 1]).abs().max() > 0.01


def test_the_size_rule_of_a_fusion_is_that_of_all(fused):
    model = whole_model(load_checkpoint(fused))
    config = read_config(fused)
    assert {name: getattr(model, name) for name in SizeRule.__dataclass_fields__} == {
        name: config[name] for name in SizeRule.__dataclass_fields__
    }
    alone = build_model("expert-fusion", FUSION)
    assert model.reach == alone.reach + max(facts["reach"] for facts in config["experts"])
    assert model.phase % 4 == 0


def test_one_expert_without_reach_blends_all(ours):
    facts = load_experts(wanted(*ours), scale=4).facts
    from dataclasses import replace

    rule = joined_rule(SizeRule(scale=4, reach=10), [facts[0], replace(facts[1], reach=None)])
    assert (rule["reach"], rule["tiling"]) == (None, "blend")


def test_a_fusion_without_its_expert_does_not_load(fused, ours):
    (ours[1] / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        whole_model(load_checkpoint(fused))


def test_a_fusion_whose_expert_was_trained_anew_does_not_load(fused, ours):
    model = build_model("light-sr", LIGHT | {"kind": "attention"}, seed=9)
    save_checkpoint(ours[1], model, rgb_processor(4), task="super-resolution", provenance={}, tile=64, overlap=16)
    with pytest.raises(CheckpointError, match="asked for"):
        whole_model(load_checkpoint(fused))


def mixed_scene():
    """A flat half and a detailed half, and a sample of it as `prepare` gets one."""
    low = torch.full((1, 3, 16, 32), 0.4)
    low[..., 16:] = image(height=16, width=16)
    return low, SceneSample({}, ({"low": low},), 1)


def run_tile(model, low, prepared):
    constants = {name: value[None] for name, value in prepared.constants.items()}
    with torch.no_grad():
        return model(low=low, **constants)


def test_with_a_budget_easy_tiles_run_the_first_expert_alone(fused):
    checkpoint = load_checkpoint(fused)
    model = whole_model(checkpoint, routing=Routing(0.5, tile=16))
    low, sample = mixed_scene()
    prepared = model.prepare(sample)
    both = torch.cat([low[..., :16], low[..., 16:]])
    found = run_tile(model, both, prepared)
    with torch.no_grad():
        alone, fused_image = model.experts_of(both)[0, 0], whole_model(checkpoint)(low=both[1:]).image[0]
    assert torch.equal(found.image[0], alone)
    assert torch.allclose(found.image[1], fused_image, atol=1e-6)
    assert model.calls == {"easy": 1, "hard": 1}
    assert found.extras["gates"][0, 0].min() == 1


def test_the_bands_of_a_tile_are_easy_or_hard_as_one(fused):
    model = whole_model(load_checkpoint(fused), routing=Routing(0.5, tile=16))
    low, sample = mixed_scene()
    both = torch.cat([low[..., :16], low[..., 16:]])  # as if they were two groups of bands of one tile
    limit = model.prepare(sample).constants["hard_from"][None]
    with torch.no_grad():
        model(low=both, hard_from=limit / 4, together=2)
        assert model.calls == {"easy": 0, "hard": 2}
        model(low=both, hard_from=limit * 4, together=2)
    assert model.calls == {"easy": 2, "hard": 2}


def test_easy_tiles_call_no_other_expert(fused):
    model = whole_model(load_checkpoint(fused), routing=Routing(0.5, tile=16))
    low, sample = mixed_scene()
    calls = []
    model.experts.experts[1].network.register_forward_hook(lambda *told: calls.append(told))
    run_tile(model, low[..., :16], model.prepare(sample))
    assert calls == []


def test_a_budget_of_all_tiles_fuses_all(fused):
    checkpoint = load_checkpoint(fused)
    model = whole_model(checkpoint, routing=Routing(1.0, tile=16))
    low, sample = mixed_scene()
    with torch.no_grad():
        expected = whole_model(checkpoint)(low=low).image
    assert torch.equal(run_tile(model, low, model.prepare(sample)).image, expected)
    assert model.calls["easy"] == 0


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0])
def test_a_budget_is_a_share(share):
    with pytest.raises(UsageError, match="of the tiles"):
        Routing(share)


def test_a_budget_of_tiles_is_for_fusions(ours):
    with pytest.raises(UsageError, match="fused experts"):
        whole_model(load_checkpoint(ours[0]), routing=Routing(0.5))
