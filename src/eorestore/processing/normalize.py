"""Clip and scale per band with an exact inverse; the normalisations of the field are instances of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import UnknownNameError
from eorestore.raster import SENTINEL2_L1C, BandSet, Unit


@dataclass(frozen=True)
class BandScale:
    """One band: physical values are clipped to [low, high] and mapped linearly to [0, top].

    fill: encoded value used where the scene lacks the band; None makes the band obligatory. clip: False lets
    values outside [low, high] pass, which the baselines want.
    """

    name: str
    unit: Unit
    low: float
    high: float
    top: float = 1.0
    fill: float | None = None
    clip: bool = True


@dataclass(frozen=True)
class BandScaling:
    """The scaling of every band of one input or output, in the order in which a network sees them."""

    bands: tuple[BandScale, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Band names in order."""
        return tuple(band.name for band in self.bands)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the bands that a scene must have."""
        return tuple(band.name for band in self.bands if band.fill is None)

    @property
    def unit(self) -> Unit:
        """The unit that all bands share."""
        return self.bands[0].unit

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Physical (band, y, x) -> clipped and scaled; may share memory with the input where nothing changes."""
        low, high, gain = self._columns()
        clipped = np.array([band.clip for band in self.bands])
        if clipped.all():
            encoded = np.clip(values, low, high)
        elif clipped.any():
            encoded = values.copy()
            encoded[clipped] = np.clip(values[clipped], low[clipped], high[clipped])
        else:
            encoded = values
        if low.any():
            encoded = encoded - low
        if (gain != 1).any():
            encoded = encoded * gain
        return encoded

    def decode(self, encoded: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of `encode`; values outside [0, top] are kept. May share memory with its input."""
        low, _, gain = self._columns()
        values = encoded / gain if (gain != 1).any() else encoded
        if low.any():
            values = values + low
        return values

    def clipped_share(self, values: NDArray[np.float32], *, valid: NDArray[np.bool_]) -> float:
        """Share of the valid pixels of (band, y, x) that `encode` moves to an end of the range; 0 without any."""
        low, high, _ = self._columns()
        outside = ((values < low) | (values > high)) & valid
        return float(outside.sum() / max(1, int(valid.sum()) * len(self.bands)))

    def select(self, names: Sequence[str]) -> BandScaling:
        """The named bands in the order asked for."""
        return BandScaling(tuple(next(band for band in self.bands if band.name == name) for name in names))

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values for `config.json`."""
        return [asdict(band) | {"unit": str(band.unit)} for band in self.bands]

    @classmethod
    def from_json(cls, rows: Sequence[dict[str, Any]]) -> BandScaling:
        """The inverse of `to_json`."""
        return cls(tuple(BandScale(**(row | {"unit": Unit.parse(row["unit"])})) for row in rows))

    def _columns(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        low, high, top = np.array([(band.low, band.high, band.top) for band in self.bands], dtype=np.float32).T.reshape(
            3, -1, 1, 1
        )
        return low, high, (top / (high - low)).astype(np.float32)


def reflectance_scaling(bands: BandSet = SENTINEL2_L1C, *, top: float = 1.0) -> BandScaling:
    """Reflectance clipped to [0, 1] and mapped to [0, top]."""
    return BandScaling(tuple(BandScale(band.name, Unit.REFLECTANCE, 0.0, 1.0, top) for band in bands))


def backscatter_scaling(*, vv: float = -25.0, vh: float = -32.5, top: float = 1.0) -> BandScaling:
    """VV clipped to [vv, 0] dB and VH to [vh, 0] dB, mapped to [0, top]."""
    decibel = Unit.DECIBEL
    return BandScaling((BandScale("VV", decibel, vv, 0.0, top), BandScale("VH", decibel, vh, 0.0, top)))


WINDOW_SPAN = 40.0  # decibels
WINDOW_LOWS: Mapping[str, float] = {"VV": -30.0, "HH": -30.0, "VH": -38.0, "HV": -38.0}


def window_scaling(*polarisations: str) -> BandScaling:
    """The fixed window of a SAR codec: VV and HH [-30, 10] dB, VH and HV [-38, 2] dB, mapped to [0, 1].

    What lies outside is clipped, and a codec that promises a bound codes it apart. Raises UnknownNameError.
    """
    for name in polarisations:
        if name not in WINDOW_LOWS:
            raise UnknownNameError("polarisation", name, WINDOW_LOWS)
    return BandScaling(
        tuple(
            BandScale(name, Unit.DECIBEL, WINDOW_LOWS[name], WINDOW_LOWS[name] + WINDOW_SPAN) for name in polarisations
        )
    )
