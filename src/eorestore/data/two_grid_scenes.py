"""Sentinel-2 scenes with their 10 m and 20 m bands on grids of their own, by manifest; knows no tensor and no crop.

A scene is a folder of per-band files, or one of the crops that were published with DSen2 (Lanaras et al. 2018): a
MATLAB file (HDF5) with `im10` (B04, B03, B02, B08), `im20` (B05, B06, B07, B8A, B11, B12) and `im60`, in DN.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eorestore.data.manifest import SPLITS
from eorestore.errors import DataError, GridError, MissingError, UnknownNameError
from eorestore.processing import BandScale, BandScaling, Processor
from eorestore.raster import SENTINEL2_10M, SENTINEL2_20M, BandSet, Grid, Raster
from eorestore.raster.products import SENTINEL2_SCALE, Declared

COLUMNS = ("id", "place", "split", "scene")
OPTIONAL = ("s2_offset",)
_MAT_ORDER = ("B04", "B03", "B02", "B08")  # blue scatters most: of the three first ones the last is never dark


@dataclass(frozen=True)
class TwoGridRow:
    """One scene. place: what it shows, never in two splits. s2_offset: DN added to it; None where its files say so."""

    id: str
    place: str
    split: str
    scene: Path
    s2_offset: int | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What the row names on disk."""
        return (self.scene,)


@dataclass(frozen=True)
class TwoGrids:
    """Reflectance without gaps: fine (4, 2 y, 2 x) at 10 m, coarse (6, y, x) at 20 m.

    valid: (y, x), False where any band of either grid had to be filled in.
    """

    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]
    valid: NDArray[np.bool_]


def read_scene_rows(source: Path, *, root: Path | None = None) -> tuple[TwoGridRow, ...]:
    """The scenes of a manifest, a CSV with `id,place,split,scene` and, if wanted, `s2_offset`.

    Paths start at `root`, by default the manifest's own folder. Raises DataError where a column, cell or file is
    missing, an id appears twice or a place stands in two splits; UnknownNameError for a column or split.
    """
    if not source.is_file():
        raise DataError(f"no manifest at {source}", fix=f"give a CSV with {','.join(COLUMNS)}")
    folder = source.parent if root is None else root
    with source.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        for name in reader.fieldnames or ():
            if name not in COLUMNS + OPTIONAL:
                raise UnknownNameError("manifest column", name, COLUMNS + OPTIONAL)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise DataError(f"{source} is no manifest of scenes", fix=f"the header needs {','.join(COLUMNS)}")
        rows = tuple(_row(line, f"{source.name} line {number}", folder) for number, line in enumerate(reader, start=2))
    splits: dict[str, str] = {}
    for number, row in enumerate(rows):
        if row.id in {other.id for other in rows[:number]}:
            raise DataError(f"{source} names the id {row.id} twice", fix="give every row its own id")
        first = splits.setdefault(row.place, row.split)
        if first != row.split:
            raise DataError(
                f"place {row.place} stands in {first} and in {row.split}", fix="keep all scenes of a place in one split"
            )
    return rows


def read_two_grids(scene: Path, *, s2_offset: int | None = None) -> TwoGrids:
    """A scene by its path.

    Raises DataError, BandError and UnitError where it cannot be read, GridError where the 10 m grid is not exactly
    twice the 20 m grid, and MissingError without h5py for a MATLAB file.
    """
    if scene.is_dir():
        rasters = _read_folder(scene, s2_offset)
    elif scene.suffix.lower() == ".mat":
        rasters = _read_mat(scene, s2_offset or 0)
    else:
        raise DataError(f"{scene} is no scene on two grids", fix="give a folder of per-band files, or a .mat file")
    fine, coarse = rasters
    if fine.grid.size != (2 * coarse.grid.height, 2 * coarse.grid.width):
        raise GridError(
            f"{scene.name} has {fine.grid.size} pixels of 10 m and {coarse.grid.size} of 20 m",
            fix="give bands that cover the same ground",
        )
    whole = fine.valid[::2, ::2] & fine.valid[1::2, ::2] & fine.valid[::2, 1::2] & fine.valid[1::2, 1::2]
    return TwoGrids(_filled(fine), _filled(coarse), whole & coarse.valid)


