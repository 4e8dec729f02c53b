"""Files of weights that the user supplies: where they are looked for, and the one reader of them; knows no network."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from eorestore.errors import CheckpointError, MissingError

FOLDER_VARIABLE = "EORESTORE_WEIGHTS"


def find_weights(names: Iterable[str], *, what: str) -> Path:
    """The first file of one of `names` in the folders of `places`.

    Raises MissingError with the places looked at and the file to put there. Nothing is ever downloaded.
    """
    names = tuple(names)
    for folder in places():
        for name in names:
            if (folder / name).is_file():
                return folder / name
    looked = ", ".join(shown(folder) for folder in places())
    named = f"${FOLDER_VARIABLE}" if os.environ.get(FOLDER_VARIABLE) else f"a folder and name it in ${FOLDER_VARIABLE}"
    raise MissingError(
        f"the weights of {what} are not here; looked for {' or '.join(names)} in {looked}",
        fix=f"put {names[0]} into {named}",
    )


def places() -> tuple[Path, ...]:
    """Folders that may hold weights: $EORESTORE_WEIGHTS where it is set, then the torch hub cache."""
    own = os.environ.get(FOLDER_VARIABLE)
    return (*((Path(own),) if own else ()), Path(torch.hub.get_dir()) / "checkpoints")


def shown(folder: Path) -> str:
    """The folder as messages name it, since some of them end in records: the home folder as ~."""
    return f"~/{folder.relative_to(Path.home()).as_posix()}" if folder.is_relative_to(Path.home()) else str(folder)


def read_weights(path: Path) -> Any:  # noqa: ANN401 - whatever plain content the file has
    """What a .safetensors or a torch file holds, on the CPU; code in a file is never run.

    Raises CheckpointError: no such file, another format, or more in it than plain values and tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"no file at {path}", fix="give the path of the file of weights")
    try:
        if path.suffix == ".safetensors":
            return load(path.read_bytes())
        # The only reader of torch's own format, here held to tensors: weights_only never runs a file's code.
        return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} does not hold plain tensors: {line}", fix="take the file from its authors; code is never run"
        ) from None


def tensors_of(content: Any, path: Path) -> dict[str, Tensor]:  # noqa: ANN401 - what `read_weights` gave
    """`content` where it is a dictionary of tensors by name. Raises CheckpointError."""
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} is not a dictionary of tensors", fix="take the file from its authors")
    return {str(key): value for key, value in content.items()}
