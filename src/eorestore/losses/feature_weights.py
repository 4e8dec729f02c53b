"""The frozen networks that losses look through: which files they need, their hashes, and the loading of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eorestore.errors import CheckpointError, MissingError
from eorestore.layers.feature_network import FeatureNetwork
from eorestore.losses.clip_embedding import find_clip, load_clip
from eorestore.losses.network_files import filled, sha256
from eorestore.models.weight_files import find_weights, read_weights, tensors_of

SHIPPED = Path(__file__).parents[1] / "weights" / "features"
VGG16_FILES = ("vgg16-397923af.pth", "vgg16.safetensors")
VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
VGG19_FILES = ("vgg19-dcbb9e9d.pth", "vgg19.safetensors")
VGG19_STAGES = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std of the RGB images in [0, 1] it was trained on


@dataclass(frozen=True)
class FeatureSource:
    """Where the weights of a feature network lie, and how they become one.

    find raises MissingError, load CheckpointError.
    """

    find: Callable[[], Path]
    load: Callable[[Path], nn.Module]


def feature_network(name: str, *, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The frozen network `name` of FEATURE_NETWORKS, read once. Raises MissingError and CheckpointError."""
    return _loaded(name, FEATURE_NETWORKS[name].find(), device, dtype)


def check_features(losses: Iterable[str]) -> None:
    """Load every network that losses of these names need, so that a missing file ends a run before its first step.

    Raises MissingError and CheckpointError.
    """
    for name in _networks(losses):
        feature_network(name, device=torch.device("cpu"), dtype=torch.float32)


def feature_hashes(losses: Iterable[str]) -> dict[str, str]:
    """SHA-256, by file name, of the networks that losses of these names need. Raises MissingError."""
    files = [FEATURE_NETWORKS[name].find() for name in _networks(losses)]
    return {f"features/{file.name}": sha256(file) for file in files}


def _networks(losses: Iterable[str]) -> list[str]:
    return [FEATURE_LOSSES[name] for name in losses if name in FEATURE_LOSSES]


@lru_cache(maxsize=8)
def _loaded(name: str, path: Path, device: torch.device, dtype: torch.dtype) -> nn.Module:
    return FEATURE_NETWORKS[name].load(path).to(device=device, dtype=dtype).eval()


def _find_shipped() -> Path:
    path = SHIPPED / "ucmerced.safetensors"
    if not path.is_file():
        raise MissingError(f"{path} is not in this installation", fix="install a release of eorestore")
    return path


def _load_shipped(path: Path) -> FeatureNetwork:
    config: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if sha256(path) != config["sha256"]:
        raise CheckpointError(f"{path} does not have the hash that stands beside it", fix="install eorestore again")
    network = FeatureNetwork(config["stages"], mean=config["mean"], std=config["std"], pooling=config["pooling"])
    found = tensors_of(read_weights(path), path)
    return filled(network, {key: key for key in network.state_dict()}, found, path)


def _load_vgg(path: Path, *, stages: Sequence[Sequence[int]]) -> FeatureNetwork:
    """VGG as torchvision names its parts, in its own file; layers that no tap needs are left out."""
    expected = path.stem.rpartition("-")[2]  # torchvision's own files have eight digits of their hash in the name
    if path.suffix == ".pth" and not sha256(path).startswith(expected):
        raise CheckpointError(f"{path} does not have the hash {expected} of its name", fix="fetch the file again")
    mean, std = IMAGENET
    network = FeatureNetwork(stages, mean=mean, std=std, pooling="max")
    names = dict(_torchvision_names(stages))
    return filled(network, names, tensors_of(read_weights(path), path), path)


def _torchvision_names(stages: Sequence[Sequence[int]]) -> Iterator[tuple[str, str]]:
    """(our key, torchvision's): it numbers convolutions, ReLUs and poolings in one row."""
    number = 0
    for level, widths in enumerate(stages):
        for layer in range(len(widths)):
            for kind in ("weight", "bias"):
                yield f"stages.{level}.{layer}.{kind}", f"features.{number}.{kind}"
            number += 2
        number += 1


FEATURE_NETWORKS: Mapping[str, FeatureSource] = {
    "ucmerced": FeatureSource(_find_shipped, _load_shipped),
    "vgg16": FeatureSource(
        partial(find_weights, VGG16_FILES, what="VGG16 (torchvision, ImageNet)"),
        partial(_load_vgg, stages=VGG16_STAGES),
    ),
    "vgg19": FeatureSource(
        partial(find_weights, VGG19_FILES, what="VGG19 (torchvision, ImageNet)"),
        partial(_load_vgg, stages=VGG19_STAGES),
    ),
    "clip": FeatureSource(find_clip, load_clip),
}

FEATURE_LOSSES: Mapping[str, str] = {
    "perceptual_ucmerced": "ucmerced",
    "perceptual_vgg16": "vgg16",
    "perceptual_vgg19": "vgg19",
    "clip_semantic": "clip",
}
"""The network of every loss that has one."""
