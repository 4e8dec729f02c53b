"""Restored rows beside observed ones: held until their context is there, then composed; knows no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eorestore.raster import Window
from eorestore.raster.encoding import Encoding
from eorestore.restorer.maps import MapStack
from eorestore.restorer.rows import Rows
from eorestore.tiling.compositing import compose


@dataclass(frozen=True)
class Strip:
    """What the reader fetched for one row of tiles: full-width rows from `window.row`, raw by keyword.

    mask: what is to be restored. unclear: that and what beside it does not count as clear.
    """

    window: Window
    raw: Mapping[str, NDArray[Any]]
    valid: NDArray[np.bool_]
    mask: NDArray[np.bool_] | None
    unclear: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Seam:
    """How rows are composed.

    height: of the scene. margin: rows of context on either side. encoding: of the raw values. bands: rows of the raw
    image that are restored, in the order of the restored bands. encoded: restored rows are raw already.
    """

    height: int
    margin: int
    encoding: Encoding
    bands: tuple[int, ...]
    encoded: bool
    maps: MapStack

    def compose(self, held: _Held, inside: slice, first: int) -> Rows:
        """Rows `inside` of what is held, which begin at scene row `first`."""
        raw, restored = held.raw, held.restored
        partial = len(self.bands) < len(raw)
        result, source = compose(
            raw[list(self.bands)] if partial else raw,
            restored[: len(self.bands)],
            valid=held.valid,
            mask=held.mask,
            unclear=held.unclear,
            encoding=self.encoding,
            rows=inside,
            encoded=self.encoded,
        )
        if partial:
            whole = raw[:, inside].copy()
            whole[list(self.bands)] = result
            result = whole
        maps = restored[len(self.bands) :, inside] if self.maps.bands else np.empty((0, *source.shape), np.float32)
        return Rows(first, result, source, self.maps.settle(maps, source) if self.maps.bands else maps)


class _Held(NamedTuple):
    raw: NDArray[Any]
    restored: NDArray[Any]
    valid: NDArray[np.bool_]
    mask: NDArray[np.bool_] | None
    unclear: NDArray[np.bool_] | None


class SeamRows:
    """Takes restored rows as the mosaic finishes them and gives composed ones, `begin` being the first."""

    def __init__(self, seam: Seam, *, begin: int) -> None:
        self.seam, self.done = seam, begin
        self.parts: list[_Held] = []
        self.top = 0

    def push(self, top: int, restored: NDArray[Any], *, raw: NDArray[Any], strip: Strip) -> Iterator[Rows]:
        """Restored rows (image and maps) from scene row `top` on; raw: the strip's observed image."""
        seam = self.seam
        end = top + restored.shape[1]
        rows = slice(top - strip.window.row, end - strip.window.row)
        if not self.parts:
            self.top = top
        mask, unclear = (None if one is None else one[rows] for one in (strip.mask, strip.unclear))
        self.parts.append(_Held(raw[:, rows], restored, strip.valid[rows], mask, unclear))
        limit = end if end == seam.height else end - seam.margin
        if limit <= self.done:
            return
        held = self._joined()
        yield seam.compose(held, slice(self.done - self.top, limit - self.top), self.done)
        self.done = limit
        keep = max(limit - seam.margin - self.top, 0)
        mask, unclear = (None if one is None else one[keep:] for one in (held.mask, held.unclear))
        left = _Held(held.raw[:, keep:].copy(), held.restored[:, keep:].copy(), held.valid[keep:], mask, unclear)
        self.parts = [left] if left.valid.shape[0] else []
        self.top += keep

    def _joined(self) -> _Held:
        if len(self.parts) == 1:
            return self.parts[0]
        raws, restoreds, valids, *masks = zip(*self.parts, strict=True)
        mask, unclear = (None if ones[0] is None else np.concatenate(ones) for ones in masks)
        raw, restored = (np.concatenate(parts, axis=1) for parts in (raws, restoreds))
        return _Held(raw, restored, np.concatenate(valids), mask, unclear)
