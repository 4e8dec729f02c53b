"""Bits and what they buy: bits per pixel, values at a given rate, Bjontegaard's rate difference; knows no codec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError

HIGHEST_PSNR = 45.0  # decibels; above it codecs differ by how they store rounding
RATES = (0.05, 6.0)  # bits per pixel per band of the points that count in a rate difference


@dataclass(frozen=True)
class RateCurve:
    """Points of one codec on one band. rates: bits per pixel per band. psnr: decibels, of the same length."""

    rates: Sequence[float]
    psnr: Sequence[float]


def bits_per_pixel(size_bytes: int, *, height: int, width: int, bands: int = 1) -> float:
    """Bits per pixel per band: 8 * bytes / (height * width * bands); lower is better.

    size_bytes: of the whole file, side information and masks included.
    """
    return 8 * size_bytes / (height * width * bands)


def value_at_rate(rates: Sequence[float], values: Sequence[float], *, target: float) -> float:
    """A metric at `target` bits per pixel: linear over log2(rate) between the measured points around it.

    NaN outside of the measured rates: nothing is extrapolated. Of points of equal rate the last counts. Infinite where
    a point around the target is.

    Raises:
        DataError: `rates` and `values` differ in length, or a rate is not above zero.
    """
    places, heights = _curve(rates, values)
    if not places.size or not places[0] <= math.log2(target) <= places[-1]:
        return math.nan
    above = int(np.searchsorted(places, math.log2(target)))
    if places[above] == math.log2(target):
        return float(heights[above])
    low, high = float(heights[above - 1]), float(heights[above])
    share = (math.log2(target) - places[above - 1]) / (places[above] - places[above - 1])
    return float(low * (1 - share) + high * share)


def rate_at_value(rates: Sequence[float], values: Sequence[float], *, target: float) -> float:
    """The lowest rate from which on a rising metric is at least `target`; NaN where it is not reached or always is.

    Between two points linear over log2(rate), as in `value_at_rate`. Errors as there.
    """
    places, heights = _curve(rates, values)
    reached = np.nonzero(heights >= target)[0]
    if not reached.size or reached[0] == 0:
        return math.nan
    above = int(reached[0])
    share = (target - heights[above - 1]) / (heights[above] - heights[above - 1])
    return float(2 ** (places[above - 1] + share * (places[above] - places[above - 1])))


def bd_rate(curve: RateCurve, anchor: RateCurve) -> float:
    """How many per cent more bytes a codec takes than the anchor at equal PSNR; below 0 its files are smaller.

        100 (2^d - 1), d = mean over the shared range of PSNR of log2 rate(curve) - log2 rate(anchor)

    After Bjontegaard (2001), with straight lines between points in place of his cubic, which overshoots. Only points
    of 0.05 to 6 bits per pixel count, and PSNR up to 45 dB. Points that cost more and give less than another are
    left out. NaN where no range is shared. A mean over bands is the mean of their per cents.
    """
    one, other = (_rising(item) for item in (curve, anchor))
    if one[0].size < 2 or other[0].size < 2:
        return math.nan
    low = max(float(one[0][0]), float(other[0][0]))
    high = min(float(one[0][-1]), float(other[0][-1]), HIGHEST_PSNR)
    if not low < high:
        return math.nan
    inside = [knots[(knots > low) & (knots < high)] for knots, _ in (one, other)]
    knots = np.unique(np.concatenate([[low, high], *inside]))
    difference = np.interp(knots, *one) - np.interp(knots, *other)
    area = float((np.diff(knots) * (difference[1:] + difference[:-1]) / 2).sum())
    return 100 * (math.exp2(area / (high - low)) - 1)


def _curve(rates: Sequence[float], values: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log2 of the rates in rising order, and the values; of equal rates the last one."""
    if len(rates) != len(values):
        raise DataError(
            f"{len(rates)} rates and {len(values)} values make no curve", fix="give one value for each rate"
        )
    if any(not rate > 0 for rate in rates):
        raise DataError("a rate is not above zero", fix="leave points without bytes out")
    points = dict(zip(rates, values, strict=True))
    places = sorted(points)
    return np.log2(np.array(places, dtype=np.float64)), np.array([points[place] for place in places], dtype=np.float64)


def _rising(curve: RateCurve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """PSNR, strictly rising, and log2 of the rate at each, in the range of rates that counts."""
    places, heights = _curve(curve.rates, curve.psnr)
    kept: list[int] = []
    for index in np.nonzero((2**places >= RATES[0]) & (2**places <= RATES[1]) & np.isfinite(heights))[0]:
        if not kept or heights[index] > heights[kept[-1]]:
            kept.append(int(index))
    return heights[kept], places[kept]
