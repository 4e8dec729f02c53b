"""Whole scenes of decibel as JPEG2000 codestreams, for those where the own transform is no better; knows no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.processing.normalize import WINDOW_SPAN
from eorestore.raster.files.jpeg2000 import read_codestream, write_codestream

_LEVELS = 65535.0


@dataclass(frozen=True)
class Jpeg2000Coder:
    """A `TileCoder`: the window of every band in 16 bits, all bands in one codestream.

    windows: lower ends in dB. share: bytes wanted per byte of the 16-bit values; decoding does not need it.
    """

    windows: tuple[float, ...]
    share: float = 1.0

    def encode(self, values: NDArray[Any], valid: NDArray[Any]) -> bytes:
        """The codestream; gaps are coded as the mean of their band, which costs least."""
        levels = []
        for band, seen, low in zip(values, valid, self.windows, strict=True):
            mean = band[seen].mean() if seen.any() else low
            scaled = (np.where(seen, band, mean) - low) * (_LEVELS / WINDOW_SPAN)
            levels.append(np.clip(np.rint(scaled), 0, _LEVELS).astype(np.uint16))
        return write_codestream(np.stack(levels), share=self.share)

    def decode(self, payload: bytes, valid: NDArray[Any]) -> NDArray[Any]:
        """float32 (band, y, x), 0 where not valid. Raises CodecError."""
        bands, height, width = valid.shape
        levels = read_codestream(payload, shape=(bands, height, width))
        low = np.array(self.windows, np.float32)[:, None, None]
        return np.where(valid, levels * np.float32(WINDOW_SPAN / _LEVELS) + low, np.float32(0))
