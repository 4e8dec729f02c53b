"""AFSST in our reading: its switches, the weights of its flows, missing SAR, and the mask in its attention."""

import pytest
import torch

from eorestore.config import load_config
from eorestore.errors import ConfigError, UsageError
from eorestore.models.afsst import AFSST, AFSSTSettings
from eorestore.models.model import SceneSample
from eorestore.models.table import build_model

SMALL = {"channels": 8, "blocks": 2, "heads": 2, "window": 4, "head_channels": 4}
NAN = float("nan")


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return AFSST(AFSSTSettings(**SMALL | changes)).eval()


def perturb(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "cloudy": torch.rand(2, 13, 16, 24, generator=generator),
        "sar": torch.rand(2, 2, 16, 24, generator=generator),
        "mask": (torch.rand(2, 1, 16, 24, generator=generator) > 0.5).float(),
    }


def count(**settings):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in AFSST(AFSSTSettings(**settings)).parameters())


def without_sar(given, *, item=slice(None), bands=slice(None)):
    sar = given["sar"].clone()
    sar[item, bands] = NAN
    return given | {"sar": sar}


def test_our_size_is_4187824_parameters_and_the_ablations_are_of_like_size():
    whole = count()
    assert whole == 4_187_824
    assert count(spectral_flow=False) == pytest.approx(whole, rel=0.03)
    assert count(spatial_flow=False) == pytest.approx(whole, rel=0.03)
    assert count(msfem=False) == pytest.approx(whole, rel=0.03)


def test_the_compact_preset_has_the_size_of_the_study():
    model = load_config("presets/afsst-compact.yaml").model
    parameters = build_model(model.name, model.settings).parameters()
    assert 270_000 <= sum(parameter.numel() for parameter in parameters) <= 330_000


def test_the_untrained_model_returns_the_cloudy_image():
    given = inputs()
    assert torch.equal(make()(**given).image, given["cloudy"])


def test_both_flows_weigh_the_same_at_the_start():
    weight = make()(**inputs()).extras["sar_weight"]
    assert weight.shape == (2, 1, 16, 24)
    assert torch.allclose(weight, torch.tensor(0.5))


def test_the_weights_of_a_fusion_are_a_softmax_over_the_two_flows():
    fusion = perturb(make().fusions[0])
    optical, sar = torch.randn(2, 3, 8, 6, 6)
    there = torch.ones(3, 1, 1, 1, dtype=torch.bool)
    fused, weight = fusion(optical, sar, there=there)
    assert torch.allclose(fused, (1 - weight) * optical + weight * sar, atol=1e-6)
    both = torch.cat([optical, sar], dim=1)
    inner = fusion.around(both) + fusion.overall(both.mean(dim=(2, 3)))[..., None, None]
    first, second = fusion.logits(torch.nn.functional.gelu(inner)).chunk(2, dim=1)
    assert torch.allclose(weight, torch.sigmoid(second - first), atol=1e-6)
    assert weight.std() > 0.01


def test_the_saved_map_is_the_mean_over_stages_and_channels():
    model, given = perturb(make()), inputs()
    seen = []
    for fusion in model.fusions:
        fusion.register_forward_hook(lambda _, __, output: seen.append(output[1]))
    found = model(**given).extras["sar_weight"]
    expected = torch.stack(seen).mean(dim=(0, 2))
    assert torch.allclose(found[:, 0, ::2, ::2], expected, atol=1e-6)
    assert torch.equal(found[..., ::2, ::2], found[..., 1::2, 1::2])


@pytest.mark.parametrize("fusion", ["tfusion", "concat_features", "concat_input"])
def test_missing_sar_gives_a_finite_image_of_the_optics_alone(fusion):
    model, given = perturb(make(fusion=fusion)), inputs()
    alone = model(**without_sar(given))
    assert alone.image.isfinite().all()
    assert not torch.allclose(alone.image, model(**given).image, atol=1e-4)
    if fusion == "tfusion":
        assert not alone.extras["sar_weight"].any()
    if fusion != "concat_input":
        perturb(model.sar_flow)
        perturb(model.sar_stem)
        assert torch.equal(model(**without_sar(given)).image, alone.image)


