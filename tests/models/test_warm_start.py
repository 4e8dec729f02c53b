import pytest
import torch

from eorestore.errors import ConfigError, UnknownNameError
from eorestore.models.checkpoint import load_checkpoint, save_checkpoint
from eorestore.models.table import build_model
from eorestore.models.warm_start import start_from, start_hash
from eorestore.processing.table import sar_processor

WIDE = {"channels": [4, 6], "latent": 8}


@pytest.fixture
def saved(tmp_path):
    model = build_model("sar-autoencoder", WIDE, seed=1)
    folder = tmp_path / "wide"
    save_checkpoint(folder, model, sar_processor("VV"), task="sar-compression", provenance={}, tile=32, overlap=0)
    return str(folder)


def test_a_narrower_latent_begins_with_all_layers_but_the_two_at_it(saved):
    model, trained = build_model("sar-autoencoder", WIDE | {"latent": 2}, seed=2), load_checkpoint(saved).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    left = start_from(model, saved)
    assert set(left) == {"encoder.6.weight", "encoder.6.bias", "decoder.0.weight"}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in left else trained.state_dict()[name])


def test_the_same_network_begins_as_it_ended(saved):
    model = build_model("sar-autoencoder", WIDE, seed=2)
    assert start_from(model, saved) == ()
    x = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.eval()(sar=x).image, load_checkpoint(saved).model(sar=x).image)
    assert start_hash(saved) == load_checkpoint(saved).sha256


def test_another_network_or_none_is_no_beginning(saved):
    with pytest.raises(ConfigError, match="is a SarAutoencoder, and the network to train a DSen2CR"):
        start_from(build_model("dsen2-cr", {"channels": 4, "blocks": 1}), saved)
    with pytest.raises(ConfigError, match="no tensor"):
        start_from(build_model("sar-autoencoder", {"channels": [3], "norm": "none", "sar_bands": 3}), saved)
    with pytest.raises(ConfigError, match="baseline"):
        start_from(build_model("sar-autoencoder", WIDE), "identity")
    with pytest.raises(UnknownNameError):
        start_from(build_model("sar-autoencoder", WIDE), "no-such-run")
