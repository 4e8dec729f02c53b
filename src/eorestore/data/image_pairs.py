"""High-resolution images and the low-resolution ones that belong to them, by folder or by manifest; cuts no crop.

A data set of pairs is a folder in the layout of super-resolution's benchmarks, its images flat or nested:

    FOLDER/  train_HR/  [train_LR[/X4]/]  val_HR/  [val_LR[/X4]/]      train_HR/a/0801.png, train_LR/X4/a/0801x4.png

Without a folder of low-resolution images they are made of the others. Anything else is named in a manifest, a CSV with
the columns `id,place,split,high` and, where they are on disk, `low`; a cell names an image or a folder of images. Of a
scene the column `bands` names those to take as a picture, as `B04 B03 B02`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eorestore.data.image_files import image_paths, image_size
from eorestore.data.manifest import SPLITS
from eorestore.errors import DataError, UnknownNameError

COLUMNS = ("id", "place", "split", "high")
OPTIONAL = ("low", "bands")
FOLDERS = {"train": "train", "validation": "val", "test": "test"}
"""What a split is called in the layout of folders."""


@dataclass(frozen=True)
class ImagePair:
    """One image by its path without suffix, below its folder.

    low: None where it is to be made of `high`. bands: of a scene, those to take as a picture; empty for a picture.
    """

    id: str
    high: Path
    low: Path | None = None
    bands: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageRow:
    """Images of one split: a file or folder each. place: what all images of it show, never in two splits.

    bands: as in ImagePair, for `high` that is a file.
    """

    id: str
    place: str
    split: str
    high: Path
    low: Path | None = None
    bands: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """What the row names on disk."""
        return tuple(path for path in (self.high, self.low) if path is not None)


def find_pairs(high: Path, *, low: Path | None = None, scale: int) -> tuple[ImagePair, ...]:
    """The images of `high`, a file or a folder, each with its partner in `low`.

    Partners have one name and lie in folders of one name; that of the low-resolution image may end in x4, _x4 or _LR,
    that of the other in _HR. Of a folder `low` that holds a folder X4 the latter is meant. Raises DataError where an
    image has no partner or two, a name is taken twice, or, naming both sizes, one is not exactly `scale` times as
    large as the other.
    """
    names = _by_name(high)
    if low is None:
        return tuple(ImagePair(name, path) for name, path in names.items())
    low = next((folder for folder in (low / f"X{scale}", low / f"x{scale}") if folder.is_dir()), low)
    partners: dict[str, Path] = {}
    alone: list[Path] = []
    single = high.is_file() and low.is_file()
    for path in _paths(low):
        name = next(iter(names)) if single else _partner(_name(path, low), names, scale=scale)
        if name is None:
            alone.append(path)
        elif name in partners:
            raise DataError(f"{partners[name]} and {path} both belong to {names[name]}", fix="remove one of them")
        else:
            partners[name] = path
    alone += [path for name, path in names.items() if name not in partners]
    if alone:
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        raise DataError(
            f"{', '.join(str(path) for path in alone[:3])}{more} have no partner; {high} and {low} were compared",
            fix="give every image a partner of the same name, or name no low-resolution folder and have them made",
        )
    pairs = tuple(ImagePair(name, path, partners[name]) for name, path in names.items())
    for pair in pairs:
        _check_sizes(pair, scale)
    return pairs


def read_rows(source: Path, *, root: Path | None = None) -> tuple[ImageRow, ...]:
    """The images of a folder of pairs or of a manifest, whose paths start at `root` or at its own folder.

    Raises DataError where a column, file or folder is missing, an id appears twice, or a place stands in two splits;
    UnknownNameError for a column or split.
    """
    if source.is_dir():
        return _layout(source)
    if not source.is_file():
        raise DataError(
            f"no images at {source}", fix="give a folder with train_HR, or a CSV with one image or folder a line"
        )
    folder = source.parent if root is None else root
    with source.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        for name in reader.fieldnames or ():
            if name not in COLUMNS + OPTIONAL:
                raise UnknownNameError("manifest column", name, COLUMNS + OPTIONAL)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise DataError(f"{source} is no manifest of images", fix=f"the header needs {','.join(COLUMNS)}")
        lines = list(reader)
    rows = tuple(_row(line, f"{source.name} line {number}", folder) for number, line in enumerate(lines, start=2))
    if not rows:
        raise DataError(f"{source} names no image", fix="add one line an image or folder below the header")
    _check_rows(source, rows)
    return rows


def pairs_of(rows: Sequence[ImageRow], split: str, *, scale: int) -> tuple[ImagePair, ...]:
    """The pairs of one split; none where no row has it. Raises UnknownNameError, and DataError as `find_pairs`."""
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    found: list[ImagePair] = []
    for row in rows:
        if row.split == split:
            pairs = find_pairs(row.high, low=row.low, scale=scale)
            several = row.high.is_dir()
            found += [replace(pair, id=f"{row.id}/{pair.id}" if several else row.id, bands=row.bands) for pair in pairs]
    return tuple(found)


def _layout(folder: Path) -> tuple[ImageRow, ...]:
    rows = []
    for split, start in FOLDERS.items():
        high, low = folder / f"{start}_HR", folder / f"{start}_LR"
        if high.is_dir():
            rows.append(ImageRow(split, split, split, high, low if low.is_dir() else None))
        elif low.is_dir():
            raise DataError(f"{folder} has {low.name} and no {high.name}", fix=f"add {high.name}")
    if not rows:
        raise DataError(
            f"{folder} has neither train_HR nor val_HR",
            fix="lay the images out so, or list the folders in a CSV with id,place,split,high",
        )
    return tuple(rows)


def _row(line: dict[str, str], where: str, folder: Path) -> ImageRow:
    cells = {name: (line.get(name) or "").strip() for name in COLUMNS + OPTIONAL}
    empty = [name for name in COLUMNS if not cells[name]]
    if empty:
        raise DataError(f"{where} has no {', '.join(empty)}", fix="fill the cell")
    if cells["split"] not in SPLITS:
        raise UnknownNameError("split", cells["split"], SPLITS)
    paths = {name: folder / cells[name] for name in ("high", "low") if cells[name]}
    for name, path in paths.items():
        if not path.exists():
            raise DataError(
                f"{where} names {cells[name]}, and there is no {path}",
                fix="correct the cell, or give the folder that paths start from",
            )
    bands = tuple(cells["bands"].split())
    if bands and (cells["low"] or paths["high"].is_dir()):
        raise DataError(
            f"{where} names bands, which are taken of one scene without low",
            fix="name a file in high, and leave low empty",
        )
    return ImageRow(cells["id"], cells["place"], cells["split"], paths["high"], paths.get("low"), bands)


def _check_rows(source: Path, rows: Sequence[ImageRow]) -> None:
    ids = [row.id for row in rows]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise DataError(f"{source} names the id {', '.join(twice)} twice", fix="give every row its own id")
    splits: dict[str, str] = {}
    for row in rows:
        for place in (row.place, str(row.high.resolve())):
            first = splits.setdefault(place, row.split)
            if first != row.split:
                raise DataError(
                    f"place {place} stands in {first} and in {row.split}", fix="keep all images of a place in one split"
                )


def _check_sizes(pair: ImagePair, scale: int) -> None:
    if pair.low is None:
        return
    (height, width), (low_height, low_width) = image_size(pair.high), image_size(pair.low)
    if (height, width) != (scale * low_height, scale * low_width):
        raise DataError(
            f"{pair.high} has {height} x {width} pixels and {pair.low} has {low_height} x {low_width}: "
            f"not {scale} times as many a side",
            fix=f"crop the image to {scale * low_height} x {scale * low_width}, or have the small ones made",
        )


def _paths(source: Path) -> tuple[Path, ...]:
    return (source,) if source.is_file() else image_paths(source)


def _name(path: Path, source: Path) -> str:
    return path.stem if source.is_file() else path.relative_to(source).with_suffix("").as_posix()


def _by_name(source: Path) -> dict[str, Path]:
    """High-resolution images by what they are called without _HR."""
    names: dict[str, Path] = {}
    for path in _paths(source):
        name = re.sub(r"_HR$", "", _name(path, source), flags=re.IGNORECASE)
        if name in names:
            raise DataError(f"{names[name]} and {path} have one name", fix="rename or remove one of them")
        names[name] = path
    return names


def _partner(name: str, names: dict[str, Path], *, scale: int) -> str | None:
    """The name of the high-resolution image that a low-resolution one of that name belongs to."""
    plain = re.sub(r"_LR$", "", name, flags=re.IGNORECASE)
    without = re.sub(rf"[_-]?x{scale}$", "", plain, flags=re.IGNORECASE)
    # an image may be called "box4" itself
    return next((known for known in (name, plain, without) if known in names), None)
