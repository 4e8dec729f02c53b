import logging

import numpy as np
import pytest
import torch

from eorestore.config import RunConfig, parse_settings
from eorestore.data.sar_patches import EncodedBand, SarPatches, encoded_band, sar_samples
from eorestore.data.simulated_sar import simulated_sar
from eorestore.errors import ConfigError, DataError
from eorestore.models.table import build_model
from eorestore.processing.table import PROCESSORS, sar_processor


def band(name="a", *, size=(40, 50), low=0.0, high=1.0) -> EncodedBand:
    ramp = np.linspace(low, high, size[0] * size[1], dtype=np.float32).reshape(1, *size)
    return EncodedBand(name, ramp, np.ones((1, *size), dtype=bool), 0.0)


def patches(*bands, augment=True, crop=16, length=12, seed=3) -> SarPatches:
    return SarPatches(bands or (band(),), crop=crop, length=length, seed=seed, augment=augment)


def config(**data) -> RunConfig:
    values = {
        "name": "small",
        "task": "sar-compression",
        "processor": "sar-vv",
        "model": {"name": "sar-autoencoder", "settings": {"channels": [4], "latent": 2}},
        "data": {"synthetic": 3, "synthetic_size": 48, "crop": 32, "items_per_epoch": 6, "validation_items": 4, **data},
        "losses": {"mse": 1.0},
    }
    return parse_settings(RunConfig, values, source="test")


def samples(asked: RunConfig):
    model = build_model(asked.model.name, asked.model.settings)
    return sar_samples(asked, PROCESSORS[asked.processor](), model)


def test_an_item_depends_on_seed_epoch_and_index_alone():
    one, other = patches(), patches()
    one.set_epoch(2)
    other.set_epoch(2)
    assert [one[index] for index in (5, 1)]  # asked for before, which must change nothing
    assert torch.equal(one[7]["sar"], other[7]["sar"])
    other.set_epoch(3)
    assert not torch.equal(one[7]["sar"], other[7]["sar"])
    assert not torch.equal(patches(seed=4)[7]["sar"], patches(seed=3)[7]["sar"])


def test_an_item_is_a_crop_turned_in_all_eight_ways():
    seen = set()
    many = patches(length=80)
    for index in range(80):
        item = many[index]
        sar = item["sar"]
        assert sar.shape == item["target"].shape == item["valid"].shape == (1, 16, 16)
        down, across = torch.sign(sar[0, 1, 0] - sar[0, 0, 0]), torch.sign(sar[0, 0, 1] - sar[0, 0, 0])
        # rows of the ramp rise 50 times as fast as columns: which axis is steep, and which way each rises
        steep = abs(sar[0, 1, 0] - sar[0, 0, 0]) > abs(sar[0, 0, 1] - sar[0, 0, 0])
        seen.add((bool(steep), int(down), int(across)))
    assert len(seen) == 8
    with pytest.raises(IndexError):
        many[80]


def test_validation_takes_bands_in_turn_unturned_and_never_anew():
    fixed = patches(band(high=0.5), band(low=0.6), augment=False)
    first = [fixed[index]["sar"] for index in range(4)]
    fixed.set_epoch(9)
    assert all(torch.equal(fixed[index]["sar"], before) for index, before in enumerate(first))
    assert [bool(values.min() > 0.55) for values in first] == [False, True, False, True]
    assert all(values[0, 1, 0] > values[0, 0, 1] > values[0, 0, 0] for values in first)


def test_large_bands_are_met_more_often_but_less_than_in_proportion():
    small, large = band(size=(20, 20), high=0.4), band(size=(80, 80), low=0.5)
    drawn = patches(small, large, length=400)
    share = sum(float(drawn[index]["sar"].min()) > 0.45 for index in range(400)) / 400
    assert share == pytest.approx(16**0.7 / (1 + 16**0.7), abs=0.05)


def test_crops_look_for_what_is_valid():
    half = band(size=(16, 160))
    half.valid[:, :, :100] = False
    item_shares = [float(patches(half, length=40)[index]["valid"].float().mean()) for index in range(40)]
    assert np.mean(item_shares) > 0.6


def test_values_outside_the_window_are_clipped_counted_and_told(caplog):
    scene = simulated_sar((40, 40), polarisation="VH", generator=np.random.default_rng(0))
    scene.values[0, :4] = 20.0
    scene.valid[0] = False
    with caplog.at_level(logging.INFO):
        encoded = encoded_band("x_VH", scene)
    assert encoded.clipped == pytest.approx(3 / 39, abs=2e-3)
    assert "clipped" in caplog.text
    assert encoded.values.min() >= 0
    assert encoded.values.max() == 1
    assert np.allclose(encoded.values[:, 5:], (scene.values[:, 5:].clip(-38, 2) + 38) / 40, atol=1e-6)


def test_a_preset_of_simulated_scenes_alone_trains_and_validates_on_other_ones():
    train, validation = samples(config())
    assert (len(train), len(validation)) == (6, 4)
    assert set(train[0]) == {"sar", "target", "valid"}
    assert train[0]["sar"].dtype == torch.float32
    assert torch.equal(train[0]["sar"], train[0]["target"])
    assert not torch.equal(train[0]["sar"], validation[0]["sar"])


def test_bands_of_a_manifest_keep_to_their_split(tmp_path, caplog):
    lines = ["id,place,split,sar"]
    for name, split, level, side in (
        ("a_VV", "train", -10.0, 40), ("b_VH", "validation", -18.0, 40), ("c_VV", "train", -10.0, 20),
        ("d_VV", "test", 5.0, 40),
    ):  # fmt: skip
        np.save(tmp_path / f"{name}.npy", np.full((side, side), level, np.float32))
        lines.append(f"{name},{name[0]},{split},{name}.npy")
    (tmp_path / "bands.csv").write_text("\n".join(lines) + "\n")
    train, validation = samples(config(manifest=str(tmp_path / "bands.csv"), synthetic=0))
    assert "1 of 2 training bands are smaller than a crop" in caplog.text
    # each in the window of its own polarisation: -10 dB of VV and -18 dB of VH are both its middle
    assert {float(train[index]["sar"].mean()) for index in range(6)} == {0.5}
    assert {float(validation[index]["sar"].mean()) for index in range(4)} == {0.5}
    with pytest.raises(DataError, match="no training band has 64 x 64"):
        samples(config(manifest=str(tmp_path / "bands.csv"), synthetic=0, crop=64))


def test_a_network_or_processor_of_other_bands_is_refused():
    with pytest.raises(ConfigError, match="one band"):
        sar_samples(config(), PROCESSORS["glf-cr"](), build_model("sar-autoencoder", {"channels": [4]}))
    with pytest.raises(ConfigError, match="takes 2"):
        sar_samples(config(), sar_processor("VV"), build_model("sar-autoencoder", {"channels": [4], "sar_bands": 2}))
