"""Pictures on disk in and out in their own mode, grey or colour, with or without alpha; knows no raster format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eorestore.data.image_files import read_image
from eorestore.errors import WriteError
from eorestore.raster import Band, BandSet, Raster, Unit

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Of files that are pictures; a TIFF is one where it has no place on Earth."""

_MODES = {
    "1": "L", "L": "L", "LA": "LA", "PA": "RGBA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB",
    "YCbCr": "RGB", "I;16": "I;16", "I;16B": "I;16", "I;16L": "I;16",
}  # fmt: skip
_WHITE, _TO_SIXTEEN_BIT = 255, 257
_GREY = BandSet((Band("grey", Unit.LEVEL),))


@dataclass(frozen=True)
class Picture:
    """A picture of one or three bands in levels of 0 ... 255.

    mode: in which it is written: L, RGB, each also with alpha (LA, RGBA), or I;16. alpha: (y, x) in 0 ... 255, None
    where it has none. kept: colour profile and notes of the camera, as they are.
    """

    raster: Raster
    mode: str
    alpha: NDArray[np.float32] | None
    kept: Mapping[str, bytes]


def picture_mode(path: Path) -> str | None:
    """The mode in which a picture would be written; None for one that is no picture of 8 bits or 16 bits of grey."""
    try:
        with Image.open(path) as picture:
            mode = _MODES.get(picture.mode)
            return "RGBA" if mode == "RGB" and "transparency" in picture.info else mode
    except OSError:
        return None


def read_picture(path: Path) -> Picture:
    """A picture; transparent pixels are not valid. Raises DataError where it cannot be read."""
    raster = read_image(path)
    mode = picture_mode(path) or "RGB"
    with Image.open(path) as picture:
        kept = {key: picture.info[key] for key in ("icc_profile", "exif") if picture.info.get(key)}
        alpha = None
        if mode.endswith("A"):
            alpha = np.asarray(picture.convert("RGBA"))[..., -1].astype(np.float32)
    if mode in ("L", "LA", "I;16"):
        raster = Raster(raster.values[:1], raster.valid, _GREY, raster.grid)
    return Picture(raster, mode, alpha, kept)


def write_picture(path: Path, picture: Picture) -> None:
    """Write it in its mode, values rounded and cut to what that holds; its name says the format. Raises WriteError."""
    values = picture.raster.values
    if picture.mode == "I;16":
        image = Image.fromarray(np.clip(np.rint(values[0] * _TO_SIXTEEN_BIT), 0, 65535).astype(np.uint16))
    else:
        planes = list(values) + ([] if picture.alpha is None else [picture.alpha])
        levels = np.clip(np.rint(np.stack(planes, axis=-1)), 0, _WHITE).astype(np.uint8)
        image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    try:
        image.save(path, icc_profile=picture.kept.get("icc_profile"), exif=picture.kept.get("exif", b""))
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error}", fix="check the folder and the free space") from None
