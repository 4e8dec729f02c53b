"""The files of a manifest's row, opened as the row declares them; knows no tensor."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eorestore.data.manifest import SceneRow
from eorestore.errors import BandError
from eorestore.raster import Grid, Unit

if TYPE_CHECKING:
    from eorestore.raster.files import RasterFile

log = logging.getLogger(__name__)


def open_optical(path: Path, row: SceneRow) -> RasterFile:
    """An optical file of a row, with the bands, scale and offset that the row declares.

    Raises DataError, BandError and UnitError.
    """
    offset = None if row.s2_offset is None else round(row.s2_offset)
    file = _open(path, row, bands=row.optical_bands, s2_offset=offset)
    _tell(row, file)
    if row.optical_scale is None:
        return file
    encoding = replace(file.encoding, scale=row.optical_scale, offset=-(offset or 0) * row.optical_scale)
    return replace(file, encoding=encoding)


def open_sar(row: SceneRow, grid: Grid) -> RasterFile:
    """The SAR file of a row, with the bands and unit that the row declares, seen on `grid`.

    Raises DataError, BandError, UnitError and GridError.
    """
    file = _open(row.sar, row, bands=row.sar_bands, unit=row.sar_unit).aligned(grid, name=row.optical.name)
    _tell(row, file)
    return file


def _open(
    path: Path,
    row: SceneRow,
    *,
    bands: tuple[str, ...] | None,
    unit: Unit | None = None,
    s2_offset: int | None = None,
) -> RasterFile:
    from eorestore.raster.files import open_raster
    from eorestore.raster.products import Declared

    try:
        return open_raster(path, declared=Declared(bands=bands, unit=unit, s2_offset=s2_offset))
    except BandError as error:
        raise BandError(
            f"{row.id}: {error.message}", fix="name the bands in the manifest: column optical_bands or sar_bands"
        ) from None


def _tell(row: SceneRow, file: RasterFile) -> None:
    for note in file.notes:
        log.info("%s: %s", row.id, note)
