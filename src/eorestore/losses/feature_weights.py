"""The feature networks of the perceptual losses: which files they need, their hashes, and the loading of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eorestore.errors import CheckpointError, MissingError
from eorestore.layers.feature_network import FeatureNetwork
from eorestore.models.weight_files import find_weights, read_weights, tensors_of

SHIPPED = Path(__file__).parents[1] / "weights" / "features"
VGG16_FILES = ("vgg16-397923af.pth", "vgg16.safetensors")
VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std of the RGB images in [0, 1] it was trained on


@dataclass(frozen=True)
class FeatureSource:
    """Where the weights of a feature network lie, and how they become one.

    find raises MissingError, load CheckpointError.
    """

    find: Callable[[], Path]
    load: Callable[[Path], FeatureNetwork]


def feature_network(name: str, *, device: torch.device, dtype: torch.dtype) -> FeatureNetwork:
    """The frozen network `name` of FEATURE_NETWORKS, read once. Raises MissingError and CheckpointError."""
    return _loaded(name, FEATURE_NETWORKS[name].find(), device, dtype)


def check_features(losses: Mapping[str, float]) -> None:
    """Load every feature network that a sum of losses names, so that a missing file ends a run before its first step.

    Raises MissingError and CheckpointError.
    """
    for name in _networks(losses):
        feature_network(name, device=torch.device("cpu"), dtype=torch.float32)


def feature_hashes(losses: Mapping[str, float]) -> dict[str, str]:
    """SHA-256, by file name, of the feature networks that a sum of losses names. Raises MissingError."""
    files = [FEATURE_NETWORKS[name].find() for name in _networks(losses)]
    return {f"features/{file.name}": _sha256(file) for file in files}


def _networks(losses: Mapping[str, float]) -> list[str]:
    return [FEATURE_LOSSES[name] for name in losses if name in FEATURE_LOSSES]


@lru_cache(maxsize=8)
def _loaded(name: str, path: Path, device: torch.device, dtype: torch.dtype) -> FeatureNetwork:
    return FEATURE_NETWORKS[name].load(path).to(device=device, dtype=dtype).eval()


def _find_shipped() -> Path:
    path = SHIPPED / "ucmerced.safetensors"
    if not path.is_file():
        raise MissingError(f"{path} is not in this installation", fix="install a release of eorestore")
    return path


def _load_shipped(path: Path) -> FeatureNetwork:
    config: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if _sha256(path) != config["sha256"]:
        raise CheckpointError(f"{path} does not have the hash that stands beside it", fix="install eorestore again")
    network = FeatureNetwork(config["stages"], mean=config["mean"], std=config["std"], pooling=config["pooling"])
    found = tensors_of(read_weights(path), path)
    return _filled(network, {key: key for key in network.state_dict()}, found, path)


def _load_vgg16(path: Path) -> FeatureNetwork:
    """VGG16 as torchvision names its parts, in its own file; layers that no tap needs are left out."""
    expected = path.stem.rpartition("-")[2] if path.name == VGG16_FILES[0] else ""
    if not _sha256(path).startswith(expected):
        raise CheckpointError(f"{path} does not have the hash {expected} of its name", fix="fetch the file again")
    mean, std = IMAGENET
    network = FeatureNetwork(VGG16_STAGES, mean=mean, std=std, pooling="max")
    names = dict(_torchvision_names(VGG16_STAGES))
    return _filled(network, names, tensors_of(read_weights(path), path), path)


def _filled(
    network: FeatureNetwork, names: Mapping[str, str], found: Mapping[str, Tensor], path: Path
) -> FeatureNetwork:
    """`network` with the tensors of a file; names: our key -> the file's."""
    missing = [theirs for theirs in names.values() if theirs not in found]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing[:3])}", fix="take the file from its authors")
    try:
        network.load_state_dict({ours: found[theirs].float() for ours, theirs in names.items()})
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise CheckpointError(f"{path}: {line}", fix="take the file from its authors") from None
    return network


def _torchvision_names(stages: Sequence[Sequence[int]]) -> Iterator[tuple[str, str]]:
    """(our key, torchvision's): it numbers convolutions, ReLUs and poolings in one row."""
    number = 0
    for level, widths in enumerate(stages):
        for layer in range(len(widths)):
            for kind in ("weight", "bias"):
                yield f"stages.{level}.{layer}.{kind}", f"features.{number}.{kind}"
            number += 2
        number += 1


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _find_vgg16() -> Path:
    return find_weights(VGG16_FILES, what="VGG16 (torchvision, ImageNet)")


FEATURE_NETWORKS: Mapping[str, FeatureSource] = {
    "ucmerced": FeatureSource(_find_shipped, _load_shipped),
    "vgg16": FeatureSource(_find_vgg16, _load_vgg16),
}

FEATURE_LOSSES: Mapping[str, str] = {"perceptual_ucmerced": "ucmerced", "perceptual_vgg16": "vgg16"}
"""The feature network of every loss that has one."""
