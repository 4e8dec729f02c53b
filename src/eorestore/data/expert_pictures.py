"""An expert that is no network but the pictures that one made, in folders; knows no cache.

For networks whose results are at hand and whose code is not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eorestore.data.image_pairs import ImagePair
from eorestore.data.stored_images import by_name, stored_image
from eorestore.errors import DataError
from eorestore.models.expert_facts import ExpertFacts

_LEVELS = 255.0


@dataclass(frozen=True)
class PictureExpert:
    """Pictures of a network by name, a dictionary for each folder."""

    facts: ExpertFacts
    scale: int
    folders: tuple[dict[str, Path], ...]

    @classmethod
    def find(cls, pattern: str, *, scale: int, bands: int) -> PictureExpert:
        """All pictures in the folders that match `pattern`, as in `outputs/*/NAME`. Raises DataError for none."""
        folders = matching(pattern)
        if not folders:
            raise DataError(f"no folder matches {pattern}", fix="correct the pattern of the expert's pictures")
        named = tuple(by_name(folder) for folder in folders)
        digest = hashlib.sha256()
        for files in named:
            for name, path in sorted(files.items()):
                digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
        name = Path(pattern).name
        facts = ExpertFacts(name, pattern, digest.hexdigest(), scale, bands, 0, 1, 1, None, 1, 0)
        return cls(facts, scale, named)

    def make(self, pair: ImagePair, low: Tensor) -> tuple[Tensor, None]:
        """The picture that belongs to a pair, in 0 ... 1, (1, band, y, x). Raises DataError as `stored_image`."""
        height, width = (self.scale * side for side in low.shape[-2:])
        raster = stored_image(pair.high, self.folders, expert=self.facts.name, scale=self.scale, size=(height, width))
        return torch.from_numpy(np.asarray(raster.values, np.float32) / _LEVELS)[None], None


def is_pictures(source: str) -> bool:
    """Whether an expert is named by folders of pictures: a pattern, or a folder that holds no checkpoint."""
    return "*" in source or (Path(source).is_dir() and not any(Path(source).rglob("config.json")))


def matching(pattern: str) -> list[Path]:
    """Folders that match a pattern, sorted."""
    path = Path(pattern)
    if "*" not in pattern:
        return [path] if path.is_dir() else []
    first = next(index for index, part in enumerate(path.parts) if "*" in part)
    start = Path(*path.parts[:first])
    return sorted(found for found in start.glob(str(Path(*path.parts[first:]))) if found.is_dir())
