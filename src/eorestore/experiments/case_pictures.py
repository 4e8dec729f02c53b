"""The worst, the median and the best case of a model as small pictures; knows scores by name, draws no chart."""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eorestore.errors import WriteError
from eorestore.experiments.case_scores import Restored
from eorestore.experiments.cases import Case
from eorestore.experiments.evaluation_table import EvaluationRow
from eorestore.experiments.score_text import HEADINGS, format_score, is_higher_better, metric_of
from eorestore.raster import Raster, Unit
from eorestore.training.pictures import sheet

FOLDER = "cases"
LIMIT = 300_000  # bytes of a picture
SIDE = 256  # pixels of the longer side of a panel, at most
ERROR_SCALE = 0.1  # mean absolute error, in reflectance, that is shown white
_COLOURS = ("B04", "B03", "B02")
_GAP = 4  # white pixels between panels
PANELS = "cloudy, SAR, restored, target, mean absolute error over bands"


@dataclass(frozen=True)
class _Kept:
    """The picture of one case, (y, x, 3) uint8, packed."""

    value: float
    scene: str
    cover: float | None
    seed: int | None
    shape: tuple[int, ...]
    packed: bytes

    def pixels(self) -> NDArray[np.uint8]:
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)


@dataclass(frozen=True)
class CasePicture:
    """A picture that was written. name: worst, median or best. path: from the folder of the evaluation."""

    name: str
    path: str
    value: float
    scene: str
    cover: float | None
    seed: int | None


class CasePictures:
    """Watches an evaluation and keeps a small picture of every case of its first model.

    Cases are ranked by the first metric inside cloud, and those without cloud are left out.
    """

    def __init__(self) -> None:
        self.model = self.score = ""
        self._kept: list[_Kept] = []

    def add(self, case: Case, row: EvaluationRow, restored: Restored) -> None:
        """Keep the picture of a case, if it is of the first model and has cloud."""
        self.model = self.model or row.model
        self.score = self.score or f"{next(iter(row.scores))}_cloud"
        value = row.scores.get(self.score, math.nan)
        if row.model != self.model or math.isnan(value):
            return
        pixels = draw_case(case, restored.raster)
        packed = zlib.compress(pixels.tobytes(), level=1)
        self._kept.append(_Kept(value, row.scene, row.cover, row.seed, pixels.shape, packed))

    def write(self, folder: Path) -> tuple[CasePicture, ...]:
        """Write the pictures into `folder`/cases; fewer than three where there are fewer cases. Raises WriteError."""
        for old in (folder / FOLDER).glob("*.png"):
            if old.name.startswith(tuple(f"{name}-" for name in ("worst", "median", "best"))):
                old.unlink()
        if not self._kept:
            return ()
        ranked = sorted(self._kept, key=lambda kept: kept.value, reverse=not is_higher_better(self.score))
        # Of one or two cases the median is one of the others, whose name then stands.
        chosen = {len(ranked) // 2: "median", len(ranked) - 1: "best", 0: "worst"}
        written: list[CasePicture] = []
        for rank, name in sorted(chosen.items()):
            kept = ranked[rank]
            path = Path(FOLDER) / f"{_label(name, kept)}.png"
            _write(folder / path, encode_small(kept.pixels()))
            written.append(CasePicture(name, path.as_posix(), kept.value, kept.scene, kept.cover, kept.seed))
        return tuple(written)

    def to_markdown(self, pictures: Sequence[CasePicture]) -> list[str]:
        """The pictures as lines of Markdown; none where there is no picture."""
        if not pictures:
            return []
        metric = metric_of(self.score)
        where = " inside cloud" if self.score.endswith("_cloud") else ""
        lines = ["", f"Cases of {self.model}, left to right: {PANELS} (white from {ERROR_SCALE:g}).", ""]
        for picture in pictures:
            value = format_score(picture.value, self.score)
            text = f"{picture.name.capitalize()}: {picture.scene}{_sky(picture)}, {HEADINGS[metric]}{where} {value}"
            lines += [f"![{text}]({picture.path})", "", text, ""]
        return lines[:-1]


def draw_case(case: Case, restored: Raster) -> NDArray[np.uint8]:
    """Five panels side by side, (y, x, 3); see `PANELS`.

    Natural colour where the bands are there, otherwise the first ones; all but the SAR and the error share the stretch
    of the target.
    """
    names = case.target.bands.names
    rgb = tuple(names.index(name) for name in _COLOURS) if set(_COLOURS) <= set(names) else (0, 0, 0)
    error = np.abs(restored.select(names).values - case.target.values).mean(axis=0, keepdims=True)
    error = np.where(case.valid, error, 0)
    images = (restored.select(names), case.target, case.cloudy.select(names))
    step = max(math.ceil(max(case.target.grid.size) / SIDE), 1)
    image, target, cloudy = (_fewer(np.where(raster.valid, raster.values, np.nan), step) for raster in images)
    batch = {"target": target, "cloudy": cloudy, "sar": _fewer(_decibel(case.sar), step)}
    panels = sheet(image, batch, rgb=rgb)
    grey = (255 * (_fewer(error, step)[0] / ERROR_SCALE).clamp(0, 1)).to(torch.uint8).numpy()
    gap = np.full((3, grey.shape[1], _GAP), 255, dtype=np.uint8)
    whole = np.concatenate([panels, gap, np.repeat(grey, 3, axis=0)], axis=2)
    return np.ascontiguousarray(whole.transpose(1, 2, 0))


def encode_small(pixels: NDArray[np.uint8], *, limit: int = LIMIT) -> bytes:
    """A PNG of (y, x, 3) pixels, made smaller by quarters of its sides until it fits `limit` bytes."""
    from matplotlib.image import imsave
    from scipy.ndimage import zoom

    scale = 1.0
    while True:
        small = pixels if scale == 1 else zoom(pixels, (scale, scale, 1), order=1)
        drawn = io.BytesIO()
        imsave(drawn, small, format="png", pil_kwargs={"optimize": True})
        if len(drawn.getvalue()) <= limit or min(small.shape[:2]) < 2:
            return drawn.getvalue()
        scale *= 0.75


def _fewer(values: NDArray[np.floating], step: int) -> torch.Tensor:
    """Every `step`-th pixel of (band, y, x) as a batch of one."""
    return torch.from_numpy(np.ascontiguousarray(values[:, ::step, ::step], dtype=np.float32))[None]


def _decibel(sar: Raster) -> NDArray[np.float32]:
    from eorestore.processing.units import convert

    values = convert(sar, Unit.DECIBEL).values
    return np.where(sar.valid & np.isfinite(values), values, np.nan)


def _label(name: str, kept: _Kept) -> str:
    scene = re.sub(r"[^A-Za-z0-9._-]+", "-", kept.scene)
    cover = "" if kept.cover is None else f"-cover{100 * kept.cover:.0f}"
    return f"{name}-{scene}{cover}" + ("" if kept.seed is None else f"-seed{kept.seed}")


def _sky(picture: CasePicture) -> str:
    cover = "" if picture.cover is None else f", {100 * picture.cover:.0f} % cover"
    return cover + ("" if picture.seed is None else f", seed {picture.seed}")


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise WriteError(
            f"{path} could not be written: {error.strerror or error}",
            fix="choose a folder with room and write access",
        ) from error
