"""The prior of other places: a proper Gaussian, and what an estimate makes of it where no pixel is clear."""

import numpy as np
import pytest
import torch

from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import MaskError, MissingError
from eorestore.models import ground_prior
from eorestore.models.baselines import BaselineSettings, SceneEstimate
from eorestore.models.ground_prior import GroundPrior, load_ground_prior
from eorestore.models.model import SceneSample
from eorestore.models.scene_estimate import prepare_estimate
from eorestore.processing.table import PROCESSORS


def gaussian():
    """Two features and one band, which is 3 * first + constant + noise of variance 0.04."""
    covariance = torch.tensor([[1.0, 0.2, 3.0], [0.2, 2.0, 0.6], [3.0, 0.6, 9.04]])
    return GroundPrior(torch.tensor([1.0, -1.0, 5.0]).double(), covariance.double())


def test_the_regression_is_the_conditional_mean():
    coefficients, left = gaussian().regression(1, torch.tensor([True, True]))
    assert coefficients[:, 0].tolist() == pytest.approx([3.0, 0.0, 2.0], abs=0.01)
    assert float(left) == pytest.approx(0.04, abs=0.02)


def test_what_is_absent_has_no_weight_and_leaves_more_open():
    coefficients, left = gaussian().regression(1, torch.tensor([False, False]))
    assert coefficients[:, 0].tolist() == [0.0, 0.0, 5.0]
    assert float(left) == pytest.approx(9.04)


def test_the_shipped_prior_is_a_covariance_of_thirteen_bands():
    prior = load_ground_prior(13, 6)
    assert (torch.linalg.eigvalsh(prior.covariance) > 0).all()
    assert ((prior.mean[-13:] > 0) & (prior.mean[-13:] < 0.5)).all()
    assert load_ground_prior(4, 6) is None


def test_a_missing_file_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(ground_prior, "FILE", tmp_path / "none.safetensors")
    with pytest.raises(MissingError, match="is not there"):
        load_ground_prior(13, 6)


def shaded(*, share: float):
    """Inputs of a generated scene that lies wholly under a mask and in shadow of that depth, and its clear bands."""
    scene = synthetic_scene((64, 64), generator=np.random.default_rng(3))
    processor = PROCESSORS["glf-cr"]()
    clear = torch.from_numpy(processor.encode_one("cloudy", scene.optical))[None]
    sar = torch.from_numpy(processor.encode_one("sar", scene.sar))[None]
    light = torch.linspace(1 - share, 1 - share / 2, 64)
    return {"cloudy": clear * light, "sar": sar, "mask": torch.ones_like(clear[:, :1])}, clear


def test_a_scene_wholly_in_shadow_is_restored():
    inputs, clear = shaded(share=0.6)
    prepared = prepare_estimate(SceneSample(inputs, (inputs,)), sees_cloud=True)
    assert "other places" in prepared.warnings[0]
    constants = {name: value[None] for name, value in prepared.constants.items()}
    restored = SceneEstimate(BaselineSettings())(**inputs, **prepared.maps, **constants).image
    assert (restored - clear).square().mean() < 0.7 * (inputs["cloudy"] - clear).square().mean()


def test_without_sar_and_under_opaque_cloud_it_is_the_mean_of_other_places():
    inputs, _ = shaded(share=0.0)
    inputs |= {"cloudy": torch.full_like(inputs["cloudy"], 0.9), "sar": torch.full_like(inputs["sar"], torch.nan)}
    prepared = prepare_estimate(SceneSample(inputs, (inputs,)), sees_cloud=True)
    constants = {name: value[None] for name, value in prepared.constants.items()}
    restored = SceneEstimate(BaselineSettings())(**inputs, **prepared.maps, **constants).image
    mean = load_ground_prior(13, 6).mean[-13:].float()
    assert (restored.mean(dim=(0, 2, 3)) - mean).abs().max() < 0.06


def test_other_bands_and_a_blind_estimate_are_refused():
    inputs, _ = shaded(share=0.5)
    four = inputs | {"cloudy": inputs["cloudy"][:, :4]}
    for scene, sees in ((four, True), (inputs, False)):
        with pytest.raises(MaskError, match="too few clear pixels"):
            prepare_estimate(SceneSample(scene, (scene,)), sees_cloud=sees)
