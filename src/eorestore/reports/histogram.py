"""Histograms of several rasters over shared bins, drawn as inline SVG; knows no file."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eorestore.raster import Raster

_WIDTH, _HEIGHT, _BASE, _TOP = 320, 150, 122, 8


@dataclass(frozen=True)
class Histogram:
    """Shares of pixels in bins.

    title: what is counted ("B04"). unit: of the horizontal axis. edges: (bin + 1,), rising.
    shares: name of a raster -> (bin,), the part of its valid pixels in each bin, 0 to 1.
    """

    title: str
    unit: str
    edges: NDArray[np.float64]
    shares: Mapping[str, NDArray[np.float64]]


def histogram_of(band: str, rasters: Mapping[str, Raster], *, bins: int = 96) -> Histogram:
    """One band of several rasters, from the 0.2 to the 99.8 percent of all their valid pixels.

    Pixels beyond the ends are counted in the end bins. Raises BandError.
    """
    samples = {name: raster.select((band,)).values[0, raster.valid] for name, raster in rasters.items()}
    filled = [sample for sample in samples.values() if sample.size]
    low, high = (0.0, 1.0)
    if filled:
        # Each raster counts alike, so that a small one is not cut off by a large one.
        low = min(float(np.percentile(sample, 0.2)) for sample in filled)
        high = max(float(np.percentile(sample, 99.8)) for sample in filled)
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    shares = {
        name: np.histogram(np.clip(sample, edges[0], edges[-1]), edges)[0] / max(sample.size, 1)
        for name, sample in samples.items()
    }
    unit = next((raster.bands[band].unit.value for raster in rasters.values()), "")
    return Histogram(band, unit, edges, shares)


def to_svg(histogram: Histogram) -> str:
    """The histogram as an SVG element; its colours come from the page's classes `series-0`, `series-1`, ..."""
    low, high = float(histogram.edges[0]), float(histogram.edges[-1])
    # The root keeps broad classes visible beside the narrow peak that saturated clouds make.
    tallest = max((math.sqrt(float(share.max())) for share in histogram.shares.values()), default=0.0) or 1.0
    lines = [
        f'<path class="series series-{number}" d="{_outline(share, tallest)}"><title>{html.escape(name)}</title></path>'
        for number, (name, share) in enumerate(histogram.shares.items())
    ]
    ticks = "".join(
        f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{_BASE}" y2="{_BASE + 4}"/>'
        f'<text class="tick-label" x="{x:.1f}" y="{_BASE + 17}" text-anchor="middle">{value:g}</text>'
        for value, x in ((value, (value - low) / (high - low) * _WIDTH) for value in round_ticks(low, high))
    )
    label = html.escape(f"Histogram of {histogram.title}, {histogram.unit}: {', '.join(histogram.shares)}")
    return (
        f'<svg class="histogram" viewBox="-10 0 {_WIDTH + 20} {_HEIGHT}" role="img" aria-label="{label}">'
        f'{"".join(lines)}<line class="axis" x1="0" x2="{_WIDTH}" y1="{_BASE}" y2="{_BASE}"/>{ticks}</svg>'
    )


def round_ticks(low: float, high: float, *, about: int = 4) -> list[float]:
    """Around `about` round numbers between `low` and `high`: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    # A rounded product keeps 0.30000000000000004 out of the labels.
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _outline(share: NDArray[np.float64], tallest: float) -> str:
    """A closed step line over the bins, in drawing units."""
    width = _WIDTH / len(share)
    heights = _BASE - np.sqrt(share) / tallest * (_BASE - _TOP)
    steps = "".join(f"V{y:.1f}H{(number + 1) * width:.1f}" for number, y in enumerate(heights))
    return f"M0,{_BASE}{steps}V{_BASE}Z"
