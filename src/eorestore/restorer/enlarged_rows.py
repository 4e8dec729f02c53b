"""Enlarged rows on their way to a file: nodata kept, in pieces of bounded height."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.raster.encoding import Encoding
from eorestore.restorer.maps import MapStack
from eorestore.restorer.rows import Rows
from eorestore.restorer.seam import Strip
from eorestore.tiling.compositing import Source

_PIECE = 256  # rows of output that are handed on at a time


@dataclass(frozen=True)
class EnlargedRows:
    """Takes restored rows as the mosaic finishes them and gives complete ones, `begin` being the first.

    scale: output pixels per input pixel along an axis. bands: of the image. encoded: its rows are raw already.
    begin: in rows of the output.
    """

    scale: int
    encoding: Encoding
    bands: int
    encoded: bool
    maps: MapStack
    begin: int

    def push(self, top: int, restored: NDArray[Any], *, raw: NDArray[Any], strip: Strip) -> Iterator[Rows]:
        """Restored rows (image and maps) from input row `top` on; raw: the strip's observed image."""
        begin = max(self.begin - top * self.scale, 0)
        for first in range(begin, restored.shape[1], _PIECE):
            last = min(first + _PIECE, restored.shape[1])
            seen = np.arange(first, last) // self.scale + top - strip.window.row
            yield self._rows(top * self.scale + first, restored[:, first:last], raw=raw, valid=strip.valid, seen=seen)

    def _rows(
        self,
        first: int,
        restored: NDArray[Any],
        *,
        raw: NDArray[Any],
        valid: NDArray[np.bool_],
        seen: NDArray[np.int64],
    ) -> Rows:
        """seen: the row of raw and valid that each output row lies in."""
        image = restored[: self.bands]
        coded = image if self.encoded else self.encoding.encode(image)
        holds = np.repeat(valid[seen], self.scale, axis=1)
        if not holds.all():
            coded = np.where(holds, coded, np.repeat(raw[:, seen], self.scale, axis=2))
        source = np.where(holds, np.uint8(Source.RESTORED), np.uint8(Source.NODATA))
        maps = restored[self.bands :] if self.maps.bands else np.empty((0, *source.shape), np.float32)
        return Rows(first, coded, source, self.maps.settle(maps, source) if self.maps.bands else maps)
