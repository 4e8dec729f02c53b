"""Tensors of a file put into a network, all of them or none, and the hash of a file; knows no network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from eorestore.errors import CheckpointError

Network = TypeVar("Network", bound=nn.Module)


def filled(network: Network, names: Mapping[str, str], found: Mapping[str, Tensor], path: Path) -> Network:
    """`network` with the tensors that were found in the file `path`, as float32; what it has no place for is left out.

    names: our key -> the file's. Raises CheckpointError naming what is missing or of another size.
    """
    missing = [theirs for theirs in names.values() if theirs not in found]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing[:3])}", fix="take the file from its authors")
    try:
        network.load_state_dict({ours: found[theirs].float() for ours, theirs in names.items()})
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise CheckpointError(f"{path}: {line}", fix="take the file from its authors") from None
    return network


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
