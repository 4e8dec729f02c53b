"""What a tile coder is, and the table of them by number; knows no file, and imports a coder when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from eorestore.errors import CodecError, UnknownNameError


class TileCoder(Protocol):
    """One tile's pixels to bytes and back; knows no file, CRS or neighbour.

    values: (band, y, x), float32 decibel or int32, see `CODERS`; where not valid they are 0 and mean nothing.
    valid: bool (band, y, x).
    """

    def encode(self, values: NDArray[Any], valid: NDArray[Any]) -> bytes:
        """The tile as bytes; the same on every machine that is given the same symbols."""
        ...

    def decode(self, payload: bytes, valid: NDArray[Any]) -> NDArray[Any]:
        """The values, (band, y, x), 0 where not valid. Raises CodecError for bytes that `encode` did not write."""
        ...


@dataclass(frozen=True)
class CoderEntry:
    """Where a coder is found. integers: it takes int32 and is exact; otherwise float32 decibel, and is told a step.

    whole: it codes the scene as one tile.
    """

    name: str
    module: str
    kind: str
    integers: bool = False
    whole: bool = False


# Numbers stand in files: append, never change.
CODERS: Mapping[int, CoderEntry] = {
    0: CoderEntry("predictive", "eorestore.codec.predictive", "PredictiveCoder", integers=True),
    1: CoderEntry("fidelity", "eorestore.codec.fidelity_coder", "FidelityCoder"),
    2: CoderEntry("jpeg2000", "eorestore.codec.jpeg2000_coder", "Jpeg2000Coder", whole=True),
    3: CoderEntry("quicklook", "eorestore.codec.fidelity_coder", "FidelityCoder"),
}


def coder_number(name: str) -> int:
    """The number of the coder called `name`. Raises UnknownNameError."""
    numbers = {entry.name: number for number, entry in CODERS.items()}
    if name not in numbers:
        raise UnknownNameError("coder", name, numbers)
    return numbers[name]


def coder_entry(number: int) -> CoderEntry:
    """The coder of that number. Raises CodecError for one of a newer version."""
    if number not in CODERS:
        raise CodecError(
            f"the file was made by coder {number}; this eorestore has {', '.join(map(str, CODERS))}",
            fix="install a newer eorestore",
        )
    return CODERS[number]


def load_coder(number: int, *, step: float, windows: tuple[float, ...], stamp: bytes | None = None) -> TileCoder:
    """A coder ready to work. Raises CodecError where it, or the model that coded the file, is not there.

    step: quantisation step in dB, for coders of decibel. windows: lower ends of the bands' windows in dB, for coders
    of the whole scene. stamp: that of the file to be decoded, see `model_stamp`.
    """
    entry = coder_entry(number)
    kind = getattr(importlib.import_module(entry.module), entry.kind)
    if entry.whole:
        coder = cast("TileCoder", kind(windows=windows))
    else:
        coder = cast("TileCoder", kind() if entry.integers else kind(step=step))
    have = model_stamp(coder)
    if stamp is not None and stamp != have:
        raise CodecError(
            f"the file needs {entry.name} model {stamp.hex() or 'none'}, this eorestore has {have.hex() or 'none'}",
            fix="install the eorestore that wrote it, or a newer one",
        )
    return coder


def model_stamp(coder: TileCoder) -> bytes:
    """Up to 8 bytes that name a coder's model: its number and the head of its SHA-256; empty where it has none."""
    return bytes(getattr(coder, "stamp", b""))
