"""Overlapping tiles over a raster, planned as integers; knows no pixel and no model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from eorestore.errors import UsageError
from eorestore.raster.grid import Window


@dataclass(frozen=True)
class Tile:
    """One tile: `window` is what the model reads, `core` what it answers for; they differ by the halo in crop mode."""

    window: Window
    core: Window


@dataclass(frozen=True)
class TilePlan:
    """Rows of tiles that together cover a scene of `size` (height, width) once (crop) or with overlaps (blend)."""

    size: tuple[int, int]
    mode: Literal["crop", "blend"]
    rows: tuple[tuple[Tile, ...], ...]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return sum(len(row) for row in self.rows)

    def __iter__(self) -> Iterator[Tile]:
        for row in self.rows:
            yield from row

    def finished(self, row: int) -> int:
        """Scene rows that no tile after row `row` of the plan touches: the first that is not finished yet."""
        return self.rows[row + 1][0].core.row if row + 1 < len(self.rows) else self.size[0]

    def first_row_for(self, scene_row: int) -> int:
        """The row of tiles at which to begin so that every scene row from `scene_row` on is complete."""
        begin = 0
        while begin + 1 < len(self.rows) and self.finished(begin) <= scene_row:
            begin += 1
        while begin > 0 and _end(self.rows[begin - 1][0]) > scene_row:
            begin -= 1
        return begin


def plan_tiles(
    size: tuple[int, int],
    *,
    tile: int,
    overlap: int = 0,
    mode: Literal["crop", "blend"] = "blend",
    reach: int | None = None,
    multiple_of: int = 1,
    phase: int = 1,
) -> TilePlan:
    """Tiles for a scene.

    crop: cores of `tile` pixels side by side; windows reach out by `reach`, rounded up so that tiles start on
    multiples of `multiple_of` and `phase`, and stop at the scene's edge. Exact for a model whose receptive
    field is no larger than `reach`. blend: windows of `tile` pixels that overlap by `overlap`; the last one of
    an axis is moved back inside. Raises UsageError for sizes that cannot serve.
    """
    step = math.lcm(multiple_of, phase)
    if tile < step:
        raise UsageError(f"a tile of {tile} pixels is too small", fix=f"use a multiple of {step}")
    tile = tile // step * step
    if mode == "crop":
        if reach is None:
            raise UsageError("a model of global reach cannot be cropped", fix="use tiling='blend'")
        halo = math.ceil(reach / step) * step
        axes = [[(start, min(tile, length - start)) for start in range(0, length, tile)] for length in size]
    else:
        halo = 0
        overlap = math.ceil(overlap / step) * step
        if tile < 2 * overlap:
            raise UsageError(f"an overlap of {overlap} is too large for tiles of {tile}", fix="use at most half a tile")
        axes = [_blended_axis(length, tile, tile - overlap, step) for length in size]
    rows = tuple(
        tuple(_tile(Window(row, column, height, width), halo, size) for column, width in axes[1])
        for row, height in axes[0]
    )
    return TilePlan(size, mode, rows)


def _tile(core: Window, halo: int, size: tuple[int, int]) -> Tile:
    return Tile(core.grow(halo, within=size), core)


def _blended_axis(length: int, tile: int, stride: int, step: int) -> list[tuple[int, int]]:
    if length <= tile:
        return [(0, length)]
    last = math.ceil((length - tile) / step) * step
    starts = [*range(0, last, stride), last]
    return [(start, min(tile, length - start)) for start in starts]


def _end(tile: Tile) -> int:
    return tile.core.row + tile.core.height
