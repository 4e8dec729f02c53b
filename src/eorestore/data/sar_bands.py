"""SAR bands one by one, from arrays or rasters, and the manifest that splits them by place; knows no crop.

The manifest is a CSV with the columns `id,place,split,sar` and, for bands that are no decibel, `unit`. An array is a
.npy file (y, x) in decibel, NaN where nothing was seen; its name ends in its polarisation, as in `scene_VV.npy`. Any
other file is a raster, read as `raster.files` reads it, and gives the band of the polarisation that the id ends in.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eorestore.data.manifest import SPLITS
from eorestore.errors import BandError, DataError, UnknownNameError
from eorestore.processing.normalize import WINDOW_LOWS
from eorestore.processing.units import radar_decibel
from eorestore.raster import Band, BandSet, Grid, Raster, Unit

COLUMNS = ("id", "place", "split", "sar")
OPTIONAL = ("unit",)
_SUFFIX = re.compile(rf"_({'|'.join(WINDOW_LOWS)})$", re.IGNORECASE)
_DATED = re.compile(r"^(ssl4eo)_\d{8}")


@dataclass(frozen=True)
class SarBandRow:
    """One band of a manifest. place: all bands and dates of a place stand in one split. unit: None for decibel."""

    id: str
    place: str
    split: str
    path: Path
    unit: Unit | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What the row names on disk."""
        return (self.path,)

    @property
    def polarisation(self) -> str:
        """VV, VH, HH or HV."""
        return polarisation_of(self.id)


def polarisation_of(name: str) -> str:
    """The polarisation that a band's name ends in, behind an underscore. Raises BandError."""
    found = _SUFFIX.search(name)
    if found is None:
        raise BandError(f"{name} does not end in a polarisation", fix=f"end it in _{', _'.join(WINDOW_LOWS)}")
    return found[1].upper()


def place_of(name: str) -> str:
    """What a band's name says of its place: the name without polarisation and, of the ssl4eo series, without date.

    VV and VH of one scene show the same ground, and so do two dates of one place; a network that is scored on one and
    was trained on the other is scored on what it has seen.
    """
    return _DATED.sub(r"\1", _SUFFIX.sub("", name))


def read_sar_manifest(path: Path, *, root: Path | None = None) -> tuple[SarBandRow, ...]:
    """The bands of a manifest, in its order; paths are relative to `root`, or to the manifest's own folder.

    Raises DataError where a column or a file is missing, an id appears twice, or a place, by its column or by
    `place_of`, stands in two splits; UnknownNameError for a column or split; BandError for an id without polarisation;
    UnitError.
    """
    if not path.is_file():
        raise DataError(f"no manifest at {path}", fix="give the path of a CSV with one SAR band a line")
    folder = path.parent if root is None else root
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        for name in reader.fieldnames or ():
            if name not in COLUMNS + OPTIONAL:
                raise UnknownNameError("manifest column", name, COLUMNS + OPTIONAL)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise DataError(f"{path} is no manifest of SAR bands", fix=f"the header needs {','.join(COLUMNS)}")
        lines = list(reader)
    rows = []
    for number, line in enumerate(lines, start=2):
        empty = [name for name in COLUMNS if not line[name]]
        if empty:
            raise DataError(f"{path.name} line {number} has no {', '.join(empty)}", fix="fill the cell")
        if line["split"] not in SPLITS:
            raise UnknownNameError("split", line["split"], SPLITS)
        unit = line.get("unit")
        found = folder / line["sar"]
        if not found.is_file():
            raise DataError(
                f"{path.name} line {number} names {line['sar']}, and there is no {found}",
                fix="correct the cell, or give the folder that paths start from",
            )
        row = SarBandRow(line["id"], line["place"], line["split"], found, Unit.parse(unit) if unit else None)
        polarisation_of(row.id)
        rows.append(row)
    if not rows:
        raise DataError(f"{path} names no band", fix="add one line a band below the header")
    _check_rows(path, rows)
    return tuple(rows)


def read_sar_band(row: SarBandRow) -> Raster:
    """The one band of a row in decibel, with what has no logarithm marked as not valid.

    Raises DataError, BandError and UnitError.
    """
    if row.path.suffix == ".npy":
        return radar_decibel(_from_array(row))
    from eorestore.raster.files import open_raster
    from eorestore.raster.products import Declared

    file = open_raster(row.path, declared=Declared(unit=row.unit))
    return radar_decibel(file.read().select((row.polarisation,)))


def _from_array(row: SarBandRow) -> Raster:
    try:
        values = np.load(row.path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{row.path.name} is no readable array: {error}", fix="write it with numpy.save") from None
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise DataError(
            f"{row.path.name} holds {values.dtype} of shape {values.shape}", fix="store floating numbers as (y, x)"
        )
    band = Band(row.polarisation, row.unit or Unit.DECIBEL)
    grid = Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), *values.shape)
    return Raster(values.astype(np.float32)[None], np.isfinite(values), BandSet((band,)), grid)


def _check_rows(path: Path, rows: Sequence[SarBandRow]) -> None:
    ids = [row.id for row in rows]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise DataError(f"{path} names the id {', '.join(twice)} twice", fix="give every band its own id")
    splits: dict[str, str] = {}
    for row in rows:
        for place in {row.place, place_of(row.id)}:
            first = splits.setdefault(place, row.split)
            if first != row.split:
                raise DataError(
                    f"place {place} stands in {first} and in {row.split}",
                    fix="keep all bands and dates of a place in one split",
                )
