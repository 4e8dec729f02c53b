"""Rasters as 8-bit RGB pictures: band composites, stretches, colour maps; knows no file and no page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import BandError, GridError
from eorestore.processing.units import convert
from eorestore.raster import Raster, Unit
from eorestore.reports.png import write_png

__all__ = [
    "NEUTRAL", "Stretch", "average_blocks", "block_for", "class_picture", "colour_map", "error_key",
    "error_picture", "mean_absolute_error", "picture", "preview", "shrink", "write_png",
]  # fmt: skip

NEUTRAL = 128  # invalid pixels: neither dark nor bright, and without a hue

_COMPOSITES = (("B04", "B03", "B02"), ("red", "green", "blue"))
_SAR_PAIRS = (("VV", "VH"), ("HH", "HV"))

# Dark to bright with even steps in lightness, after the inferno map of Smith and van der Walt (CC0).
_HEAT = np.array(
    [
        (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10),
        (249, 201, 50), (252, 255, 164),
    ],
    dtype=np.float32,
)  # fmt: skip


@dataclass(frozen=True)
class Stretch:
    """Per channel the value that becomes black and the one that becomes white, in the raster's unit."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(
        cls,
        raster: Raster,
        *,
        bands: Sequence[str] | None = None,
        percentiles: tuple[float, float] = (2.0, 98.0),
    ) -> Stretch:
        """Percentiles over the valid pixels of the picture's channels; reuse it to compare rasters.

        Raises BandError. Without a valid pixel it is 0 to 1.
        """
        channels = _channels(raster, bands)
        if not raster.valid.any():
            return cls((0.0,) * len(channels), (1.0,) * len(channels))
        low, high = np.percentile(channels[:, raster.valid], percentiles, axis=1)
        # A constant channel has no range; any width keeps the division finite.
        high = np.where(high > low, high, low + 1.0)
        return cls(tuple(map(float, low)), tuple(map(float, high)))


