"""From the stages of a preset to the sum that is minimised, and to the networks that it needs."""

from dataclasses import replace

import pytest

from eorestore.config import LossStage, RunConfig, load_config
from eorestore.errors import MissingError, UnknownNameError
from eorestore.experiments.training_run import train, weighted_sum
from eorestore.losses import feature_weights

PRESET = """
name: staged
task: cloud-removal
model: {name: uncrtaints}
data: {synthetic: 2}
losses: {l1: 1.0, charbonnier: 0.5}
stages:
  - {start: 0.25, losses: {l1: 0.8, one_minus_cosine: 0.1}}
  - {start: 0.5, losses: {l1: 0.5, perceptual_vgg16: 0.2, one_minus_ssim: 0.2}}
training: {steps: 200, best_by: psnr}
"""


@pytest.fixture
def config(tmp_path) -> RunConfig:
    path = tmp_path / "staged.yaml"
    path.write_text(PRESET)
    return load_config(path)


def test_the_stages_of_a_preset_are_those_of_the_sum(config):
    losses = weighted_sum(config)
    assert losses.at(49 / 200).weights == {"l1": 1.0, "charbonnier": 0.5}
    assert losses.at(50 / 200).weights == {"l1": 0.8, "one_minus_cosine": 0.1}
    assert losses.at(100 / 200).weights == {"l1": 0.5, "perceptual_vgg16": 0.2, "one_minus_ssim": 0.2}


def test_a_network_that_only_the_last_stage_needs_is_missed_before_the_first_step(config, tmp_path, monkeypatch):
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    feature_weights._loaded.cache_clear()
    with pytest.raises(MissingError, match="weights of VGG16"):
        train(config, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_loss_of_a_stage_is_named(config):
    with pytest.raises(UnknownNameError, match="no loss is called 'l3'"):
        weighted_sum(replace(config, stages=(LossStage(0.5, {"l3": 1.0}),)))
