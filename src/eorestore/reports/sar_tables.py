"""What given qualities cost: the rates at which a codec reaches them, from the points of a record; measures nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from eorestore.errors import DataError
from eorestore.metrics.rate import rate_at_value
from eorestore.reports.table import Cell, Table

CODEC = "eorestore"
LEVELS = (
    ("psnr30", "PSNR30", 30.0, " dB"), ("psnr30", "PSNR30", 35.0, " dB"), ("ssim", "SSIM", 0.85, ""),
    ("ssim", "SSIM", 0.95, ""),
)  # fmt: skip
LOOKS = (0.8, 1.2)  # between which the ratio of equivalent numbers of looks is to stay
STORED = {"float32": 32, "int16": 16, "8 bits": 8}  # bits per pixel of plain storage
NOT_REACHED, ALWAYS = "not reached", "at every rate"

Points = Sequence[Mapping[str, Any]]


def target_table(scores: Mapping[str, Any], *, codec: str = CODEC) -> Table:
    """Bits per pixel that a quality takes, by band and in the mean, and how much smaller than plain storage that is.

    A row for each floor of PSNR30 and SSIM, and one for the rate from which on the ENL ratio stays within 0.8 and 1.2.
    Between measured points the rate is linear over its logarithm, as everywhere; nothing is extrapolated. The mean is
    that of the bands' rates, and of it the ratios to plain storage.

    Args:
        scores: of a record of benchmarks/sar_codecs.py.
        codec: whose points are taken.

    Raises:
        DataError: the record has no points of the codec, or points that were not scored.
    """
    points: Mapping[str, Points] = scores.get("lossy", {}).get("points", {}).get(codec, {})
    if not points:
        raise DataError(f"the record has no points of {codec}", fix="run benchmarks/sar_codecs.py with this codec")
    rows = [
        _row(f"{name} {level:g}{unit}", [lowest_rate(*_curve(band, key), level=level) for band in points.values()])
        for key, name, level, unit in LEVELS
    ]
    steady = [steady_rate(*_curve(band, "enl_ratio")) for band in points.values()]
    rows.append(_row(f"ENL ratio {LOOKS[0]:g} to {LOOKS[1]:g}", steady))
    columns = ("bits per pixel for", *points, "mean", *(f"times smaller than {name}" for name in STORED))
    return Table(columns, tuple(rows))


def lowest_rate(rates: Sequence[float], values: Sequence[float], *, level: float) -> float:
    """The rate at which a score reaches a level; NaN where it does not, 0 where every measured rate does.

    rates: bits per pixel, rising.
    """
    return 0.0 if values[0] >= level else rate_at_value(rates, values, target=level)


def steady_rate(rates: Sequence[float], ratios: Sequence[float]) -> float:
    """The lowest rate from which on an ENL ratio lies within `LOOKS`; NaN where it does not in the end, 0 if always.

    rates: bits per pixel, rising. Infinite ratios lie outside.
    """
    outside = [number for number, ratio in enumerate(ratios) if not LOOKS[0] <= ratio <= LOOKS[1]]
    if not outside:
        return 0.0
    last = outside[-1]
    if last + 1 == len(ratios):
        return math.nan
    if not math.isfinite(ratios[last]):
        return rates[last + 1]
    # Turned over where it falls, so that it rises into the range.
    sign, edge = (-1, LOOKS[1]) if ratios[last] > LOOKS[1] else (1, LOOKS[0])
    pair = slice(last, last + 2)
    return rate_at_value(rates[pair], [sign * ratio for ratio in ratios[pair]], target=sign * edge)


def _curve(points: Points, key: str) -> tuple[list[float], list[float]]:
    """Rates, rising, and a score; what a record could not hold was infinite."""
    ordered = sorted(points, key=lambda point: point["bpp"])
    if any(key not in point for point in ordered):
        raise DataError(f"points of the record have no {key}", fix="run benchmarks/sar_codecs.py with all scores")
    return [point["bpp"] for point in ordered], [math.inf if point[key] is None else point[key] for point in ordered]


def _row(name: str, rates: Sequence[float]) -> tuple[Cell, ...]:
    cells = [NOT_REACHED if math.isnan(rate) else f"{rate:.2f}" if rate else ALWAYS for rate in rates]
    if NOT_REACHED in cells or ALWAYS in cells:
        return (name, *cells, *(None,) * (1 + len(STORED)))
    mean = fmean(rates)
    return (name, *cells, f"{mean:.2f}", *(f"{bits / mean:.1f}" for bits in STORED.values()))
