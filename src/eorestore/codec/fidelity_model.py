"""What the fidelity coder learned, and its file; knows no pixel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from eorestore.codec.contexts import IntegerNetwork
from eorestore.codec.tables import Tables
from eorestore.errors import MissingError

FILE = Path(__file__).parents[1] / "weights" / "codec" / "fidelity.safetensors"
_LAYERS = 3
_STAMP = 4


@dataclass(frozen=True, eq=False)
class FidelityModel:
    """Contexts to tables, and what each symbol of a table stands for.

    tables: those of the first quantiser, as the network numbers them, then as many of the second.
    offsets: (table, DIRECT + 1) mean distance of the true coefficient from its level, in units of
        `dependent_quantiser`, away from nought.
    errors: (table, DIRECT + 1) mean squared error after it, in squared units; the last column is for larger levels.
    """

    network: IntegerNetwork
    tables: Tables
    offsets: NDArray[np.float32]
    errors: NDArray[np.float32]

    @cached_property
    def stamp(self) -> bytes:
        """Names the model in files: the first four bytes of the SHA-256 of its numbers."""
        digest = hashlib.sha256()
        for name, values in sorted(_arrays(self).items()):
            digest.update(name.encode() + values.astype(values.dtype.newbyteorder("<")).tobytes())
        return digest.digest()[:_STAMP]


def write_model(path: Path, model: FidelityModel) -> None:
    """The model as safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(_arrays(model), path)


@lru_cache(maxsize=4)
def read_model(path: Path = FILE) -> FidelityModel:
    """The model of a file, by default the shipped one. Raises MissingError."""
    if not path.is_file():
        raise MissingError(f"{path} is not there", fix="reinstall eorestore, or run benchmarks/fit_fidelity_coder.py")
    stored = safetensors.numpy.load_file(path)
    network = IntegerNetwork(
        tuple(stored[f"weights.{layer}"] for layer in range(_LAYERS)),
        tuple(stored[f"biases.{layer}"] for layer in range(_LAYERS)),
        len(stored["tables"]) // 2,
    )
    return FidelityModel(network, Tables(stored["tables"]), stored["offsets"], stored["errors"])


def _arrays(model: FidelityModel) -> dict[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {
        "tables": model.tables.counts,
        "offsets": model.offsets,
        "errors": model.errors,
    }
    for layer in range(_LAYERS):
        found[f"weights.{layer}"] = model.network.weights[layer]
        found[f"biases.{layer}"] = model.network.biases[layer]
    return {name: np.ascontiguousarray(values) for name, values in found.items()}
