"""The rows of a preset's manifest, whatever its task; light to import, knows no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from eorestore.config import DataSettings
from eorestore.data import image_pairs
from eorestore.data.manifest import read_manifest
from eorestore.data.sar_bands import read_sar_manifest
from eorestore.data.two_grid_scenes import read_scene_rows
from eorestore.errors import UnknownNameError


class Row(Protocol):
    """One line of a manifest."""

    @property
    def split(self) -> str:
        """train, validation or test."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """What it names on disk."""
        ...


class Reader(Protocol):
    """Reads a manifest."""

    def __call__(self, path: Path, /, *, root: Path | None = None) -> Sequence[Row]:
        """Its rows; paths in it are relative to `root`, by default its own folder."""
        ...


READERS: Mapping[str, Reader] = {
    "band-sharpening": read_scene_rows,
    "cloud-removal": read_manifest,
    "sar-compression": read_sar_manifest,
    "super-resolution": image_pairs.read_rows,
    "zero-shot": image_pairs.read_rows,
}


def rows_of(task: str, data: DataSettings) -> Sequence[Row]:
    """The rows of the manifest that a preset names; none without one.

    Raises UnknownNameError for a task that is none, and what its reader does.
    """
    if task not in READERS:
        raise UnknownNameError("task", task, READERS)
    if data.manifest is None:
        return ()
    return READERS[task](Path(data.manifest), root=None if data.root is None else Path(data.root))
