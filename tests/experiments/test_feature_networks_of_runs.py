"""What a run does with the feature networks of its losses: refuses without them, and names them in its record."""

import pytest

from eorestore.config import DataSettings, ModelConfig, RunConfig
from eorestore.errors import MissingError
from eorestore.experiments.training_run import data_hashes, train
from eorestore.losses.feature_weights import feature_hashes


def config(**losses: float) -> RunConfig:
    data = DataSettings(synthetic=1, synthetic_size=64, crop=32, cloud_size_px=(8, 24))
    return RunConfig("run", "cloud-removal", ModelConfig("glf-cr"), data, {"l1": 1.0} | losses)


def test_a_run_without_the_weights_of_its_loss_ends_before_it_makes_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(MissingError, match="the weights of VGG16"):
        train(config(perceptual_vgg16=0.1), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_data_of_a_record_hold_the_feature_network_of_the_loss():
    used = data_hashes(config(perceptual_ucmerced=0.1))
    assert used == feature_hashes({"perceptual_ucmerced": 0.1})
    assert len(used) == 1
    assert data_hashes(config()) == {}
