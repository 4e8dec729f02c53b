"""Whole images that super-resolution is scored on, by folder, layout of folders or manifest; scores nothing."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eorestore.data.image_pairs import FOLDERS, ImagePair, ImageRow, find_pairs, pairs_of, read_rows
from eorestore.errors import DataError, UsageError
from eorestore.experiments.record import hash_path, hash_paths

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlacedPair:
    """One pair, and the place that its manifest says it shows; its set where there is no manifest."""

    pair: ImagePair
    place: str


@dataclass(frozen=True)
class ImageSet:
    """Images that have a mean of their own. sources: what is hashed for the record, by name."""

    name: str
    pairs: tuple[PlacedPair, ...]
    folder: Path
    sources: tuple[Path, ...]


def is_image_data(path: Path) -> bool:
    """Whether `path` is a folder, or a manifest with the column `high`."""
    if path.is_dir():
        return True
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return "high" in [name.strip() for name in next(csv.reader(file), [])]


def read_image_sets(
    data: Sequence[Path], *, root: Path | None = None, split: str = "test", scale: int
) -> tuple[ImageSet, ...]:
    """The sets that folders and manifests name.

    A folder in the layout of `data.image_pairs`, with train_HR or val_HR, gives its `split`; any other is one set of
    high-resolution images, called after the folder, in which the files ending in _LR are left out. A manifest gives a
    set for every row of the split that names a folder, and one, called after the manifest, for all single images.

    Raises UsageError for two sets of one name, DataError for a set without an image and as `find_pairs`.
    """
    found = [one for path in data for one in _sets(path, root, split, scale)]
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two sets are called {', '.join(twice)}", fix="name each set once, or rename a folder")
    return tuple(found)


def set_hashes(sets: Iterable[ImageSet]) -> dict[str, str]:
    """SHA-256 of everything that the sets are made of, by name."""
    found: dict[str, str] = {}
    for one in sets:
        if one.sources == (one.folder,):
            found[one.name] = hash_path(one.folder)
        else:
            found |= hash_paths(one.sources, root=one.folder)
    return found


def _sets(path: Path, root: Path | None, split: str, scale: int) -> list[ImageSet]:
    if path.is_dir() and not any((path / f"{start}_{end}").is_dir() for start in FOLDERS.values() for end in _ENDS):
        return [_plain(path, scale)]
    rows = [row for row in read_rows(path, root=root) if row.split == split]
    if not rows:
        raise DataError(f"{path} has no {split} image", fix="choose another --split")
    if path.is_dir():
        return [ImageSet(path.resolve().name, _placed(rows, split, scale), path, tuple(_files(rows)))]
    folder = path.parent if root is None else root
    singles = [row for row in rows if not row.high.is_dir()]
    groups = [(row.id, [row]) for row in rows if row.high.is_dir()]
    groups += [(path.stem, singles)] if singles else []
    return [ImageSet(name, _placed(group, split, scale), folder, (path, *_files(group))) for name, group in groups]


_ENDS = ("HR", "LR")


def _plain(folder: Path, scale: int) -> ImageSet:
    name = folder.resolve().name
    pairs = find_pairs(folder, scale=scale)
    kept = tuple(PlacedPair(pair, name) for pair in pairs if not pair.id.upper().endswith("_LR"))
    if not kept:
        raise DataError(f"all images in {folder} end in _LR", fix="give the folder of high-resolution images")
    if len(kept) < len(pairs):
        _log.info("%s: %d images end in _LR and are left out", folder, len(pairs) - len(kept))
    return ImageSet(name, kept, folder, (folder,))


def _placed(rows: Sequence[ImageRow], split: str, scale: int) -> tuple[PlacedPair, ...]:
    return tuple(PlacedPair(pair, row.place) for row in rows for pair in pairs_of([row], split, scale=scale))


def _files(rows: Iterable[ImageRow]) -> list[Path]:
    return [file for row in rows for file in row.files]
