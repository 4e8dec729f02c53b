"""What stands between the bytes and the pixels of an .eoz file: the symbols, as they are coded and as they are taken.

    python tests/decoded_symbols.py OUT.npz FILE.eoz ...

decodes files in a process of its own: prints a digest of each one's symbols, and whether torch was imported on the way,
as JSON, and saves the pixels.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from eorestore.codec.coder import Decoder, Encoder
from eorestore.codec.stored_scene import StoredScene


class Symbols:
    """Symbols and raw bits in the order of coding."""

    def __init__(self) -> None:
        self._digest, self.count = hashlib.sha256(), 0

    def hear(self, values: np.ndarray) -> None:
        self.count += values.size
        self._digest.update(values.astype("<i8").tobytes())

    @property
    def digest(self) -> str:
        """SHA-256 of all values as 64-bit integers."""
        return self._digest.hexdigest()


@contextmanager
def heard_while_decoding() -> Iterator[Symbols]:
    """All that decoders take from their streams."""
    heard, kept = Symbols(), (Decoder.take, Decoder.take_bits)

    def hearing(method: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        @wraps(method)
        def take(self: Decoder, wanted: np.ndarray) -> np.ndarray:
            found = method(self, wanted)
            heard.hear(found)
            return found

        return take

    Decoder.take, Decoder.take_bits = hearing(kept[0]), hearing(kept[1])
    try:
        yield heard
    finally:
        Decoder.take, Decoder.take_bits = kept


@contextmanager
def heard_while_encoding() -> Iterator[dict[bytes, Symbols]]:
    """What every encoder was given, by the payload that came of it."""
    heard: dict[int, Symbols] = {}
    payloads: dict[bytes, Symbols] = {}
    kept = Encoder.add, Encoder.add_bits, Encoder.finish

    def hearing(method: Callable[..., None]) -> Callable[..., None]:
        @wraps(method)
        def add(self: Encoder, values: np.ndarray, how: Any) -> None:
            heard.setdefault(id(self), Symbols()).hear(values)
            method(self, values, how)

        return add

    def finish(self: Encoder) -> bytes:
        payload = kept[2](self)
        payloads[payload] = heard[id(self)]
        return payload

    Encoder.add, Encoder.add_bits, Encoder.finish = hearing(kept[0]), hearing(kept[1]), finish
    try:
        yield payloads
    finally:
        Encoder.add, Encoder.add_bits, Encoder.finish = kept


def decoded(path: Path) -> tuple[str, np.ndarray]:
    """(digest of the symbols, pixels) of a whole file."""
    with heard_while_decoding() as heard, StoredScene(path) as stored:
        values = stored.read_raw()
    return heard.digest, values


def main() -> None:
    """Decode the files that are named."""
    paths = [Path(name) for name in sys.argv[2:]]
    found = {path.name: decoded(path) for path in paths}
    np.savez(sys.argv[1], **{name: values for name, (_, values) in found.items()})
    told = {"symbols": {name: one for name, (one, _) in found.items()}, "torch": "torch" in sys.modules}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
