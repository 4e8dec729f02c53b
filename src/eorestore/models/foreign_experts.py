"""Super-resolution networks of others, from their files, by spandrel; knows no preset and no fusion.

A file decides by its own keys which network it is for. Its tensors are read without running code and must be those of
that network, all of them and no other. spandrel's descriptor clamps to 0 ... 1 and cuts the gradient; here the
network itself is called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from eorestore.errors import CheckpointError, ConfigError, MissingError
from eorestore.models.expert_facts import ExpertFacts, LoadedNetwork
from eorestore.models.weight_files import read_weights

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")

FEATURES: Mapping[str, str] = {
    **dict.fromkeys(("HAT", "DAT", "SwinIR", "DRCT", "GRL", "CRAFT", "ATD"), "conv_after_body"),
    "NAFNet": "ending:input",
    "RCAN": "body",
    "SAFMN": "feats",
    "SPAN": "upsampler:input",
}
"""Where a network has its features, by spandrel's name of it: what the last layers draw the image from."""


def load_foreign(path: Path, *, source: str) -> LoadedNetwork:
    """The network that a file holds, on the CPU; `source` is what the user called it.

    Raises:
        MissingError: spandrel is not installed.
        CheckpointError: no plain tensors, a network that is not known, or tensors that are missing or not used.
        ConfigError: a network that takes square images only, or gives other bands than it takes.
    """
    try:
        import spandrel
    except ImportError:
        raise MissingError(
            f"expert {source} is a file of another project, which needs spandrel",
            fix="pip install 'eorestore[experts]'",
        ) from None
    tensors = _tensors(spandrel.canonicalize_state_dict(read_weights(path)), path)
    try:
        found = spandrel.ModelLoader().load_from_state_dict(dict(tensors))
    except (spandrel.UnsupportedModelError, RuntimeError, KeyError, ValueError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else "no network is known that has its keys"
        raise CheckpointError(f"{path} holds no whole network: {line}", fix="take the file from its authors") from None
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise CheckpointError(f"{path} holds a network that needs more than an image", fix="choose another expert")
    network: nn.Module = found.model
    _check_keys(network, tensors, path)
    needs = found.size_requirements
    if needs.square or found.input_channels != found.output_channels:
        raise ConfigError(
            f"{path.name} takes square images only, or gives other bands than it takes", fix="choose another expert"
        )
    facts = ExpertFacts(
        name=path.stem,
        source=source,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        scale=found.scale,
        bands=found.input_channels,
        feature_channels=0,
        multiple_of=needs.multiple_of,
        minimum=needs.minimum,
        reach=None,
        phase=1,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )
    return LoadedNetwork(network, network, facts, FEATURES.get(found.architecture.id), bf16=found.supports_bfloat16)


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} is not a dictionary of tensors", fix="take the file from its authors")
    return {str(key): value for key, value in content.items()}


def _check_keys(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Some of spandrel's loaders pass over keys; here none may be left out on either side."""
    own = network.state_dict()
    missing, unused = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    if missing or unused:
        named = [
            f"{len(keys)} {word}, as {keys[0]}" for keys, word in ((missing, "missing"), (unused, "unused")) if keys
        ]
        raise CheckpointError(f"{path}: tensors {' and '.join(named)}", fix="take the file from its authors")
