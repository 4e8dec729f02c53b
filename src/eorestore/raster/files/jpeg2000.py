"""JPEG2000 codestreams (ISO 15444-1, 9/7 wavelet) in memory through GDAL's OpenJPEG; knows no unit and no grid."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from eorestore.errors import CodecError

DRIVER = "JP2OpenJPEG"
_SMALLEST_SIDE = 32  # of the coarsest level
_START_OF_TILE, _COMMENT = b"\xff\x90", b"\xff\x64"


def write_codestream(values: NDArray[np.uint16], *, share: float) -> bytes:
    """uint16 (band, y, x) as one codestream of about `share` (0 to 1) of the bytes that the values take.

    One code tile, no file boxes. Raises CodecError where GDAL has no OpenJPEG.
    """
    bands, height, width = values.shape
    levels = max(min(height, width) // _SMALLEST_SIDE, 1).bit_length()
    try:
        with warnings.catch_warnings(), MemoryFile(ext=".j2k") as memory:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(
                driver=DRIVER, width=width, height=height, count=bands, dtype="uint16", codec="J2K", reversible="NO",
                quality=str(100 * share), resolutions=str(min(levels + 1, 6)), blockxsize=str(width),
                blockysize=str(height), ycc="NO", ycbcr420="NO",
            ) as file:  # fmt: skip
                file.write(values)
            return _without_comment(bytes(memory.read()))
    except (RasterioError, CPLE_BaseError) as error:
        raise CodecError(
            f"JPEG2000 cannot be written: {error}", fix=f"install a rasterio whose GDAL has {DRIVER}"
        ) from None


def read_codestream(content: bytes, *, shape: tuple[int, int, int]) -> NDArray[np.uint16]:
    """The values (band, y, x) of a codestream. Raises CodecError where it is damaged or of another shape."""
    try:
        with warnings.catch_warnings(), MemoryFile(content, ext=".j2k") as memory:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(driver=DRIVER) as file:
                found = (file.count, file.height, file.width)
                if found != shape or file.dtypes[0] != "uint16":
                    raise CodecError(
                        f"the JPEG2000 stream holds {file.dtypes[0]} values of shape {found}, not {shape}",
                        fix="take another copy of the file",
                    )
                values: NDArray[np.uint16] = file.read()
                return values
    except (RasterioError, CPLE_BaseError) as error:
        raise CodecError(f"the JPEG2000 stream is damaged: {error}", fix="take another copy of the file") from None


def _without_comment(content: bytes) -> bytes:
    """A codestream without the comments in its main header, in which OpenJPEG names itself in 39 bytes."""
    kept, place = [content[:2]], 2
    while content[place : place + 2] != _START_OF_TILE:
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if content[place : place + 2] != _COMMENT:
            kept.append(content[place:end])
        place = end
    return b"".join(kept) + content[place:]
