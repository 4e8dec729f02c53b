"""How the chunks of an array are coded, as plain values for an array's metadata; light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eorestore.errors import CodecError, UsageError

VERSION = 1


@dataclass(frozen=True)
class ChunkSettings:
    """What a chunk needs to be decoded for as long as the array lives: numbers, and no name that may change.

    mode, coder: their numbers in files. step: in dB, 0 for integers as they are. unit: of the values. bands: names of
    the polarisations that a chunk stacks, first axis first; () for one that is coded by itself. stamp: of the coder's
    model, in hexadecimal. version: of the bytes of a chunk.
    """

    mode: int
    coder: int
    step: float
    unit: str = "decibel"
    bands: tuple[str, ...] = ()
    stamp: str = ""
    version: int = VERSION

    @classmethod
    def wanted(
        cls,
        *,
        quality: float | None = None,
        max_error: float | None = None,
        lossless: bool = False,
        quicklook: bool = False,
        unit: str = "decibel",
        bands: tuple[str, ...] = (),
    ) -> ChunkSettings:
        """Settings that keep a promise; see `modes.Wish`. `lossless` of integers keeps them as they are.

        Raises UsageError and UnitError.
        """
        from eorestore.codec.chunk import settings_for
        from eorestore.codec.modes import Wish

        wish = Wish(quality=quality, max_error=max_error, lossless=lossless, quicklook=quicklook)
        return settings_for(wish, unit=unit, bands=tuple(bands))

    def to_json(self) -> dict[str, Any]:
        """Plain values for metadata."""
        return {**asdict(self), "bands": list(self.bands)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ChunkSettings:
        """Settings from metadata. Raises UsageError for unknown keys, CodecError for a newer version."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown or not {"mode", "coder", "step"} <= set(values):
            raise UsageError(
                f"the codec's configuration has keys {', '.join(sorted(values))}",
                fix=f"it takes {', '.join(cls.__dataclass_fields__)}",
            )
        settings = cls(**{**values, "bands": tuple(values.get("bands", ()))})
        if settings.version != VERSION:
            raise CodecError(
                f"the array was coded by version {settings.version}, this eorestore reads {VERSION}",
                fix="install a newer eorestore",
            )
        return settings
