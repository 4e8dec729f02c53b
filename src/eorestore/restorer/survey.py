"""The one pass over a scene before it is restored: its mask, its statistics, what `prepare` needs.

Everything is read by windows; what stays in memory is one bit a pixel and an overview of bounded size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.errors import DataError
from eorestore.models.model import SceneSample
from eorestore.processing import Processor
from eorestore.processing.cloud_mask import HALO, cloud_and_shadow, csmask, shadow_limits, widen
from eorestore.raster import Pixels, Raster, Window
from eorestore.restorer.scene import MaskOfWindow, PackedMask, Scene, physical, spread

OVERVIEW = 1200  # longest side of the overview in blocks
PIECES = 24  # full-resolution pieces that `prepare` sees of a scene larger than the overview
_PIECE = 256
_STEP = 1024


@dataclass(frozen=True)
class Survey:
    """What the pass found: the mask (None restores all), its share of valid pixels, the sample for `prepare`."""

    mask: PackedMask | None
    masked_share: float
    sample: SceneSample | None


def survey(
    scene: Scene, processor: Processor, *, mask: MaskOfWindow | None, wants_sample: bool, absent: Sequence[str] = ()
) -> Survey:
    """Read the scene once, or without mask and sample only as far as the first valid pixel.

    absent: inputs of the processor that the scene lacks; they are NaN throughout the sample. Raises DataError where
    no pixel is valid.
    """
    height, width = scene.size
    packed = PackedMask(scene.size) if mask is not None else None
    factor = math.ceil(max(height, width) / OVERVIEW)
    collector = _Collector(scene, processor, factor, absent) if wants_sample else None
    masked = valid_count = 0
    for window in _windows(scene.size, factor):
        covered = mask(window) if mask is not None else np.ones(window.size, dtype=bool)
        raw = scene.optical.read_raw(window)
        valid = scene.optical.encoding.valid(raw)
        masked += int((covered & valid).sum())
        valid_count += int(valid.sum())
        if packed is not None:
            packed.write(window, covered)
        if mask is None and collector is None and valid_count:
            break
        if collector is not None:
            collector.add(window, raw, hidden=covered | ~valid, valid=valid)
    if valid_count == 0:
        raise DataError("the scene has no valid pixel", fix="check its nodata value and its values")
    sample = collector.finish() if collector is not None else None
    return Survey(packed, masked / valid_count, sample)


def automatic_mask(scene: Scene) -> MaskOfWindow:
    """The built-in cloud and shadow mask, windowed; the shadow limits are taken once for the scene."""
    optical = scene.optical
    pieces = [_read(optical, window) for window in spread(scene.size, 16, 512)]
    limits = shadow_limits(pieces)

    def mask(window: Window) -> NDArray[np.bool_]:
        wide = window.grow(HALO, within=scene.size)
        cloud, shadow = cloud_and_shadow(_read(optical, wide), limits, sun_azimuth=scene.sun_azimuth)
        inner = window.relative_to(wide)
        return widen(cloud | shadow)[inner.rows, inner.columns]

    return mask


def network_mask(scene: Scene) -> MaskOfWindow:
    """The mask of ukis-csmask, windowed with context."""

    def mask(window: Window) -> NDArray[np.bool_]:
        wide = window.grow(HALO, within=scene.size)
        inner = window.relative_to(wide)
        return widen(csmask(_read(scene.optical, wide)))[inner.rows, inner.columns]

    return mask


class _Collector:
    """Adds up block means for the overview and keeps pieces at full resolution."""

    def __init__(self, scene: Scene, processor: Processor, factor: int, absent: Sequence[str]) -> None:
        self.absent = {key: len(processor.inputs[key].names) for key in absent}
        self.scene, self.processor, self.factor = scene, processor, factor
        height, width = scene.size
        self.size = -(-height // factor), -(-width // factor)
        self.keys = [key for key in scene.inputs if key in processor.inputs]
        self.sums = {key: np.zeros((len(processor.inputs[key].names), *self.size), np.float32) for key in self.keys}
        self.clear = np.zeros(self.size, np.float32)
        self.count = np.zeros(self.size, np.float32)
        shape = (len(processor.inputs[scene.primary].names), *self.size)
        self.hidden_sum = np.zeros(shape, np.float32)
        self.hidden_count = np.zeros(self.size, np.float32)
        self.pieces: list[dict[str, Tensor]] = []
        count = sum(1 for _ in _windows(scene.size, factor))
        self.every = max(1, count // PIECES)
        self.seen = 0

    def add(self, window: Window, raw: NDArray[Any], *, hidden: NDArray[np.bool_], valid: NDArray[np.bool_]) -> None:
        encoded = {}
        for key in self.keys:
            pixels = self.scene.inputs[key]
            values = raw if key == self.scene.primary else pixels.read_raw(window)
            encoded[key] = self.processor.encode_one(key, physical(pixels, values, window))
        clear = ~hidden
        if self.factor == 1 or (self.seen % self.every == 0 and len(self.pieces) < PIECES):
            self._keep(encoded, hidden)
        self.seen += 1
        top, left = window.row // self.factor, window.column // self.factor
        place = slice(top, top + -(-window.height // self.factor)), slice(left, left + -(-window.width // self.factor))
        self.clear[place] += _block_sum(clear.astype(np.float32), self.factor)
        self.count[place] += _block_sum(np.ones(window.size, np.float32), self.factor)
        for key, values in encoded.items():
            primary = key == self.scene.primary
            for band, row in enumerate(values):
                self.sums[key][band][place] += _block_sum(np.where(clear, row, 0) if primary else row, self.factor)
                if primary:
                    under = np.where(hidden & valid, row, 0)
                    self.hidden_sum[band][place] += _block_sum(under, self.factor)
        self.hidden_count[place] += _block_sum((hidden & valid).astype(np.float32), self.factor)

    def finish(self) -> SceneSample:
        hidden = (self.clear == 0).astype(np.float32)[None]
        overview = {"mask": torch.from_numpy(hidden)[None]}
        for key, total in self.sums.items():
            mean = total / (np.maximum(self.clear, 1) if key == self.scene.primary else self.count)
            if key == self.scene.primary:
                mean = np.where(self.clear > 0, mean, self.hidden_sum / np.maximum(self.hidden_count, 1))
            overview[key] = torch.from_numpy(mean)[None]
        overview |= self._missing(self.size)
        windows: tuple[Mapping[str, Tensor], ...] = tuple(self.pieces)
        return SceneSample(overview, (overview,) if self.factor == 1 else windows, self.factor)

    def _keep(self, encoded: Mapping[str, NDArray[np.float32]], hidden: NDArray[np.bool_]) -> None:
        if self.factor == 1:
            return
        height, width = hidden.shape
        top, left = max((height - _PIECE) // 2, 0), max((width - _PIECE) // 2, 0)
        rows, columns = slice(top, top + _PIECE), slice(left, left + _PIECE)
        piece = {key: torch.from_numpy(values[:, rows, columns].copy())[None] for key, values in encoded.items()}
        piece["mask"] = torch.from_numpy(hidden[rows, columns].astype(np.float32))[None, None]
        size = piece["mask"].shape[-2], piece["mask"].shape[-1]
        self.pieces.append(piece | self._missing(size))

    def _missing(self, size: tuple[int, int]) -> dict[str, Tensor]:
        return {key: torch.full((1, count, *size), float("nan")) for key, count in self.absent.items()}


def _windows(size: tuple[int, int], factor: int) -> Iterator[Window]:
    unit = math.lcm(factor, 8)
    step = max(_STEP // unit, 1) * unit
    for row in range(0, size[0], step):
        for column in range(0, size[1], step):
            yield Window(row, column, min(step, size[0] - row), min(step, size[1] - column))


def _read(pixels: Pixels, window: Window) -> Raster:
    return physical(pixels, pixels.read_raw(window), window)


def _block_sum(values: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1:
        return values
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], factor), axis=0)
    return np.add.reduceat(rows, np.arange(0, values.shape[1], factor), axis=1)
