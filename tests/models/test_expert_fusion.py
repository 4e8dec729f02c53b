import dataclasses

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from eorestore.errors import ConfigError, UsageError
from eorestore.models.expert_fusion import PLAN, ExpertFusion, ExpertFusionSettings, parameters_by_phase
from eorestore.models.expert_fusion_parts import (
    TokenAttention,
    centred,
    halved,
    keep_largest,
    local_energy,
    resized,
)
from eorestore.models.model import SceneSample
from eorestore.models.table import build_model

SMALL = {"channels": 8, "heads": 2, "refine_channels": 8, "refine_layers": 3, "edge_channels": 4}
PHASES = ("frequency", "cross_band", "cross_expert", "hierarchical", "gates", "refine", "edges")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def world(height: int = 16, width: int = 24, *, experts: int = 3, bands: int = 3, batch: int = 1, seed: int = 0):
    """A smooth truth, its small image, and experts that err by noise of different size."""
    coarse = torch.rand(batch, bands, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    truth = F.interpolate(coarse, size=(4 * height, 4 * width), mode="bicubic")
    errors = noise(batch, experts, bands, 4 * height, 4 * width, seed=seed + 1)
    sizes = torch.linspace(0.01, 0.04, experts).view(1, -1, 1, 1, 1)
    return truth, {"low": F.avg_pool2d(truth, 4), "experts": truth[:, None] + errors * sizes}


def fusion(seed: int = 1, **settings) -> ExpertFusion:
    model = build_model("expert-fusion", SMALL | settings, seed=seed)
    assert isinstance(model, ExpertFusion)
    return model


def perturbed(model: ExpertFusion) -> ExpertFusion:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model.eval()


def run(model: ExpertFusion, inputs):
    with torch.no_grad():
        return model(**inputs)


def trained(model: ExpertFusion, truth, inputs, *, steps: int, after_step=None) -> list[float]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (model(**inputs).image - truth).abs().mean()
        loss.backward()
        if after_step is not None:
            after_step()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("experts", [1, 2, 3, 5])
@pytest.mark.parametrize("bands", [1, 4])
def test_untrained_it_is_the_mean_of_the_experts_and_every_expert_weighs_the_same(experts, bands):
    _, inputs = world(experts=experts, bands=bands)
    output = run(fusion(experts=experts, bands=bands), inputs)
    assert (output.image - inputs["experts"].mean(dim=1)).abs().max() <= 1e-6
    assert torch.allclose(output.extras["gates"], torch.tensor(1 / experts), atol=1e-7)


@pytest.mark.parametrize("off", PHASES)
def test_with_any_phase_off_it_still_starts_at_the_mean(off):
    _, inputs = world()
    output = run(fusion(**{off: False}), inputs)
    assert (output.image - inputs["experts"].mean(dim=1)).abs().max() <= 1e-6


def test_experts_that_agree_give_their_common_image_to_the_last_bit_before_training_and_after():
    truth, inputs = world(experts=5)
    model = fusion(experts=5)
    perfect = {"low": inputs["low"], "experts": truth[:, None].expand(-1, 5, -1, -1, -1) + 0.0}
    assert torch.equal(run(model, perfect).image, truth)
    trained(model, truth, inputs, steps=4)
    assert not torch.allclose(run(model, inputs).image, inputs["experts"].mean(dim=1), atol=1e-5)
    assert torch.equal(run(model, perfect).image, truth)
    assert torch.equal(run(perturbed(model), perfect).image, truth)


def test_only_strict_identity_keeps_perfect_experts_perfect():
    truth, inputs = world()
    free = perturbed(fusion(strict_identity=False))
    assert (run(free, inputs | {"experts": truth[:, None].repeat(1, 3, 1, 1, 1)}).image - truth).abs().max() > 1e-4


def test_training_lowers_the_loss():
    truth, inputs = world(batch=2)
    losses = trained(fusion(), truth, inputs, steps=15)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("more", [{}, {"feature_channels": (5, 3, 4), "limits": "image", "kernel": "strips"}])
def test_after_two_steps_every_parameter_has_had_a_gradient(more):
    truth, inputs = world(batch=2)
    if more:
        inputs["features"] = noise(2, 12, 16, 24, seed=5)
    model = fusion(**more)
    reached = set()

    def note() -> None:
        reached.update(name for name, p in model.named_parameters() if p.grad is not None and p.grad.ne(0).any())

    trained(model, truth, inputs, steps=2, after_step=note)
    assert reached == {name for name, _ in model.named_parameters()}


def test_a_constant_added_to_all_images_comes_out_and_changes_no_weight():
    """An energy with the mean in it gave one of three experts 97 % of the weight."""
    _, inputs = world()
    model = perturbed(fusion())
    before, after = run(model, inputs), run(model, {name: value + 0.5 for name, value in inputs.items()})
    assert torch.allclose(after.image, before.image + 0.5, atol=1e-5)
    assert torch.allclose(after.extras["gates"], before.extras["gates"], atol=1e-4)
    guidance = model.frequency(inputs["low"], None)
    assert torch.allclose(local_energy(guidance), local_energy(model.frequency(inputs["low"] + 0.5, None)), atol=1e-4)


def test_gates_hang_on_what_the_experts_disagree_on():
    _, inputs = world()
    model = perturbed(fusion(hierarchical=False, cross_expert=False))
    mean = inputs["experts"].mean(dim=1, keepdim=True)
    closer = inputs | {"experts": mean + 0.3 * (inputs["experts"] - mean)}
    first, second = run(model, inputs).extras, run(model, closer).extras
    assert (first["gates"] - second["gates"]).abs().max() > 0.01
    assert (first["difficulty"] - second["difficulty"]).abs().max() > 0.01


def test_constant_experts_give_a_constant_up_to_the_edge():
    model = perturbed(fusion())
    levels = torch.tensor([0.2, 0.5, 0.4]).view(1, 3, 1, 1, 1)
    inputs = {"low": torch.full((1, 3, 13, 10), 0.4), "experts": levels.expand(1, 3, 3, 52, 40)}
    output = run(model, inputs)
    for value in (output.image, *output.extras.values()):
        assert torch.allclose(value, value[..., :1, :1].expand_as(value), atol=1e-5)


@pytest.mark.parametrize("more", [{}, {"wavelet": "haar", "kernel": "strips", "dct": "blocks", "keep": 2}])
def test_a_tile_with_a_halo_of_the_reach_equals_the_whole_bit_by_bit(more):
    model = perturbed(fusion(**more))
    reach = model.reach
    _, inputs = world(height=112, width=104)
    whole = run(model, inputs)
    tiles = ((slice(0, 96), slice(0, 104)), (slice(16, 112), slice(8, 104)))
    for rows, columns in tiles:
        assert rows.start % model.phase == columns.start % model.phase == 0
        larger = tuple(slice(4 * axis.start, 4 * axis.stop) for axis in (rows, columns))
        tile = run(model, {"low": inputs["low"][..., rows, columns], "experts": inputs["experts"][..., *larger]})
        inner = tuple(
            slice(4 * (axis.start + reach * (axis.start > 0)), 4 * (axis.stop - reach * (axis.stop < size)))
            for axis, size in zip((rows, columns), (112, 104), strict=True)
        )
        own = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, larger, strict=True))
        for of_whole, of_tile in zip(
            (whole.image, *whole.extras.values()), (tile.image, *tile.extras.values()), strict=True
        ):
            assert of_whole[..., *inner].numel() > 0
            assert torch.equal(of_tile[..., *own], of_whole[..., *inner])


