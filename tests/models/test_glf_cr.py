"""GLF-CR: the published parameter count, any input size, and the compact form over an estimate."""

import pytest
import torch
import torch.nn.functional as F

from eorestore.errors import ConfigError, UsageError
from eorestore.models.glf_cr import GLFCR, GLFCRSettings

SMALL = {"channels": 8, "growth": 8, "blocks": 2, "layers": 3, "heads": 2, "window": 4, "head_channels": 4}


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return GLFCR(GLFCRSettings(**SMALL | changes)).eval()


def perturb(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return GLFCR(GLFCRSettings())


def test_the_published_network_has_14827373_parameters(published):
    assert count(published) == 14_827_373


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("dense_blocks", 9_652_320), ("kernel_generators", 4_385_664), ("head", 228_941), ("join", 138_432),
        ("optical_stem", 124_896), ("optical_entry", 83_040), ("sar_entry", 83_040), ("sar_gates", 55_872),
        ("optical_gates", 55_872), ("sar_stem", 19_296),
    ],
)  # fmt: skip
def test_every_part_has_its_published_number_of_parameters(published, part, expected):
    assert count(published.get_submodule(part)) == expected


def test_layers_and_generators_have_their_published_number_of_parameters(published):
    block = published.dense_blocks[0]
    assert [count(layer) for layer in block.layers] == [122_640, 164_112, 205_584, 247_056, 288_528]
    assert count(block.optical_out) == count(block.sar_out) == 290_400
    assert [count(step) for step in published.kernel_generators[0]] == [165_984, 0, 166_080, 166_080, 232_800, 0]


def test_size_rules_of_the_published_network(published):
    assert (published.scale, published.multiple_of, published.phase, published.reach) == (1, 16, 16, 564)
    assert (published.tiling, published.needs_scene) == ("blend", False)


def test_drop_path_grows_linearly_over_all_layers(published):
    rates = [layer.drop_path.rate for block in published.dense_blocks for layer in block.layers]
    assert rates == pytest.approx(torch.linspace(0, 0.2, 30).tolist(), abs=1e-6)


def test_every_other_layer_shifts_its_windows_by_half(published):
    assert [layer.shift for layer in published.dense_blocks[3].layers] == [0, 4, 0, 4, 0]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (24, 16), (19, 30)])
def test_any_size_works_once_padded_to_the_multiple(height, width):
    model = make()
    cloudy, sar = torch.rand(1, 13, height, width), torch.rand(1, 2, height, width)
    pad = (0, -width % model.multiple_of, 0, -height % model.multiple_of)
    with torch.no_grad():
        image = model(cloudy=F.pad(cloudy, pad, "replicate"), sar=F.pad(sar, pad, "replicate")).image
    assert image[..., :height, :width].shape == cloudy.shape
    assert image.isfinite().all()


def test_what_the_last_convolution_finds_is_added_to_the_cloudy_image():
    model = make()
    for parameter in model.head[2].parameters():
        torch.nn.init.zeros_(parameter)
    cloudy = torch.rand(1, 13, 16, 16)
    assert torch.equal(model(cloudy=cloudy, sar=torch.rand(1, 2, 16, 16)).image, cloudy)


def test_sar_reaches_the_image():
    model, cloudy = make(), torch.rand(1, 13, 16, 16)
    images = [model(cloudy=cloudy, sar=torch.full((1, 2, 16, 16), level)).image for level in (0.2, 0.8)]
    assert not torch.allclose(*images, atol=1e-4)


def test_training_and_inference_use_different_filters_and_agree():
    model, inputs = perturb(make()), {"cloudy": torch.rand(1, 13, 16, 16), "sar": torch.rand(1, 2, 16, 16)}
    with torch.no_grad():
        inferred = model(**inputs).image
    assert torch.allclose(model(**inputs).image, inferred, atol=1e-5)


def scene(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "cloudy": torch.rand(2, 13, 16, 24, generator=generator),
        "sar": torch.rand(2, 2, 16, 24, generator=generator),
        "mask": (torch.rand(2, 1, 16, 24, generator=generator) > 0.5).float(),
        "estimate": torch.rand(2, 13, 16, 24, generator=generator),
    }


def test_over_an_estimate_the_untrained_model_is_the_estimate():
    inputs = scene()
    image = make(start="estimate")(**inputs).image
    under = inputs["mask"].bool().expand_as(image)
    assert torch.equal(image[under], inputs["estimate"][under])
    assert torch.equal(image[~under], inputs["cloudy"][~under])


@pytest.mark.parametrize("value", [65535.0, float("nan"), float("inf")])
def test_what_was_observed_under_the_mask_changes_nothing(value):
    model, inputs = perturb(make(start="estimate")), scene()
    before = model(**inputs).image
    under = inputs["mask"].bool().expand_as(inputs["cloudy"])
    inputs["cloudy"] = torch.where(under, value, inputs["cloudy"])
    assert torch.equal(model(**inputs).image, before)


def test_the_mask_itself_is_seen():
    model, inputs = perturb(make(start="estimate")), scene()
    inputs["estimate"] = inputs["cloudy"]
    before = model(**inputs).image
    inputs["mask"] = 1 - inputs["mask"]
    assert not torch.allclose(model(**inputs).image, before, atol=1e-4)


@pytest.mark.parametrize("absent", ["mask", "estimate"])
def test_a_missing_input_is_named(absent):
    inputs = scene()
    del inputs[absent]
    with pytest.raises(UsageError, match=f"got no {absent}"):
        make(start="estimate")(**inputs)


def test_a_small_network_learns_and_runs_in_mixed_precision():
    model = GLFCR(GLFCRSettings(channels=32, growth=16, blocks=3, layers=3, heads=4, start="estimate"))
    inputs = {name: value[..., :16, :16] for name, value in scene().items()}
    with torch.autocast("cpu", torch.bfloat16):
        image = model(**inputs).image
    (image - 0.5).square().mean().backward()
    assert model.head[2].weight.grad.abs().sum() > 0
    assert count(model) < 1_000_000


@pytest.mark.parametrize("wrong", [{"growth": 9}, {"window": 5}, {"filter_size": 4}])
def test_settings_that_do_not_fit_each_other_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        GLFCRSettings(**SMALL | wrong)
