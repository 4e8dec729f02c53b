"""Where a model that enlarges images errs most: the worst and the median image as small pictures; writes no file."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor

from eorestore.experiments.case_pictures import encode_small
from eorestore.experiments.image_scores import Example
from eorestore.experiments.image_table import BASELINE, ImageRow
from eorestore.processing.resize import enlarge

FOLDER = "images"
SIDE = 256  # pixels of a panel, at most: whole images would hide what differs
LIMIT = 1_000_000  # bytes of a picture, which is made smaller beyond it
SCORE = "psnr"
_GAP = 4  # white pixels between panels


@dataclass(frozen=True)
class ImagePicture:
    """A picture of one image. name: worst or median. path: below the folder of the evaluation. png: the file."""

    name: str
    path: str
    value: float
    scene: str
    png: bytes


@dataclass(frozen=True)
class _Kept:
    value: float
    scene: str
    shape: tuple[int, ...]
    packed: bytes

    def pixels(self) -> NDArray[np.uint8]:
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)


class ImagePictures:
    """Watches an evaluation and keeps a small picture of every image of its first model that is not bicubic.

    Where bicubic is the only one, its pictures are kept.
    """

    def __init__(self) -> None:
        self.model = ""
        self._kept: list[_Kept] = []

    def add(self, example: Example, row: ImageRow, image: Tensor) -> None:
        """Keep the picture of an image, if it is of the model that is shown."""
        if self.model in ("", BASELINE) and row.model != self.model and not row.oracle:
            self.model, self._kept = row.model, []
        value = row.scores.get(SCORE, math.nan)
        if row.model != self.model or math.isnan(value):
            return
        pixels = draw_image(example, None if row.model == BASELINE else image)
        self._kept.append(_Kept(value, row.scene, pixels.shape, zlib.compress(pixels.tobytes(), level=1)))

    def drawn(self) -> tuple[ImagePicture, ...]:
        """The pictures, worst first; one where there is one image, none where no image has a score."""
        ranked = sorted(self._kept, key=lambda kept: kept.value)
        # of one image the median is the worst
        chosen = {len(ranked) // 2: "median", 0: "worst"} if ranked else {}
        return tuple(self._picture(name, ranked[rank]) for rank, name in sorted(chosen.items()))

    def to_markdown(self, pictures: Sequence[ImagePicture]) -> list[str]:
        """The pictures as lines of Markdown; none where there is no picture."""
        if not pictures:
            return []
        shown = "original, bicubic" if self.model == BASELINE else f"original, bicubic, {self.model}"
        lines = ["", f"Left to right: {shown}; the {SIDE} x {SIDE} pixels where {self.model} errs most.", ""]
        for picture in pictures:
            text = f"{picture.name.capitalize()}: {picture.scene}, PSNR of the whole image {picture.value:.3f} dB"
            lines += [f"![{text}]({picture.path})", "", text, ""]
        return lines[:-1]

    def _picture(self, name: str, kept: _Kept) -> ImagePicture:
        scene = re.sub(r"[^A-Za-z0-9._-]+", "-", kept.scene)
        return ImagePicture(
            name, f"{FOLDER}/{name}-{scene}.png", kept.value, kept.scene, encode_small(kept.pixels(), limit=LIMIT)
        )


def draw_image(example: Example, image: Tensor | None) -> NDArray[np.uint8]:
    """Original, bicubic and model side by side, (y, x, 3), where the last errs most; at most three bands are shown.

    image: of the model, (band, y, x); None to show bicubic alone. All share the stretch of the original: 0 to 1, or its
    2nd to 98th percentile where values leave that range.
    """
    high = example.high.double().numpy()
    plain = enlarge(example.low.double(), factor=high.shape[-1] // example.low.shape[-1]).numpy()
    shown = [high, plain] if image is None else [high, plain, image.double().numpy()]
    error = np.where(example.valid[0].numpy(), ((shown[-1] - high) ** 2).mean(axis=0), 0)
    rows, columns = _window(error)
    panels = [values[:, rows, columns] for values in shown]
    low, top = (0.0, 1.0) if high.min() >= 0 and high.max() <= 1 else np.nanpercentile(high, (2, 98))
    colours = [_colours(values, low, max(top - low, 1e-6)) for values in panels]
    gap = np.full((colours[0].shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([part for panel in colours for part in (gap, panel)][1:], axis=1)


def _window(error: NDArray[np.float64]) -> tuple[slice, slice]:
    """The square of SIDE pixels, or all there are, around the place of the greatest error."""
    sides = [min(SIDE, length) for length in error.shape]
    centre = np.unravel_index(int(uniform_filter(error, sides, mode="constant").argmax()), error.shape)
    starts = [
        min(max(int(place) - side // 2, 0), length - side)
        for place, side, length in zip(centre, sides, error.shape, strict=True)
    ]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return rows, columns


def _colours(values: NDArray[np.float64], low: float, span: float) -> NDArray[np.uint8]:
    shown = values[:3] if len(values) >= 3 else values[[0, 0, 0]]
    scaled = np.nan_to_num((shown - low) / span).clip(0, 1)
    pixels: NDArray[np.uint8] = (255 * scaled + 0.5).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
