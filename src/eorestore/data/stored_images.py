"""Images that networks made, kept in folders: which one belongs to a picture, and its pixels; knows no cache or score.

A picture `a/0801_HR.png` has its image under the name 0801, 0801_HR, 0801_SR, 0801x4 or 0801_x4, with any suffix of an
image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from eorestore.data.image_files import image_paths, read_image
from eorestore.errors import DataError
from eorestore.raster import Raster


def by_name(folder: Path) -> dict[str, Path]:
    """The images of a folder by their names without suffix. Raises DataError for two of one name."""
    found: dict[str, Path] = {}
    for path in image_paths(folder):
        if path.stem in found:
            raise DataError(f"{found[path.stem]} and {path} are of one image", fix="remove one of them")
        found[path.stem] = path
    return found


def stored_image(
    high: Path, folders: Sequence[Mapping[str, Path]], *, expert: str, scale: int, size: tuple[int, int]
) -> Raster:
    """What an expert made of a picture.

    Args:
        high: the picture. Where several folders hold an image of its name, that counts whose set, the folder above
            the expert's, is a part of this path.
        folders: images by name, see `by_name`.
        expert: its name, for messages.
        scale: of the enlargement.
        size: (height, width) that the image must have.

    Raises:
        DataError: no image or several, or one of another size.
    """
    plain = re.sub(r"_HR$", "", high.stem, flags=re.IGNORECASE)
    names = dict.fromkeys((plain, f"{plain}_HR", f"{plain}_SR", f"{plain}x{scale}", f"{plain}_x{scale}", high.stem))
    found = [files[name] for files in folders for name in names if name in files]
    near = [path for path in found if path.parent.parent.name in high.parts] or found
    if not near:
        raise DataError(f"expert {expert} has no image of {high}", fix="add the image, or leave the expert out")
    if len(near) > 1:
        raise DataError(f"{near[0]} and {near[1]} are both images of {high}", fix="remove one of them")
    raster = read_image(near[0])
    if raster.grid.size != size:
        raise DataError(
            f"{near[0]} has {raster.grid.height} x {raster.grid.width} pixels, not {size[0]} x {size[1]}",
            fix="store what the expert made of this image, cropped to a multiple of the scale",
        )
    return raster