def test_a_pixel_just_beyond_the_reach_changes_nothing_wherever_it_lies():
    model = perturbed(fusion(wavelet="haar"))
    reach = model.reach
    _, inputs = world(height=8, width=2 * reach + 16)
    before = run(model, inputs)
    for column in range(reach + 4, reach + 12, 3):
        changed = {name: value.clone() for name, value in inputs.items()}
        changed["low"][..., column] += 0.5
        changed["experts"][:, 0, ..., 4 * column : 4 * column + 4] += 0.5
        difference = (run(model, changed).image != before.image).flatten(0, 2).any(dim=0).nonzero().flatten() // 4
        assert difference.min() >= column - reach
        assert difference.max() <= column + reach


def test_attention_works_on_no_more_pixels_at_once_than_its_chunk():
    attention = TokenAttention(8, 2, chunk=256)

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and "split" not in str(function) and "cat" not in str(function):
                self.numbers = max(self.numbers, result.numel())
            return result

    found = []
    for side in (64, 128):
        tokens = noise(1, 3, 8, side, side)
        with torch.no_grad(), Largest() as largest:
            attention(tokens)
        found.append(largest.numbers)
    assert found[1] <= found[0] < 3 * 8 * 64 * 64


def test_the_chunk_changes_nothing():
    tokens, whole, pieces = noise(2, 3, 8, 20, 12), TokenAttention(8, 2, chunk=10**6), TokenAttention(8, 2, chunk=1)
    pieces.load_state_dict(whole.state_dict())
    with torch.no_grad():
        assert torch.allclose(whole(tokens), pieces(tokens), atol=1e-6)


