"""Bands by name, unit and wavelength, and the band sets of the sensors; knows no file and no pixel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from eorestore.errors import BandError, UnitError


class Unit(StrEnum):
    """Physical unit of a band's values."""

    REFLECTANCE = "reflectance"
    DECIBEL = "decibel"
    POWER = "power"
    AMPLITUDE = "amplitude"
    KELVIN = "kelvin"
    COUNT = "count"
    INDEX = "index"
    CLASS = "class"
    METRE = "metre"
    LEVEL = "level"

    @classmethod
    def parse(cls, text: str) -> Unit:
        """The unit called `text`; `dB`, `K` and `linear` are understood. Raises UnitError."""
        key = _UNIT_ALIASES.get(text.strip().lower(), text.strip().lower())
        try:
            return cls(key)
        except ValueError:
            raise UnitError(
                f"unknown unit {text!r}", fix=f"use one of: {', '.join(unit.value for unit in cls)}"
            ) from None


_UNIT_ALIASES = {"db": "decibel", "k": "kelvin", "linear": "power", "intensity": "power", "m": "metre"}


@dataclass(frozen=True)
class Band:
    """One band: `name` ("B04", "VV", "thermal"), `unit`, centre `wavelength` in micrometres."""

    name: str
    unit: Unit
    wavelength: float | None = None


@dataclass(frozen=True)
class BandSet:
    """Bands in the order in which their values are stacked."""

    bands: tuple[Band, ...]

    def __post_init__(self) -> None:
        names = [band.name for band in self.bands]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BandError(f"band {', '.join(twice)} appears twice", fix="give every band its own name")

    def __len__(self) -> int:
        return len(self.bands)

    def __iter__(self) -> Iterator[Band]:
        return iter(self.bands)

    def __getitem__(self, name: str) -> Band:
        return self.bands[self.index(name)]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def names(self) -> tuple[str, ...]:
        """Band names in order."""
        return tuple(band.name for band in self.bands)

    def index(self, name: str) -> int:
        """Position of the band called `name`. Raises BandError."""
        if name not in self.names:
            raise BandError(f"no band {name} among {', '.join(self.names)}", fix="name the bands with --bands")
        return self.names.index(name)

    def select(self, names: Iterable[str]) -> BandSet:
        """The named bands, in the order asked for. Raises BandError."""
        return BandSet(tuple(self[name] for name in names))

    def with_unit(self, unit: Unit) -> BandSet:
        """The same bands in another unit."""
        return BandSet(tuple(replace(band, unit=unit) for band in self.bands))


def canonical_name(text: str) -> str:
    """Sentinel-2 and Sentinel-1 spellings brought to one form: `B2` -> `B02`, `b8a` -> `B8A`, `vv` -> `VV`."""
    plain = text.strip()
    match = re.fullmatch(r"[Bb]0*(\d{1,2})([Aa]?)", plain)
    if match:
        number, letter = match.groups()
        return f"B{number}A" if letter else f"B{int(number):02d}"
    return plain.upper() if plain.upper() in _SAR_NAMES else plain


_SAR_NAMES = ("VV", "VH", "HH", "HV")

_WAVELENGTHS = {
    "B01": 0.443, "B02": 0.490, "B03": 0.560, "B04": 0.665, "B05": 0.705, "B06": 0.740, "B07": 0.783,
    "B08": 0.842, "B8A": 0.865, "B09": 0.945, "B10": 1.375, "B11": 1.610, "B12": 2.190,
}  # fmt: skip

SENTINEL2_L1C = BandSet(tuple(Band(name, Unit.REFLECTANCE, value) for name, value in _WAVELENGTHS.items()))
SENTINEL2_L2A = BandSet(tuple(band for band in SENTINEL2_L1C if band.name != "B10"))
SENTINEL2_10M = SENTINEL2_L1C.select(("B02", "B03", "B04", "B08"))
SENTINEL2_20M = SENTINEL2_L1C.select(("B05", "B06", "B07", "B8A", "B11", "B12"))
SENTINEL1 = BandSet((Band("VV", Unit.DECIBEL), Band("VH", Unit.DECIBEL)))
RGB = BandSet((Band("red", Unit.LEVEL, 0.665), Band("green", Unit.LEVEL, 0.56), Band("blue", Unit.LEVEL, 0.49)))
THERMAL = BandSet((Band("thermal", Unit.KELVIN, 10.9),))


def known_band(name: str) -> Band | None:
    """The standard Sentinel band of that canonical name, or None."""
    for bands in (SENTINEL2_L1C, SENTINEL1):
        if name in bands:
            return bands[name]
    return Band(name, Unit.DECIBEL) if name in _SAR_NAMES else None