def test_an_item_without_sar_does_not_take_it_from_its_neighbour():
    model, given = perturb(make()), inputs()
    mixed = model(**without_sar(given, item=0))
    assert not mixed.extras["sar_weight"][0].any()
    assert torch.allclose(mixed.image[1], model(**given).image[1], atol=1e-5)


def test_vv_alone_is_used():
    model, given = perturb(make()), inputs()
    half = model(**without_sar(given, bands=1))
    assert half.image.isfinite().all()
    assert (half.extras["sar_weight"] > 0).all()
    moved = given | {"sar": given["sar"] + torch.tensor([0.3, 0.0])[:, None, None] * inputs(1)["sar"]}
    assert not torch.allclose(model(**without_sar(moved, bands=1)).image, half.image, atol=1e-5)


@pytest.mark.parametrize("spectral_flow", [True, False])
def test_the_mask_has_no_effect_at_the_start_and_one_after_training(spectral_flow):
    model, given = make(mask_attention=True, spectral_flow=spectral_flow), inputs()
    torch.nn.init.normal_(model.head[-1].weight)
    other = given | {"mask": 1 - given["mask"]}
    assert torch.equal(model(**given).image, model(**other).image)
    perturb(model)
    assert not torch.allclose(model(**given).image, model(**other).image, atol=1e-4)


def test_mask_attention_without_a_mask_is_refused():
    given = inputs()
    del given["mask"]
    assert make()(**given).image.isfinite().all()
    with pytest.raises(UsageError, match="no mask"):
        make(mask_attention=True)(**given)


def test_sobel_is_learned_fixed_or_off():
    learned, fixed, off = (make(sobel=kind) for kind in ("learned", "fixed", "off"))
    factors = [gradient.factor for gradient in learned.sar_stem.gradients]
    assert [factor.item() for factor in factors] == [1.0, 1.0, 1.0]
    assert count(sobel="learned") - count(sobel="fixed") == 3
    assert fixed.sar_stem.branches[0].in_channels == 24
    assert (off.sar_stem.branches[0].in_channels, len(off.sar_stem.gradients)) == (8, 0)
    perturb(learned)(**inputs()).image.square().mean().backward()
    assert all(factor.grad != 0 for factor in factors)


def test_sides_need_whole_windows_only_where_there_are_windows():
    assert make().multiple_of == make(spectral_flow=False).multiple_of == 8
    assert make(spatial_flow=False).multiple_of == make(fusion="concat_input").multiple_of == 2
    given = {name: value[..., :10, :14] for name, value in inputs().items()}
    assert perturb(make(spatial_flow=False))(**given).image.shape == (2, 13, 10, 14)


def over_an_estimate(**changes):
    given = inputs()
    scene = {name: value[:1] for name, value in given.items()}
    model = make(start="estimate", **changes)
    learned = model.prepare(SceneSample(overview=scene, windows=(scene,)))
    constants = {name: value[None] for name, value in learned.constants.items()}
    return model, scene | dict(learned.maps) | constants


@pytest.mark.parametrize("value", [65535.0, NAN, float("inf")])
def test_over_an_estimate_what_was_observed_under_the_mask_changes_nothing(value):
    model, given = over_an_estimate()
    before = perturb(model)(**given).image
    under = given["mask"].bool().expand_as(given["cloudy"])
    given["cloudy"] = torch.where(under, value, given["cloudy"])
    assert torch.equal(model(**given).image, before)


def test_the_untrained_model_over_an_estimate_keeps_clear_pixels_and_takes_the_estimate_elsewhere():
    model, given = over_an_estimate(sees_cloud=True)
    image, under = model(**given).image, given["mask"].bool().expand_as(given["cloudy"])
    assert torch.equal(image[~under], given["cloudy"][~under])
    assert not torch.allclose(image[under], given["cloudy"][under], atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"heads": 3}, "heads 3"),
        ({"window": 5}, "window 5"),
        ({"spectral_flow": False, "spatial_flow": False}, "both off"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        AFSSTSettings(**SMALL | wrong)


def test_a_few_steps_of_training_take_a_constant_haze_away():
    model, given = make().train(), inputs()
    target = given["cloudy"] * 0.5
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = (model(**given).image - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