def test_attention_is_torchs_over_the_tokens_of_a_pixel():
    ours = TokenAttention(8, 2, chunk=64)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.query_key_value.weight[:, :, 0, 0])
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(ours.leave.weight[:, :, 0, 0])
        theirs.out_proj.bias.copy_(ours.leave.bias)
        tokens = noise(1, 5, 8, 2, 3)
        sequence = tokens.permute(0, 3, 4, 1, 2).flatten(0, 2)
        normed = F.layer_norm(sequence, (8,))
        expected = (sequence + theirs(normed, normed, normed)[0]).view(1, 2, 3, 5, 8).permute(0, 3, 4, 1, 2)
        assert torch.allclose(ours(tokens), expected, atol=1e-5)


def test_at_most_so_many_experts_are_kept_at_a_pixel():
    _, inputs = world(experts=4)
    for keep in (1, 2, 3):
        gates = run(perturbed(fusion(experts=4, keep=keep)), inputs).extras["gates"]
        assert int((gates > 0).sum(dim=1).max()) == keep
        assert torch.allclose(gates.sum(dim=1), torch.ones(()), atol=1e-6)


def test_a_dropped_expert_still_gets_its_gradient():
    weights = torch.tensor([0.5, 0.3, 0.2]).view(1, 3, 1, 1).requires_grad_()
    kept = keep_largest(weights, 2)
    assert torch.allclose(kept.flatten(), torch.tensor([0.625, 0.375, 0.0]))
    kept[0, 2].sum().backward()
    assert weights.grad.flatten().tolist() == [0, 0, 1]


def test_features_shift_weights_and_never_the_radiometry():
    truth, inputs = world()
    model = perturbed(fusion(feature_channels=(5, 3, 4)))
    first = run(model, inputs | {"features": noise(1, 12, 16, 24, seed=3)})
    second = run(model, inputs | {"features": noise(1, 12, 16, 24, seed=4)})
    assert (first.extras["gates"] - second.extras["gates"]).abs().max() > 0.01
    agree = inputs | {"experts": truth[:, None].repeat(1, 3, 1, 1, 1), "features": noise(1, 12, 16, 24)}
    assert torch.equal(run(model, agree).image, truth)


