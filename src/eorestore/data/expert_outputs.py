"""Images that experts gave, kept as files in a folder for each expert; knows no network and no score.

    DIR/Set5/{EDSR,RCAN}/baby.png     or, for a single set,     DIR/{EDSR,RCAN}/baby.png

The files are named as the high-resolution images are, without their _HR; the formats may differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eorestore.data.image_files import image_paths, read_image
from eorestore.data.image_pairs import ImagePair
from eorestore.errors import DataError, UnknownNameError
from eorestore.processing import Processor


@dataclass(frozen=True)
class ExpertOutputs:
    """Where the images of several experts lie. names: of the experts, in order. paths: by expert and image."""

    folder: Path
    names: tuple[str, ...]
    paths: Mapping[str, Mapping[str, Path]]

    def read(self, pair: ImagePair, processor: Processor, *, size: tuple[int, int]) -> NDArray[np.float32]:
        """What all experts gave for a pair, (expert, band, y, x), encoded as the output of `processor` is.

        size: (height, width) that they must have. Raises DataError where an image is missing or of another size.
        """
        scaling = processor.output
        door = Processor({"expert": scaling}, scaling)
        images = []
        for name in self.names:
            path = self.paths[name].get(_key(pair.high))
            if path is None:
                raise DataError(
                    f"expert {name} has no image of {pair.high.name} in {self.folder / name}",
                    fix="add the image, or leave the expert out",
                )
            raster = read_image(path)
            if raster.grid.size != size:
                raise DataError(
                    f"{path} has {raster.grid.height} x {raster.grid.width} pixels, not {size[0]} x {size[1]}",
                    fix="store what the expert gave for this image, cropped to a multiple of the scale",
                )
            images.append(door.encode_one("expert", raster))
        return np.stack(images)


def find_expert_outputs(folder: Path, *, set_name: str | None = None, names: Sequence[str] = ()) -> ExpertOutputs:
    """The stored images of a set: those in the folder of its name where there is one, else those in `folder`.

    names: of the experts, in the order that is wanted; all of them by name without it. Raises DataError where there
    is no folder of images, or two images of one name, and UnknownNameError for a name that is no folder.
    """
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}", fix="give a folder with one folder of images for each expert")
    if set_name is not None:
        # a manifest may call set5 what the folder calls Set5
        named = (path for path in folder.iterdir() if path.is_dir() and path.name.lower() == set_name.lower())
        folder = next(named, folder)
    found = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if not found:
        raise DataError(f"{folder} holds no folder of an expert", fix="put the images of each expert into one folder")
    for name in names:
        if name not in found:
            raise UnknownNameError(f"expert in {folder}", name, found)
    chosen = tuple(names) or tuple(found)
    return ExpertOutputs(folder, chosen, {name: _by_key(folder / name) for name in chosen})


def _by_key(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in image_paths(folder):
        key = _key(path)
        if key in found:
            raise DataError(f"{found[key]} and {path} are of one image", fix="remove one of them")
        found[key] = path
    return found


def _key(path: Path) -> str:
    """What an image is called, whether it is the high-resolution one or what an expert made."""
    return re.sub(r"_(HR|SR)$", "", path.stem, flags=re.IGNORECASE)
