"""A scene of per-band files as models see it that sharpen bands: coarse pixels repeated 2 x 2; imports no torch."""

from __future__ import annotations

import threading
from dataclasses import replace

from eorestore.errors import GridError
from eorestore.raster import SENTINEL2_20M
from eorestore.raster.files import Member, RasterFile

MULTISPECTRAL = "multispectral"  # the keyword of a scene whose bands are to be sharpened
_EXACT = 0.01  # pixels


def with_repeated_bands(file: RasterFile) -> tuple[RasterFile, tuple[str, ...], tuple[str, ...]]:
    """The scene with every 20 m pixel 2 x 2 times on the 10 m grid, without 60 m bands; notes and warnings beside it.

    Bands that lie on the fine grid already stay as they are, with a warning. Raises GridError where the scene begins or
    ends inside a 20 m pixel, or such a pixel is not 2 x 2 of the others.
    """
    rows = [row for row, member in enumerate(file.members) if _is_kept(file, member)]
    members = tuple(file.members[row] for row in rows)
    names = [name for member in members for name in member.names]
    left = [name for name in file.bands.names if name not in names]
    coarse = [name for name in file.resampled if name in names]
    resampled = [name for name in names if name in SENTINEL2_20M and name not in coarse]
    for member in members:
        if not member.grid.same_as(file.base):
            _check_blocks(file, member)
    notes = tuple(note for note in file.notes if not note.endswith("(bilinear)"))
    warnings: tuple[str, ...] = ()
    if coarse:
        notes += (f"{file.path.name}: {', '.join(coarse)} repeated 2 x 2",)
    if left:
        warnings += (f"{', '.join(left)} of {file.path.name} left out: only bands of 10 m and 20 m are sharpened",)
    if resampled:
        warnings += (
            f"{', '.join(resampled)} of {file.path.name} lie on the 10 m grid already: they are averaged 2 x 2 before "
            "they are sharpened, which loses nothing only if they were repeated",
        )
    if len(file.members) == 1:
        return file, notes, warnings
    seen = replace(
        file,
        bands=file.bands.select(names),
        members=members,
        descriptions=tuple(file.descriptions[row] for row in rows),
        notes=notes,
        method="nearest",
        _handles=threading.local(),
    )
    return seen, notes, warnings


def _is_kept(file: RasterFile, member: Member) -> bool:
    """Whether a file of the scene is as fine as the finest, or holds a 20 m band."""
    return member.grid.same_as(file.base) or any(name in SENTINEL2_20M for name in member.names)


def _check_blocks(file: RasterFile, member: Member) -> None:
    coarse, names = member.grid, ", ".join(member.names)
    top, left = file.base.pixel(*coarse.position(0, 0))
    bottom, right = file.base.pixel(*coarse.position(1, 1))
    places = (top, left, bottom - top - 2, right - left - 2)
    whole = coarse.crs == file.base.crs and all(abs(place - round(place)) <= _EXACT for place in places)
    if not whole or (round(places[2]), round(places[3])) != (0, 0):
        raise GridError(
            f"pixels of {names} in {file.path.name} are not 2 x 2 pixels of its finest bands",
            fix="give the scene as the product has it, not warped",
        )
    first = file.crop_window
    row, column = (0, 0) if first is None else (first.row, first.column)
    height, width = file.grid.size
    if (row - round(top)) % 2 or (column - round(left)) % 2 or height % 2 or width % 2:
        raise GridError(
            f"the window of {file.path.name} begins or ends inside a pixel of {names}",
            fix="give --bbox with sides on edges of 20 m pixels",
        )
