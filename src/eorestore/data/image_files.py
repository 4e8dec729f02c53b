"""Pictures on disk as rasters: PNG, JPEG, WebP and TIFF, and what a folder holds of them; knows no pair and no split.

Values of pictures are levels of 0 ... 255, whatever their depth; grey ones are given as red, green and blue, which are
then equal. A TIFF with a place on Earth is read as every raster is, with its own bands and units; three of its bands
can be taken as a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from eorestore.errors import DataError, GridError
from eorestore.raster import RGB, Grid, Raster

if TYPE_CHECKING:
    from eorestore.raster.files import RasterFile

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
_TIFF = (".tif", ".tiff")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L")
_EIGHT_BIT = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
_TO_LEVELS = 257  # 65535 / 255
_WHITE = 255
_ENDS = (1, 99)  # percentiles
_PNG_DEPTH = 24  # where the header of a PNG has its bits per band


def image_paths(folder: Path) -> tuple[Path, ...]:
    """All pictures in a folder and below, sorted by their path. Raises DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}", fix="correct the path")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and _visible(path, folder))
    if not found:
        raise DataError(f"{folder} holds no image", fix=f"put files there that end in {', '.join(SUFFIXES)}")
    return tuple(found)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture, from its header where it has one. Raises DataError."""
    if path.suffix.lower() in _TIFF:
        file = _with_place(path)
        if file is not None:
            return file.grid.size
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except (OSError, UnidentifiedImageError) as error:
        raise _unreadable(path, error) from None


def read_image(path: Path, *, bands: Sequence[str] = ()) -> Raster:
    """A picture as (band, y, x) float32; transparent pixels are not valid, turns noted beside the pixels are not made.

    bands: three of a scene to take as red, green and blue: levels 0 ... 255 from their 1st to their 99th percentile,
    what lies beyond below 0 and above 255. Raises DataError where the image cannot be read or Pillow would shorten its
    values, or where bands are not three, lack a valid pixel or have one value; and BandError and UnitError.
    """
    if bands:
        return _as_picture(path, bands)
    if path.suffix.lower() in _TIFF:
        file = _with_place(path)
        if file is not None:
            return file.read()
    try:
        with Image.open(path) as picture:
            depth = _png_depth(path) if picture.format == "PNG" else 8
            return _levels(path, picture, depth)
    except (OSError, UnidentifiedImageError) as error:
        raise _unreadable(path, error) from None


def _as_picture(path: Path, names: Sequence[str]) -> Raster:
    from eorestore.raster.files import open_raster

    if len(names) != len(RGB):
        raise DataError(f"{path.name}: {' '.join(names)} is not three bands", fix="name three bands of the scene")
    scene = open_raster(path).read()
    values = scene.values[[scene.bands.index(name) for name in names]]
    valid = scene.valid & np.isfinite(values).all(axis=0)
    if not valid.any():
        raise DataError(f"{path.name} has no valid pixel in {' '.join(names)}", fix="leave the scene out")
    low, high = np.percentile(values[:, valid], _ENDS, axis=1)[..., None, None].astype(np.float32)
    if not (high > low).all():
        raise DataError(f"{path.name}: one of {' '.join(names)} is the same everywhere", fix="name other bands")
    levels = np.where(valid, _WHITE * (values - low) / (high - low), 0).astype(np.float32)
    return Raster(levels, valid, RGB, scene.grid)


def _levels(path: Path, picture: Image.Image, depth: int) -> Raster:
    grid = Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), picture.height, picture.width)
    if picture.mode in _SIXTEEN_BIT:
        grey = np.asarray(picture, dtype=np.float32) / _TO_LEVELS
        return Raster(np.stack([grey] * len(RGB)), np.ones(grid.size, bool), RGB, grid)
    if picture.mode not in _EIGHT_BIT or depth > 8:
        raise DataError(
            f"{path.name} is a picture of mode {picture.mode} with {depth} bits a band",
            fix="give colours of 8 bits, grey of 8 or 16 bits, or a GeoTIFF",
        )
    pixels: NDArray[np.uint8] = np.asarray(picture.convert("RGBA"))
    values = pixels[..., : len(RGB)].transpose(2, 0, 1).astype(np.float32)
    return Raster(values, pixels[..., -1] > 0, RGB, grid)


def _with_place(path: Path) -> RasterFile | None:
    """The raster in a TIFF; None where it has no place on Earth, and is a picture."""
    from eorestore.raster.files import open_raster

    try:
        return open_raster(path)
    except GridError:
        return None


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(_PNG_DEPTH + 1)[_PNG_DEPTH]


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path.name} is no readable image: {error}", fix="replace the file, or leave it out")


def _visible(path: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)
