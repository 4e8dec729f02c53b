"""What every model in the table owes its callers."""

import inspect
import json

import pytest
import torch

from eorestore.errors import UnknownNameError
from eorestore.models.catalogue import BASELINES, SizeRule
from eorestore.models.checkpoint import load_checkpoint, save_checkpoint
from eorestore.models.model import Output
from eorestore.models.parts import example_inputs, parameters_by_part
from eorestore.models.settings import settings_from_dict, settings_to_dict
from eorestore.models.table import MODELS, build_model, model_name
from eorestore.processing.processor import glf_cr_processor

TINY = {"channels": 8, "growth": 8, "blocks": 2, "layers": 2, "heads": 2, "window": 4, "head_channels": 4}
SETTINGS = {"glf-cr": TINY}
"""Settings small enough for a test; a model that is not here is tested as it is."""

UNUSED = {
    "glf-cr": {
        # The published network updates the SAR stream once more after the last block, and reads it no more.
        "optical_gates.1.weight",
        "optical_gates.1.bias",
    },
}
"""Trainable parameters that the specification itself leaves without gradient."""


def perturbed(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model.eval()


@pytest.fixture(params=sorted(MODELS))
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return perturbed(build_model(name, SETTINGS.get(name, {}), seed=1))


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


def test_the_output_is_an_image_scaled_as_declared(model):
    inputs = example_inputs(model, **sides(model), batch=2)
    output = model(**inputs)
    height, width = (model.scale * side for side in sides(model).values())
    assert isinstance(output, Output)
    assert output.image.shape == (2, 13, height, width)
    assert output.image.isfinite().all()
    assert all(value.shape[-2:] == output.image.shape[-2:] for value in output.extras.values())


def test_forward_takes_keywords_that_the_processor_the_mask_or_prepare_gives(name, model):
    parameters = inspect.signature(model.forward).parameters.values()
    needed = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert needed == set(example_inputs(model, **sides(model)))
    if name not in BASELINES:
        assert needed == set(glf_cr_processor().inputs)


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


def test_gradient_reaches_every_trainable_parameter_and_no_frozen_one(name, model):
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if trainable:
        model(**example_inputs(model, **sides(model), batch=2)).image.square().mean().backward()
    without = {key for key, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad and p.grad is not None}
    assert without == UNUSED.get(name, set())
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
    for key in {"cloudy", "sar"} & set(inputs):
        inputs[key] = inputs[key].clone()
        inputs[key][..., 0] += 0.5
    changed = (run(model, inputs) != before).flatten(0, 2).any(0).nonzero().flatten()
    assert changed.numel() == 0 or int(changed.max()) <= model.reach


def test_the_parts_add_up_to_the_whole(name, model):
    parts = parameters_by_part(model)
    assert sum(part.total for part in parts) == sum(parameter.numel() for parameter in model.parameters())
    assert all(part.total == part.trainable + part.frozen for part in parts)
    unused = sum(model.get_parameter(key).numel() for key in UNUSED.get(name, ()))
    assert sum(part.without_gradient for part in parts) == unused


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
