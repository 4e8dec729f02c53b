"""Images that experts gave, kept as files in a folder for each expert; knows no network and no score.

    DIR/Set5/{EDSR,RCAN}/baby.png     or, for a single set,     DIR/{EDSR,RCAN}/baby.png

`data.stored_images` says which file belongs to an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eorestore.data.image_pairs import ImagePair
from eorestore.data.stored_images import by_name, stored_image
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
            raster = stored_image(pair.high, [self.paths[name]], expert=name, scale=processor.scale, size=size)
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
    return ExpertOutputs(folder, chosen, {name: by_name(folder / name) for name in chosen})