def _read_folder(folder: Path, s2_offset: int | None) -> tuple[Raster, Raster]:
    from eorestore.raster.files import open_raster

    files = [
        open_raster(folder, declared=Declared(bands=bands.names, s2_offset=s2_offset))
        for bands in (SENTINEL2_10M, SENTINEL2_20M)
    ]
    if any(file.resampled for file in files):
        raise GridError(f"the bands of {folder.name} lie on more than two grids", fix="give them as the product does")
    left, right = (file.grid for file in files)
    if not right.same_as(left.resize(right.height, right.width)):
        raise GridError(f"the two grids of {folder.name} cover different ground", fix="cut them to the same bounds")
    return files[0].read(), files[1].read()


def _read_mat(path: Path, s2_offset: int) -> tuple[Raster, Raster]:
    try:
        import h5py
    except ModuleNotFoundError:
        raise MissingError.package("h5py", "hdf") from None
    try:
        with h5py.File(path, "r") as file:
            fine, coarse = (np.asarray(file[name], dtype=np.float32) for name in ("im10", "im20"))
    except (OSError, KeyError) as error:
        raise DataError(f"{path.name} holds no im10 and im20: {error}", fix="fetch the file again") from None
    for name, values, bands in (("im10", fine, SENTINEL2_10M), ("im20", coarse, SENTINEL2_20M)):
        if values.ndim != 3 or len(values) != len(bands):
            raise DataError(f"{name} of {path.name} is {values.shape}", fix=f"give {len(bands)} bands, rows, columns")
    order = [_MAT_ORDER.index(band) for band in SENTINEL2_10M.names]
    return (
        _raster(fine[order], SENTINEL2_10M, pixel=10.0, s2_offset=s2_offset),
        _raster(coarse, SENTINEL2_20M, pixel=20.0, s2_offset=s2_offset),
    )


def _raster(counts: NDArray[np.float32], bands: BandSet, *, pixel: float, s2_offset: int) -> Raster:
    grid = Grid("", (pixel, 0.0, 0.0, 0.0, -pixel, 0.0), *counts.shape[1:])
    valid: NDArray[np.bool_] = np.all(counts > 0, axis=0)
    return Raster((counts - s2_offset) * np.float32(SENTINEL2_SCALE), valid, bands, grid)


def _filled(raster: Raster) -> NDArray[np.float32]:
    """Values with the nearest valid pixel where there is none, as a Processor fills them."""
    scaling = BandScaling(tuple(BandScale(band.name, band.unit, 0.0, 1.0, clip=False) for band in raster.bands))
    return Processor({"bands": scaling}, scaling).encode_one("bands", raster)


def _row(line: dict[str, str], where: str, folder: Path) -> TwoGridRow:
    cells = {name: (line.get(name) or "").strip() for name in COLUMNS + OPTIONAL}
    empty = [name for name in COLUMNS if not cells[name]]
    if empty:
        raise DataError(f"{where} has no {', '.join(empty)}", fix="fill the cell")
    if cells["split"] not in SPLITS:
        raise UnknownNameError("split", cells["split"], SPLITS)
    if cells["s2_offset"] not in ("", "0", "1000"):
        raise DataError(f"{where} has s2_offset {cells['s2_offset']!r}", fix="give 0 or 1000, or leave it empty")
    scene = folder / cells["scene"]
    if not scene.exists():
        raise DataError(
            f"{where} names {cells['scene']}, and there is no {scene}",
            fix="correct the cell, or give the folder that paths start from",
        )
    offset = int(cells["s2_offset"]) if cells["s2_offset"] else None
    return TwoGridRow(cells["id"], cells["place"], cells["split"], scene, offset)
