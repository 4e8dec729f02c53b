"""Files that appear under their name only when complete; knows no format."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from eorestore.errors import WriteError


def write_complete(path: Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) beside `path` and rename it there. Raises WriteError, leaving nothing."""
    write_in_parts(path, [data.encode() if isinstance(data, str) else data])


def write_in_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Write the parts one after the other beside `path` and rename it there. Raises WriteError, leaving nothing."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
        os.replace(partial, path)  # noqa: PTH105 - os.replace also names a target on Windows
    except OSError as error:
        raise WriteError(
            f"{path} could not be written: {error.strerror or error}",
            fix="choose a folder with room and write access",
        ) from error
    finally:
        _discard(partial)


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise WriteError where `path` stands already and `overwrite` is off."""
    if path.exists() and not overwrite:
        raise WriteError(f"{path} exists", fix="add --overwrite or choose another name")


def _discard(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except NotADirectoryError:
        return
