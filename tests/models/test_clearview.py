"""Clearview: starts from the estimate, does without SAR, sees no farther than it says."""

import pytest
import torch

from eorestore.errors import ConfigError, UsageError
from eorestore.models.baselines import SceneEstimate
from eorestore.models.model import SceneSample
from eorestore.models.parts import example_inputs
from eorestore.models.table import build_model
from eorestore.models.thin_cloud import Veil

SMALL = {"channels": [8, 12], "sar_channels": [4, 6], "head_channels": 4}


def scene(bands=13, side=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sar = torch.rand(1, 2, side, side, generator=generator)
    slope = torch.linspace(0.1, 0.4, bands)[None, :, None, None]
    cloudy = slope * sar[:, :1] + 0.02 * torch.rand(1, bands, side, side, generator=generator) + 0.1
    mask = torch.zeros(1, 1, side, side)
    mask[..., 8:20, 8:24] = 1
    return {"cloudy": torch.where(mask > 0.5, 0.6, cloudy), "sar": sar, "mask": mask}


def restored(model, inputs):
    prepared = model.prepare(SceneSample(inputs, (inputs,)))
    constants = {name: value[None] for name, value in prepared.constants.items()}
    with torch.no_grad():
        return model(**inputs, **prepared.maps, **constants)


def perturbed(**settings):
    model = build_model("clearview", SMALL | settings, seed=3).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model


def test_untrained_it_returns_the_estimate_of_the_scene():
    inputs = scene()
    estimate = SceneEstimate(SceneEstimate.settings_type())
    assert torch.allclose(
        restored(build_model("clearview", SMALL).eval(), inputs).image, restored(estimate, inputs).image, atol=1e-6
    )


def test_untrained_sigma_is_the_spread_of_the_scene():
    inputs = scene()
    model = build_model("clearview", SMALL).eval()
    covariance = Veil.unpacked(model.prepare(SceneSample(inputs, (inputs,))).constants["veil"]).covariance
    sigma = restored(model, inputs).extras["sigma"]
    assert torch.allclose(sigma[0, :, 0, 0], covariance.diagonal().sqrt().clamp_min(0.004))
    assert torch.equal(sigma, sigma[..., :1, :1].expand_as(sigma))


@pytest.mark.parametrize("missing", [(0, 1), (1,), (0,)], ids=["no SAR", "VV only", "VH only"])
def test_a_missing_sar_band_leaves_a_finite_image(missing):
    inputs = scene()
    inputs["sar"][:, list(missing)] = float("nan")
    output = restored(perturbed(), inputs)
    assert output.image.isfinite().all()
    assert output.extras["sigma"].isfinite().all()
    assert (output.extras["sigma"] > 0).all()


def test_without_sar_the_gates_are_shut():
    inputs = scene()
    assert restored(perturbed(), inputs).extras["gate"].min() > 0
    inputs["sar"][:] = float("nan")
    assert restored(perturbed(), inputs).extras["gate"].abs().max() == 0


def test_without_sar_the_untrained_network_still_beats_the_cloud():
    inputs = scene()
    inputs["sar"][:] = float("nan")
    image = restored(build_model("clearview", SMALL).eval(), inputs).image
    truth = scene()["sar"][:, :1] * torch.linspace(0.1, 0.4, 13)[None, :, None, None] + 0.11
    hidden = inputs["mask"].expand_as(image) > 0.5
    assert (image - truth)[hidden].abs().mean() < 0.5 * (inputs["cloudy"] - truth)[hidden].abs().mean()


@pytest.mark.parametrize("bands", [4, 12])
def test_any_number_of_bands_is_taken(bands):
    output = restored(perturbed(bands=bands), scene(bands))
    assert output.image.shape == (1, bands, 32, 32)
    assert output.extras["sigma"].shape == (1, bands, 32, 32)


def test_it_declares_the_extras_that_it_gives():
    model = perturbed()
    output = restored(model, scene())
    assert {name: value.shape[1] for name, value in output.extras.items()} == model.extras


def test_from_the_cloudy_image_it_needs_no_scene():
    model = perturbed(start="cloudy")
    inputs = example_inputs(model, height=16, width=16)
    assert not model.needs_scene
    assert model(**inputs).image.isfinite().all()


def test_without_what_the_scene_tells_it_refuses():
    model = perturbed()
    with pytest.raises(UsageError, match="estimate"):
        model(**scene())


def test_levels_of_both_streams_have_to_match():
    with pytest.raises(ConfigError, match="2 channels and 1 sar_channels"):
        build_model("clearview", {"channels": [8, 8], "sar_channels": [4]})
