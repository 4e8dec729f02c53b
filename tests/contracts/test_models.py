"""What every model in the table owes its callers."""

import inspect
import json
import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from eorestore.errors import UnknownNameError
from eorestore.models.catalogue import BASELINES, SizeRule
from eorestore.models.checkpoint import load_checkpoint, save_checkpoint
from eorestore.models.model import Output
from eorestore.models.parts import example_inputs, multiply_adds, parameters_by_part
from eorestore.models.settings import settings_from_dict, settings_to_dict
from eorestore.models.table import MODELS, build_model, model_name
from eorestore.processing.processor import glf_cr_processor

TINY = {"channels": 8, "growth": 8, "blocks": 2, "layers": 2, "heads": 2, "window": 4, "head_channels": 4}
SMALL_AFSST = {"channels": 8, "blocks": 2, "heads": 2, "window": 4, "head_channels": 4}
SMALL_CLEARVIEW = {"channels": [8, 12], "sar_channels": [4, 6], "head_channels": 4}
SMALL_FUSION = {"bands": 13, "channels": 8, "heads": 2, "refine_channels": 6, "refine_layers": 3, "edge_channels": 4}
SMALL_LIGHT = {"bands": 13, "channels": 8, "heads": 2, "window": 4, "blocks": 1}
SMALL_ZERO_SHOT = {"bands": 13, "channels": 8, "blocks": 2, "reduction": 4}
SETTINGS = {
    "afsst": {
        "tiny": SMALL_AFSST,
        "spa": SMALL_AFSST | {"spectral_flow": False, "sobel": "fixed"},
        "spectral only": SMALL_AFSST | {"spatial_flow": False, "sobel": "off"},
        "features joined": SMALL_AFSST | {"fusion": "concat_features", "msfem": False},
        "inputs joined": SMALL_AFSST | {"fusion": "concat_input"},
        "mask in spectral attention": SMALL_AFSST | {"mask_attention": True},
        "mask in windows": SMALL_AFSST | {"mask_attention": True, "spectral_flow": False},
        "over an estimate": SMALL_AFSST | {"start": "estimate", "sees_cloud": True},
    },
    "band-sharpening": {
        "tiny": {"bands": 13, "channels": 8, "blocks": 1},
        "plain means": {"bands": 13, "fine": 3, "channels": 8, "blocks": 2, "blur": 0.0},
    },
    "clearview": {"tiny": SMALL_CLEARVIEW, "from the cloudy image": SMALL_CLEARVIEW | {"start": "cloudy"}},
    "dsen2-cr": {"tiny": {"channels": 8, "blocks": 2}, "no SAR": {"channels": 8, "blocks": 2, "sar": False}},
    "uncrtaints": {"tiny": {"channels": 8, "blocks": 2}, "residual": {"channels": 8, "blocks": 2, "mean": "residual"}},
    "expert-fusion": {
        "tiny": SMALL_FUSION,
        "features": SMALL_FUSION | {"experts": 2, "feature_channels": [5, 3], "kernel": "strips", "dct": "blocks"},
        "limits of each image": SMALL_FUSION | {"limits": "image", "edges": False, "hierarchical": False},
        "weights only": SMALL_FUSION | {"refine": False, "edges": False, "frequency": False, "keep": 2},
        "corrections only": SMALL_FUSION | {"cross_expert": False, "hierarchical": False, "gates": False, "scale": 2},
        "free": SMALL_FUSION | {"strict_identity": False, "cross_band": False, "scale": 1},
    },
    "light-sr": {
        "convolution": SMALL_LIGHT,
        "attention": SMALL_LIGHT | {"kind": "attention", "blocks": 2},
        "large kernel": SMALL_LIGHT | {"kind": "large-kernel", "kernel": 5, "scale": 2},
    },
    "glf-cr": {
        "tiny": TINY,
        "over an estimate": TINY | {"start": "estimate", "sees_cloud": True},
        "v3": TINY | {"cross_attention": [0, 1], "cross_attention_heads": 2, "texture": True},
        "v4": TINY
        | {"cross_attention": [1], "cross_attention_place": "before", "cross_attention_heads": 2, "texture": True}
        | {"global_blocks": [0, 1], "global_heads": 2, "global_tokens": 4, "branch_channels": 4},
        "v1 over channels": TINY
        | {"cross_attention": [0, 1], "cross_attention_kind": "channel", "cross_attention_heads": 2},
    },
    "sar-autoencoder": {
        "tiny": {"channels": [4, 6], "latent": 3},
        "residual": {"channels": [4, 6], "latent": 3, "residual": True, "norm": "none", "output": "linear"},
        "attention": {"channels": [4, 6], "latent": 3, "attention": "features", "reduction": 2},
        "attention on the latent": {"channels": [4, 6], "latent": 4, "attention": "latent", "reduction": 2},
    },
    "sar-opt-cgan": {
        "batch norm": {"channels": 8, "depth": 3},
        "instance norm": {"channels": 8, "depth": 3, "norm": "instance"},
    },
    "spa-gan": {
        "optical": {"channels": 8, "stages": 2, "stage_blocks": 1},
        "with SAR": {"channels": 8, "stages": 2, "stage_blocks": 1, "sar": True},
    },
    "zssr": {
        "tiny": {"bands": 13, "channels": 8, "layers": 3},
        "three times": {"bands": 13, "channels": 8, "layers": 8, "scale": 3},
    },
    "zero-shot-sr": {
        "fast": SMALL_ZERO_SHOT,
        "guided, spatial attention": SMALL_ZERO_SHOT | {"spatial_attention": True, "guide_bands": 2, "scale": 3},
        "plan": SMALL_ZERO_SHOT
        | {"kind": "residual-attention", "norm": "group", "channel_attention": True, "spatial_attention": True},
        "local": SMALL_ZERO_SHOT | {"kind": "residual-attention", "scale": 4},
    },
}
"""By name of the model and of a variant: settings small enough for a test. A model that is not here is tested once,
with the settings that it has by itself."""