def picture(raster: Raster, *, bands: Sequence[str] | None = None, stretch: Stretch | None = None) -> NDArray[np.uint8]:
    """The raster as uint8 RGB (y, x, 3), invalid pixels grey. Raises BandError.

    bands: one band (colour map) or three (red, green, blue). Without it: true colour where there are B04, B03
        and B02; VV, VH and VV - VH in decibel for radar; else the first band through the colour map.
    stretch: that of another raster, so that both compare; without it the raster's own 2 to 98 percent.
    """
    channels = _channels(raster, bands)
    stretch = stretch or Stretch.of(raster, bands=bands)
    if len(stretch.low) != len(channels):
        raise BandError(
            f"a stretch of {len(stretch.low)} channels was given for a picture of {len(channels)}",
            fix="take the stretch from a raster of the same kind",
        )
    low = np.array(stretch.low, dtype=np.float32)[:, None, None]
    high = np.array(stretch.high, dtype=np.float32)[:, None, None]
    scaled = np.where(raster.valid, (channels - low) / (high - low), 0.0)
    if len(channels) == 1:
        return colour_map(np.where(raster.valid, scaled[0], np.nan))
    rgb = np.clip(scaled * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    rgb[:, ~raster.valid] = NEUTRAL
    return np.ascontiguousarray(np.moveaxis(rgb, 0, -1))


def preview(raster: Raster, *, longest: int = 1024) -> NDArray[np.uint8]:
    """A picture of at most `longest` pixels a side, averaged over whole blocks."""
    return picture(shrink(raster, longest=longest))


def shrink(raster: Raster, *, longest: int) -> Raster:
    """The raster averaged over square blocks until no side is longer than `longest`; see `average_blocks`."""
    return average_blocks(raster, block_for(raster.grid.size, longest=longest))


def block_for(size: tuple[int, int], *, longest: int) -> int:
    """Side of the smallest blocks that bring (height, width) down to `longest`, in pixels."""
    return math.ceil(max(size) / longest)


def average_blocks(raster: Raster, block: int) -> Raster:
    """Means over the valid pixels of square blocks; blocks at the lower and right edge may stand over it.

    Radar in decibel is averaged as power.
    """
    if block <= 1:
        return raster
    height, width = raster.grid.size
    decibel = all(band.unit is Unit.DECIBEL for band in raster.bands)
    source = convert(raster, Unit.POWER) if decibel else raster
    count = _block_sums(raster.valid.astype(np.float32), block)
    sums = _block_sums(np.where(raster.valid, source.values, np.float32(0)), block)
    rows, columns = count.shape
    grid = raster.grid.pad(0, rows * block - height, 0, columns * block - width).resize(rows, columns)
    means = (sums / np.maximum(count, 1.0)).astype(np.float32)
    small = Raster(means, count > 0, source.bands, grid)
    return convert(small, Unit.DECIBEL) if decibel else small


def colour_map(values: NDArray[np.floating], *, low: float = 0.0, high: float = 1.0) -> NDArray[np.uint8]:
    """Values (y, x) as RGB (y, x, 3), dark at `low` to bright at `high`; grey where they are not finite."""
    finite = np.isfinite(values)
    position = np.clip((np.where(finite, values, low) - low) / (high - low), 0.0, 1.0) * (len(_HEAT) - 1)
    rgb = np.stack([np.interp(position, np.arange(len(_HEAT)), _HEAT[:, channel]) for channel in range(3)], axis=-1)
    rgb[~finite] = NEUTRAL
    return np.rint(rgb).astype(np.uint8)


def class_picture(classes: NDArray[np.integer], colours: Mapping[int, str]) -> NDArray[np.uint8]:
    """Integer classes (y, x) as RGB (y, x, 3), each in its "#rrggbb"; a class without a colour is grey."""
    rgb = np.full((*classes.shape, 3), NEUTRAL, dtype=np.uint8)
    for value, colour in colours.items():
        rgb[classes == value] = tuple(bytes.fromhex(colour.removeprefix("#")))
    return rgb


def mean_absolute_error(restored: Raster, reference: Raster) -> NDArray[np.float32]:
    """|restored - reference| (y, x), mean over the bands that both have; NaN where either is not valid.

    In the rasters' unit, 0 at best. Raises GridError where sizes differ, BandError without a common band.
    """
    if restored.grid.size != reference.grid.size:
        raise GridError(
            f"restored has {restored.grid.size} pixels, reference {reference.grid.size}",
            fix="give a reference on the grid of the restored scene",
        )
    common = [name for name in restored.bands.names if name in reference.bands]
    if not common:
        raise BandError(
            f"no band of {', '.join(restored.bands.names)} is among {', '.join(reference.bands.names)}",
            fix="give a reference with the same bands",
        )
    error = np.abs(restored.select(common).values - reference.select(common).values).mean(axis=0)
    return np.where(restored.valid & reference.valid, error, np.float32(np.nan)).astype(np.float32)


def error_picture(error: NDArray[np.float32], *, limit: float | None = None) -> tuple[NDArray[np.uint8], float]:
    """An error map (y, x) as RGB, and the error drawn brightest: `limit`, or about the 99th percentile."""
    finite = error[np.isfinite(error)]
    if limit is None:
        limit = float(f"{np.percentile(finite, 99):.1g}") if finite.size else 0.0
    limit = limit if limit > 0 else 1.0
    return colour_map(error, high=limit), limit


def error_key(limit: float, *, steps: int = 4) -> tuple[tuple[str, str], ...]:
    """(colour, value) pairs that explain an error picture drawn up to `limit`."""
    values = np.linspace(0.0, limit, steps + 1)
    colours = colour_map(values[None], high=limit)[0]
    texts = [f"{value:.3g}" for value in values]
    texts[-1] += " and more"
    return tuple((f"#{bytes(colour).hex()}", text) for colour, text in zip(colours, texts, strict=True))


def _channels(raster: Raster, bands: Sequence[str] | None) -> NDArray[np.float32]:
    """Physical values (channel, y, x) with one or three channels."""
    if bands is None:
        for names in _SAR_PAIRS:
            if all(name in raster.bands for name in names):
                return _radar_composite(raster.select(names))
        bands = next(
            (names for names in _COMPOSITES if all(name in raster.bands for name in names)),
            raster.bands.names[:1],
        )
    if len(bands) not in (1, 3):
        raise BandError(
            f"{len(bands)} bands make no picture: {', '.join(bands)}",
            fix="name one band, or three as red,green,blue",
        )
    return raster.select(bands).values


def _radar_composite(pair: Raster) -> NDArray[np.float32]:
    if any(band.unit is not Unit.DECIBEL for band in pair.bands):
        pair = convert(replace(pair, values=np.where(pair.valid, pair.values, np.float32(0))), Unit.DECIBEL)
    like, cross = pair.values
    return np.stack([like, cross, like - cross])


def _block_sums(values: NDArray[np.float32], block: int) -> NDArray[np.float64]:
    rows, columns = (np.arange(0, side, block) for side in values.shape[-2:])
    down = np.add.reduceat(values, rows, axis=-2, dtype=np.float64)
    return np.add.reduceat(down, columns, axis=-1, dtype=np.float64)
