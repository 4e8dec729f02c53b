"""Real cloud masks from .npy files, to be pasted over clear scenes; knows no scene and no GIS format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import MaskError


def load_masks(path: Path) -> list[NDArray[np.bool_]]:
    """The masks (y, x), True is cloud, of one .npy file or of all in a folder; those without cloud are left out.

    A file holds (y, x), (mask, y, x) or (mask, y, x, 1); every value but zero is cloud. Raises MaskError.
    """
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    masks = [mask for file in files for mask in _read(file) if mask.any()]
    if not masks:
        raise MaskError(f"no cloud mask in {path}", fix="give a .npy file, or a folder of them, that holds clouds")
    return masks


def _read(path: Path) -> list[NDArray[np.bool_]]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise MaskError(f"{path} is not a readable mask: {error}", fix="give masks as .npy") from None
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3):
        raise MaskError(f"{path.name} has the shape {values.shape}", fix="give (y, x), (mask, y, x) or (mask, y, x, 1)")
    cloud: NDArray[np.bool_] = values.reshape(-1, *values.shape[-2:]) != 0
    return list(cloud)