def test_bands_of_one_scene_share_the_weights_that_all_of_them_speak_for():
    model = perturbed(fusion(refine=False, edges=False, keep=3))
    _, inputs = world(batch=4)
    alone, shared = run(model, inputs), run(model, inputs | {"together": 2})
    for name in ("gates", "difficulty"):
        assert torch.equal(shared.extras[name][::2], shared.extras[name][1::2])
        assert not torch.equal(alone.extras[name][::2], alone.extras[name][1::2])
    weighted = (inputs["experts"] * shared.extras["gates"][:, :, None]).sum(dim=1)
    assert torch.allclose(shared.image, weighted, atol=1e-6)
    same = {name: value[:1].repeat_interleave(3, 0) for name, value in inputs.items()}
    assert torch.allclose(run(model, same | {"together": 3}).image, alone.image[:1].expand(3, -1, -1, -1), atol=1e-6)


def test_without_corrections_the_image_lies_between_the_experts():
    _, inputs = world()
    image = run(perturbed(fusion(refine=False, edges=False)), inputs).image
    assert (image >= inputs["experts"].amin(dim=1) - 1e-6).all()
    assert (image <= inputs["experts"].amax(dim=1) + 1e-6).all()


def test_limits_of_an_image_are_taken_once_for_a_scene():
    _, inputs = world()
    model = perturbed(fusion(limits="image"))
    assert model.needs_scene
    constants = model.prepare(SceneSample(overview={}, windows=({"low": inputs["low"]},))).constants
    expected = run(model, inputs).image
    given = run(model, inputs | {"profile": constants["profile"][None]}).image
    assert torch.equal(given, expected)
    other = run(model, inputs | {"profile": constants["profile"][None] + noise(14)}).image
    assert not torch.equal(other, expected)


def test_halving_and_doubling_keep_the_register():
    impulse = torch.zeros(1, 1, 32, 32)
    impulse[..., 14:16, 14:16] = 0.25  # a coarse pixel
    back = resized(halved(impulse), impulse)[0, 0]
    assert abs(float((back.sum(dim=0) * torch.arange(32)).sum() / back.sum()) - 14.5) < 0.05
    assert float(halved(centred(torch.ones(1, 1, 16, 16))).abs().max()) < 1e-6


def test_no_output_is_clamped():
    _, inputs = world()
    dark = {name: value * 3 - 2 for name, value in inputs.items()}
    assert float(run(fusion(), dark).image.min()) < -1.5


def test_the_compact_network_and_the_plans_have_their_sizes_by_phase():
    compact, plan = parameters_by_phase(ExpertFusionSettings()), parameters_by_phase(PLAN)
    assert tuple(compact) == tuple(plan) == PHASES
    model = ExpertFusion(ExpertFusionSettings())
    assert sum(compact.values()) == sum(parameter.numel() for parameter in model.parameters())
    assert 40_000 < sum(compact.values()) < 100_000
    assert 300_000 < sum(plan.values()) < 900_000
    without = parameters_by_phase(dataclasses.replace(PLAN, cross_expert=False, feature_channels=()))
    assert "cross_expert" not in without


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 10, "heads": 4}, "does not divide"),
        ({"experts": 0}, "at least 1"),
        ({"gain": 0.0}, "above 0"),
        ({"feature_channels": (5, 3)}, "2 numbers for 3 experts"),
        ({"feature_channels": (5, 3, 4), "cross_expert": False}, "only cross_expert reads features"),
        ({"hierarchical": False, "gates": False, "refine": False}, "all three are off"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ExpertFusionSettings(**settings)


def test_a_missing_expert_or_feature_is_an_error():
    _, inputs = world()
    with pytest.raises(UsageError, match="not \\(1, 3, 3, 64, 96\\)"):
        fusion()(low=inputs["low"], experts=inputs["experts"][:, :2])
    with pytest.raises(UsageError, match="features are missing"):
        fusion(feature_channels=(5, 3, 4))(**inputs)
    with pytest.raises(UsageError, match="not left out"):
        fusion()(**inputs, features=noise(1, 12, 16, 24))
