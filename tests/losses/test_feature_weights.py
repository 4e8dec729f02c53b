"""The files of the feature networks: VGG16 as torchvision writes it, and the one that is shipped."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models.vgg import cfgs, make_layers

from eorestore.errors import EXIT_MISSING, CheckpointError, MissingError
from eorestore.experiments.record import read_record
from eorestore.losses import feature_weights
from eorestore.losses.feature_weights import SHIPPED, check_features, feature_hashes, feature_network
from eorestore.models.catalogue import shipped_names

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}
VGG = {"perceptual_vgg16": 0.1}


@pytest.fixture(scope="module")
def torchvision_network():
    torch.manual_seed(0)
    return make_layers(cfgs["D"]).eval()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {f"features.{key}": value for key, value in network.state_dict().items()}


def test_vgg16_from_a_file_gives_the_features_of_torchvision(folder, torchvision_network):
    save_file(state(torchvision_network), folder / "vgg16.safetensors")
    ours = feature_network("vgg16", **CPU)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    standard = (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.no_grad():
        taps = ours(image)
        for tap, end in zip(taps, (4, 9, 16, 23), strict=True):  # behind relu1_2, relu2_2, relu3_3, relu4_3
            assert torch.allclose(tap, torchvision_network[:end](standard), atol=1e-5)


def test_vgg19_from_a_file_gives_the_features_of_torchvision(folder):
    theirs = make_layers(cfgs["E"]).eval()
    save_file(state(theirs), folder / "vgg19.safetensors")
    check_features(["perceptual_vgg19"])
    ours = feature_network("vgg19", **CPU)
    assert ours.taps == ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4")
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    features = (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    taps = dict(zip((3, 8, 17, 26, 35), ours(image), strict=True))  # torchvision's numbers of these ReLUs
    for number, layer in enumerate(theirs):
        features = layer(features)
        if number in taps:
            assert torch.allclose(taps[number], features, atol=1e-5)


def test_absent_weights_of_vgg19_are_named(folder):
    with pytest.raises(MissingError, match=r"weights of VGG19 .* looked for vgg19-dcbb9e9d\.pth or vgg19") as failure:
        check_features(["l1", "perceptual_vgg19"])
    assert failure.value.fix == "put vgg19-dcbb9e9d.pth into $EORESTORE_WEIGHTS"
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, folder / "vgg19.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks features\.0\.bias"):
        check_features(["perceptual_vgg19"])


def test_torchvisions_own_file_must_have_the_hash_in_its_name(folder, torchvision_network):
    path = folder / "vgg16-397923af.pth"
    torch.save(state(torchvision_network), path)
    with pytest.raises(CheckpointError, match="does not have the hash 397923af of its name"):
        check_features(VGG)


def test_a_file_without_a_layer_is_refused_by_name(folder, torchvision_network):
    tensors = state(torchvision_network)
    del tensors["features.7.bias"]
    save_file(tensors, folder / "vgg16.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks features\.7\.bias"):
        check_features(VGG)
    save_file(tensors | {"features.7.bias": torch.zeros(3)}, folder / "vgg16.safetensors")
    with pytest.raises(CheckpointError, match=r"size mismatch for stages\.1\.1\.bias"):
        check_features(VGG)


@pytest.mark.usefixtures("folder")
def test_absent_weights_of_vgg16_end_with_exit_3_and_nothing_else_does():
    for ask in (check_features, feature_hashes):
        with pytest.raises(MissingError, match=r"looked for vgg16-397923af\.pth or vgg16\.safetensors") as failure:
            ask(VGG | {"l1": 1.0})
        assert failure.value.exit_code == EXIT_MISSING
        assert "put vgg16-397923af.pth into $EORESTORE_WEIGHTS" in failure.value.fix
    check_features({"l1": 1.0})
    check_features({"l1": 1.0, "perceptual_ucmerced": 0.1})


def test_the_hash_of_the_file_in_use_is_what_a_record_gets(folder, torchvision_network):
    save_file(state(torchvision_network), folder / "vgg16.safetensors")
    found = feature_hashes({"l1": 1.0, "perceptual_ucmerced": 0.1, "perceptual_vgg16": 0.1})
    files = [SHIPPED / "ucmerced.safetensors", folder / "vgg16.safetensors"]
    assert found == {f"features/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert feature_hashes({"l1": 1.0}) == {}


def test_the_shipped_network_is_small_and_no_restoring_model():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 1_000_000
    parameters = sum(parameter.numel() for parameter in feature_network("ucmerced", **CPU).parameters())
    assert 200_000 < parameters < 500_000
    assert "features" not in shipped_names()
    assert "10 m" in (SHIPPED / "README.md").read_text()


def test_the_shipped_network_is_the_one_of_the_record():
    record = read_record(SHIPPED.parents[3] / "results" / "feature-network.json")
    stored = json.loads((SHIPPED / "ucmerced.json").read_text())
    assert record.scores["sha256"] == stored["sha256"]
    assert f"{record.scores['accuracy']:.1%}" in (SHIPPED / "README.md").read_text()


def test_a_changed_shipped_file_is_refused(tmp_path, monkeypatch):
    for name in ("ucmerced.safetensors", "ucmerced.json"):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    tensors = load_file(tmp_path / "ucmerced.safetensors")
    save_file({**tensors, "head.bias": tensors["head.bias"] + 1}, tmp_path / "ucmerced.safetensors")
    monkeypatch.setattr(feature_weights, "SHIPPED", tmp_path)
    with pytest.raises(CheckpointError, match="does not have the hash"):
        check_features({"perceptual_ucmerced": 0.1})


@pytest.mark.real
def test_the_shipped_network_names_held_out_images_as_often_as_its_card_says(real_data):
    import numpy as np
    from PIL import Image
    from torch.nn import functional as F

    stored = json.loads((SHIPPED / "ucmerced.json").read_text())
    head = load_file(SHIPPED / "ucmerced.safetensors")
    paths = [path for path in sorted((real_data / "sr" / "UCMerced").glob("*.webp")) if int(path.stem[-2:]) >= 60]
    network, hits = feature_network("ucmerced", **CPU), 0
    for path in paths:
        image = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None] / 255
        for side in (128, 80):
            image = F.interpolate(image, (side, side), mode="bilinear", antialias=True, align_corners=False)
        means = torch.cat([tap.mean(dim=(2, 3)) for tap in network(image)], dim=1)
        scores = F.linear(means, head["head.weight"].float(), head["head.bias"].float())
        hits += stored["classes"][int(scores.argmax())] == path.stem[:-2]
    assert hits / len(paths) == pytest.approx(stored["provenance"]["accuracy"], abs=0.02)
