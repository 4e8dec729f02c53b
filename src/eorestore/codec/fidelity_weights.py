"""The learned numbers of the fidelity coder as a file; knows no pixel."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors.numpy

from eorestore.codec.contexts import IntegerNetwork
from eorestore.codec.fidelity import FidelityModel
from eorestore.codec.tables import Tables
from eorestore.errors import MissingError

FILE = Path(__file__).parents[1] / "weights" / "codec" / "fidelity.safetensors"
_LAYERS = 3


def write_model(path: Path, model: FidelityModel) -> None:
    """The model as safetensors."""
    stored = {"tables": model.tables.counts, "offsets": model.offsets, "errors": model.errors}
    for layer in range(_LAYERS):
        stored[f"weights.{layer}"] = model.network.weights[layer]
        stored[f"biases.{layer}"] = model.network.biases[layer]
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file({name: np.ascontiguousarray(value) for name, value in stored.items()}, path)


@lru_cache(maxsize=4)
def read_model(path: Path = FILE) -> FidelityModel:
    """The model of a file, by default the shipped one. Raises MissingError."""
    if not path.is_file():
        raise MissingError(f"{path} is not there", fix="reinstall eorestore, or run benchmarks/fit_fidelity_coder.py")
    stored = safetensors.numpy.load_file(path)
    network = IntegerNetwork(
        tuple(stored[f"weights.{layer}"] for layer in range(_LAYERS)),
        tuple(stored[f"biases.{layer}"] for layer in range(_LAYERS)),
        len(stored["tables"]),
    )
    return FidelityModel(network, Tables(stored["tables"]), stored["offsets"], stored["errors"])


def model_hash(path: Path = FILE) -> bytes:
    """The first eight bytes of the file's SHA-256: a stream names with them what it was coded with."""
    return hashlib.sha256(path.read_bytes()).digest()[:8]
