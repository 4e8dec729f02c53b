"""What the raw numbers of a file mean: dtype, scale, offset and nodata, with an exact way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Encoding:
    """physical = raw * scale + offset, one pair for all bands of a file.

    Sentinel-2 DN before baseline 04.00: scale 1e-4, offset 0; from 04.00 on: scale 1e-4, offset -0.1.
    """

    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None

    @property
    def is_integer(self) -> bool:
        """Whether raw values are integers."""
        return np.issubdtype(np.dtype(self.dtype), np.integer)

    def valid(self, raw: NDArray[Any]) -> NDArray[np.bool_]:
        """(y, x) pixels of a raw (band, y, x) block that hold an observation.

        Not valid is a pixel with a value that is not finite in any band; with nodata other than 0 one that
        carries it in any band; with nodata 0 one that carries it in all bands, since a single band may
        truly be 0 (B10 over land).
        """
        valid = np.ones(raw.shape[1:], dtype=bool)
        if not self.is_integer:
            valid &= np.isfinite(raw).all(axis=0)
        if (nodata := self._marker()) is not None:
            valid &= raw.any(axis=0) if nodata == 0 else ~(raw == nodata).any(axis=0)
        return valid

    def decode(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Raw values as physical float32; values that are not finite become 0 (see `valid`)."""
        if self.is_integer and self.scale != 1.0:
            values: NDArray[np.float32] = np.multiply(raw, np.float32(self.scale), dtype=np.float32, casting="unsafe")
        else:
            values = raw.astype(np.float32)
            if not self.is_integer:
                np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            if self.scale != 1.0:
                values *= np.float32(self.scale)
        if self.offset != 0.0:
            values += np.float32(self.offset)
        return values

    def encode(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Physical values as raw ones: rounded and clipped to the dtype, never onto nodata.

        With nodata 0 an unsigned type starts at 1, so that no pixel becomes nodata; with none declared at 0.
        """
        raw = (values - np.float32(self.offset)) if self.offset != 0.0 else values
        raw = raw * np.float32(1.0 / self.scale)
        if self.is_integer:
            np.rint(raw, out=raw)
            low, high = self._range()
            np.clip(raw, low, high, out=raw)
        coded = raw.astype(self.dtype)
        nodata = self._marker()
        if nodata is not None and not (self.is_integer and (nodata < low or nodata > high)):
            coded[coded == nodata] = self._beside(nodata)
        return coded

    def _marker(self) -> float | None:
        """The nodata value as the dtype holds it; None where there is none that a comparison could find."""
        if self.nodata is None or not np.isfinite(self.nodata):
            return None
        if not self.is_integer:
            return float(np.asarray(self.nodata, dtype=self.dtype))
        limits = np.iinfo(self.dtype)
        holds = limits.min <= self.nodata <= limits.max and self.nodata == int(self.nodata)
        return int(self.nodata) if holds else None

    def _beside(self, nodata: float) -> float:
        if not self.is_integer:
            return float(np.nextafter(np.asarray(nodata, self.dtype), np.asarray(np.inf, self.dtype)))
        return nodata - 1 if nodata == np.iinfo(self.dtype).max else nodata + 1

    def _range(self) -> tuple[np.float32, np.float32]:
        """Lowest and highest raw value to write, as float32 numbers that the dtype can hold."""
        limits = np.iinfo(self.dtype)
        low, high = float(limits.min), np.float32(limits.max)
        if self.nodata is not None and self.nodata <= max(low, 0.0):
            low = max(low, self.nodata + 1.0)
        if float(high) > float(limits.max):
            high = np.nextafter(high, np.float32(0))
        return np.float32(low), high