# The published network updates the SAR stream once more after the last block, and reads it no more.
LAST_SAR_UPDATE = (r"optical_gates\.1\.(weight|bias)",)
UNUSED = {
    "glf-cr": {"tiny": LAST_SAR_UPDATE, "over an estimate": LAST_SAR_UPDATE, "v4": LAST_SAR_UPDATE},
}
"""By name and variant: patterns of the trainable parameters that the specification itself leaves without gradient."""

WITHOUT_CLOUDS = ("sar-autoencoder",)
"""Models that take one SAR band and give it back."""

ENLARGING = {
    "bicubic": {"low"}, "expert-fusion": {"low", "experts"}, "light-sr": {"low"}, "zero-shot-sr": {"low"},
    "zssr": {"low"},
}  # fmt: skip
"""Models of a small image, by name, with what they need."""

SHARPENING = ("band-sharpening", "bicubic-20m", "high-pass-injection")
"""Models of one scene whose bands are of two sizes of pixels."""

CASES = [(name, variant) for name in sorted(MODELS) for variant in SETTINGS.get(name, {"as it is": {}})]


def perturbed(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model.eval()


@pytest.fixture(params=CASES, ids=[f"{name}, {variant}" for name, variant in CASES])
def case(request):
    return request.param


@pytest.fixture
def name(case):
    return case[0]


@pytest.fixture
def model(case):
    name, variant = case
    return perturbed(build_model(name, SETTINGS.get(name, {}).get(variant, {}), seed=1))


def unused(case, model):
    name, variant = case
    pattern = "|".join(UNUSED.get(name, {}).get(variant, ())) or "(?!)"
    return {key for key, _ in model.named_parameters() if re.fullmatch(pattern, key)}


def sides(model, count=2):
    side = -(-16 // model.multiple_of) * model.multiple_of
    return {"height": side, "width": count * side}


def run(model, inputs):
    with torch.no_grad():
        return model(**inputs).image


def test_every_baseline_of_the_catalogue_is_in_the_table_with_the_same_size_rule(name, model):
    if name in BASELINES:
        assert BASELINES[name] == SizeRule(**{key: getattr(model, key) for key in SizeRule.__dataclass_fields__})
    else:
        assert sum(parameter.numel() for parameter in model.parameters()) > 0


def test_the_output_is_an_image_scaled_as_declared(name, model):
    inputs = example_inputs(model, **sides(model), batch=2)
    output = model(**inputs)
    height, width = (model.scale * side for side in sides(model).values())
    assert isinstance(output, Output)
    assert output.image.shape == (2, 1 if name in WITHOUT_CLOUDS else 13, height, width)
    assert output.image.isfinite().all()
    assert {key: value.shape[1] for key, value in output.extras.items()} == dict(model.extras)
    assert all(value.shape[-2:] == output.image.shape[-2:] for value in output.extras.values())


def test_forward_takes_keywords_that_the_processor_the_mask_or_prepare_gives(name, model):
    parameters = inspect.signature(model.forward).parameters.values()
    needed = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    given = set(example_inputs(model, **sides(model)))
    assert needed <= given <= {parameter.name for parameter in parameters}
    if name in ENLARGING:
        assert needed == ENLARGING[name]
    elif name in SHARPENING:
        assert "multispectral" in needed
    elif name not in BASELINES:
        assert ("sar" if name in WITHOUT_CLOUDS else "cloudy") in needed <= {*glf_cr_processor().inputs, "mask"}


def test_a_saved_model_loads_with_equal_images(model, tmp_path):
    save_checkpoint(tmp_path / "m", model, glf_cr_processor(), task="cloud-removal", provenance={}, tile=64, overlap=0)
    inputs = example_inputs(model, **sides(model))
    assert torch.equal(run(load_checkpoint(tmp_path / "m").model, inputs), run(model, inputs))


def test_settings_survive_json(model):
    values = json.loads(json.dumps(settings_to_dict(model.settings)))
    assert settings_from_dict(model.settings_type, values) == model.settings


def test_an_item_of_a_batch_equals_the_item_alone(model):
    inputs = example_inputs(model, **sides(model), batch=3)
    alone = {key: value[1:2] if value.shape[0] == 3 else value for key, value in inputs.items()}
    assert torch.allclose(run(model, inputs)[1:2], run(model, alone), atol=1e-5)


def test_gradient_reaches_every_trainable_parameter_and_no_frozen_one(case, model):
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if trainable:
        output = model(**example_inputs(model, **sides(model), batch=2))
        torch.stack([value.square().mean() for value in (output.image, *output.extras.values())]).sum().backward()
    without = {key for key, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad and p.grad is not None}
    assert without == unused(case, model)
    assert not frozen


def test_the_same_input_gives_the_same_image(model):
    inputs = example_inputs(model, **sides(model))
    assert torch.equal(run(model, inputs), run(model, inputs))


def test_a_pixel_beyond_the_reach_changes_nothing(model):
    if model.reach is None:
        pytest.skip("the reach is declared as global")
    side = model.multiple_of
    width = -(-(model.reach + 17) // side) * side
    inputs = example_inputs(model, height=max(side, 8), width=width)
    before = run(model, inputs)
    for key in {"cloudy", "sar", "low", "multispectral", "experts", "features"} & set(inputs):
        inputs[key] = inputs[key].clone()
        inputs[key][..., 0] += 0.5
    changed = (run(model, inputs) != before).flatten(0, 2).any(0).nonzero().flatten()
    assert changed.numel() == 0 or int(changed.max()) // model.scale <= model.reach


def test_the_parts_add_up_to_the_whole(case, model):
    parts = parameters_by_part(model)
    assert sum(part.total for part in parts) == sum(parameter.numel() for parameter in model.parameters())
    assert all(part.total == part.trainable + part.frozen for part in parts)
    expected = sum(model.get_parameter(key).numel() for key in unused(case, model))
    assert sum(part.without_gradient for part in parts) == expected


def test_the_cost_is_counted_without_computing_anything(model):
    inputs = example_inputs(model, **sides(model))
    if "mask" in inputs:
        inputs["mask"] = torch.ones_like(inputs["mask"])  # what is not hidden costs less
    with FlopCounterMode(display=False) as computed:
        run(model, inputs)
    assert 2 * multiply_adds(model, **sides(model)) == computed.get_total_flops()


def test_frozen_parameters_are_counted_apart():
    model = build_model("glf-cr", TINY)
    model.sar_stem.requires_grad_(requires_grad=False)
    part = next(part for part in parameters_by_part(model) if part.name == "sar_stem")
    assert (part.frozen, part.trainable) == (part.total, 0)


def test_the_seed_decides_the_weights_and_the_global_state_stays():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, again, other = (build_model("glf-cr", TINY, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.sar_stem.weight, again.sar_stem.weight)
    assert not torch.equal(first.sar_stem.weight, other.sar_stem.weight)


def test_a_misspelt_network_is_met_with_the_nearest_one():
    with pytest.raises(UnknownNameError) as caught:
        build_model("glf-crr", {})
    assert caught.value.suggestion == "glf-cr"


def test_a_model_knows_its_name_in_the_table(name, model):
    assert model_name(model) == name
