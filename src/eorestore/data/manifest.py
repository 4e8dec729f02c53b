"""A manifest: the CSV of scenes with place and split; knows paths, but opens no raster."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eorestore.errors import DataError, UnknownNameError
from eorestore.raster import Unit
from eorestore.raster.bands import canonical_name

SPLITS = ("train", "validation", "test")
REQUIRED = ("id", "place", "split", "optical", "sar")
OPTIONAL = (
    "reference", "mask", "s2_offset", "optical_bands", "optical_scale", "sar_bands", "sar_unit", "product",
    "landcover",
)  # fmt: skip
COLOURS = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08"}
"""Bands of four-band sensors, and the Sentinel-2 bands as which they serve."""


@dataclass(frozen=True)
class SceneRow:
    """One scene of a manifest. Paths lead to a file or a folder of per-band files.

    mask: as on the command line: a path, or path:class,class for a class raster.
    s2_offset: what the file's DN carry above 10000 * reflectance, 0 or 1000; None where the file says it itself.
    optical_bands, sar_bands: names in file order, for files without names, or with other names than Sentinel's; None
        where the file or a rule says them.
    optical_scale: reflectance of one DN above the offset, for files that do not say it and do not count in 1 / 10000.
    sar_unit: unit of the SAR file; None where the file or its product says it.
    product: name of the product, such as S2MSI1C; None if unknown.
    landcover: a raster of classes, whole numbers; None if there is none.
    """

    id: str
    place: str
    split: str
    optical: Path
    sar: Path
    reference: Path | None = None
    mask: str | None = None
    s2_offset: float | None = None
    optical_bands: tuple[str, ...] | None = None
    optical_scale: float | None = None
    sar_bands: tuple[str, ...] | None = None
    sar_unit: Unit | None = None
    product: str | None = None
    landcover: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The optical, SAR and reference scene."""
        return tuple(path for path in (self.optical, self.sar, self.reference) if path is not None)


def read_manifest(path: Path, *, root: Path | None = None) -> tuple[SceneRow, ...]:
    """The scenes of a manifest, in its order.

    Columns: `REQUIRED`, and any of `OPTIONAL`; see SceneRow. Paths are relative to `root`, or to the manifest's own
    folder; names of bands stand in one cell with spaces between them, and blue, green, red and nir are understood.
    Raises DataError where a column or a file is missing, an id appears twice, or a place stands in two splits;
    UnknownNameError for an unknown split or column; UnitError for an unknown unit.
    """
    path = Path(path)
    if not path.is_file():
        way = f"give the path of a CSV with one scene a line; of SEN12MS-CR: eorestore data sen12ms-cr FOLDER -o {path}"
        raise DataError(f"no manifest at {path}", fix=way)
    folder = path.parent if root is None else Path(root)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        _check_columns(path, columns)
        reader.fieldnames = columns
        lines = [(reader.line_num, line) for line in reader]
    rows = tuple(_row(line, f"{path.name} line {number}", folder) for number, line in lines if _filled(line))
    if not rows:
        raise DataError(f"{path} names no scene", fix="add one line a scene below the header")
    _check_rows(path, rows)
    return rows


def select(rows: tuple[SceneRow, ...], split: str) -> tuple[SceneRow, ...]:
    """The scenes of one split. Raises UnknownNameError, and DataError where it is empty."""
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    chosen = tuple(row for row in rows if row.split == split)
    if not chosen:
        raise DataError(f"the manifest has no {split} scene", fix=f"mark a scene as {split}")
    return chosen


def manifest_text(lines: Sequence[Mapping[str, str]]) -> str:
    """A manifest's CSV from one dictionary of cells a scene; columns that no scene fills are left out."""
    columns = [name for name in REQUIRED + OPTIONAL if any(line.get(name) for line in lines)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _check_columns(path: Path, columns: list[str]) -> None:
    for name in columns:
        if name not in REQUIRED + OPTIONAL:
            raise UnknownNameError("manifest column", name, REQUIRED + OPTIONAL)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise DataError(f"{path} lacks the column {', '.join(missing)}", fix=f"the header needs {','.join(REQUIRED)}")


def _filled(line: Mapping[str, str | None]) -> bool:
    return any(isinstance(value, str) and value.strip() for value in line.values())


def _row(line: Mapping[str, str | None], where: str, folder: Path) -> SceneRow:
    if None in line:
        raise DataError(f"{where} has more cells than the header", fix="quote cells that hold a comma")
    cells = {name: (value or "").strip() for name, value in line.items()}
    empty = [name for name in REQUIRED if not cells[name]]
    if empty:
        raise DataError(f"{where} has no {', '.join(empty)}", fix="fill the cell")
    if cells["split"] not in SPLITS:
        raise UnknownNameError("split", cells["split"], SPLITS)
    reference, unit = cells.get("reference"), cells.get("sar_unit")
    return SceneRow(
        id=cells["id"],
        place=cells["place"],
        split=cells["split"],
        optical=_existing(cells["optical"], where, folder),
        sar=_existing(cells["sar"], where, folder),
        reference=_existing(reference, where, folder) if reference else None,
        mask=_mask(cells.get("mask", ""), where, folder),
        s2_offset=_number(cells, "s2_offset", where, example="0 or 1000"),
        optical_bands=_bands(cells.get("optical_bands", "")),
        optical_scale=_number(cells, "optical_scale", where, example="0.0001", above=0.0),
        sar_bands=_bands(cells.get("sar_bands", "")),
        sar_unit=Unit.parse(unit) if unit else None,
        product=cells.get("product") or None,
        landcover=_existing(cells["landcover"], where, folder) if cells.get("landcover") else None,
    )


def _existing(cell: str, where: str, folder: Path) -> Path:
    path = folder / cell
    if not path.exists():
        raise DataError(
            f"{where} names {cell}, and there is no {path}",
            fix="correct the cell, or give the folder that paths start from",
        )
    return path


def _mask(cell: str, where: str, folder: Path) -> str | None:
    if not cell:
        return None
    if (folder / cell).exists():
        return str(folder / cell)
    name, colon, classes = cell.rpartition(":")
    if not colon:
        return str(_existing(cell, where, folder))
    return f"{_existing(name, where, folder)}:{classes}"


def _bands(cell: str) -> tuple[str, ...] | None:
    names = re.split(r"[\s,;]+", cell) if cell else []
    return tuple(COLOURS.get(name.lower(), canonical_name(name)) for name in names) or None


def _number(
    cells: Mapping[str, str], column: str, where: str, *, example: str, above: float = -math.inf
) -> float | None:
    cell = cells.get(column, "")
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not above < value < math.inf:
        raise DataError(f"{where} has {column} {cell!r}", fix=f"give a number: {example}")
    return value


def _check_rows(path: Path, rows: tuple[SceneRow, ...]) -> None:
    ids: set[str] = set()
    splits: dict[str, str] = {}
    for row in rows:
        if row.id in ids:
            raise DataError(f"{path} names the id {row.id} twice", fix="give every scene its own id")
        ids.add(row.id)
        first = splits.setdefault(row.place, row.split)
        if first != row.split:
            raise DataError(
                f"place {row.place} stands in {first} and in {row.split}",
                fix="keep all scenes of a place in one split",
            )
