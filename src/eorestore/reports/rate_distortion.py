"""Scores over bits per pixel: codecs as lines, models as lines or points, a panel a band or score; measures nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eorestore.metrics.rate import value_at_rate
from eorestore.reports.drawing import Drawing, colours, dress, encode, marker, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATES = tuple(0.05 * 2 ** (step / 4) for step in range(28))  # 0.05 to 5.4 bits per pixel
SHOWN = (0.08, 4.5)  # bits per pixel: where the rates lie that codecs are chosen for
_TICKS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16)
_FEW_TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)
_COLUMNS = 3


@dataclass(frozen=True)
class RateSeries:
    """What one codec or model does. points: (bits per pixel per band, score). line: whether points are joined.

    A codec with a setting for quality is a line; a model of one rate is a point. dashed: for what others are set
    against.
    """

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = True
    dashed: bool = False


def series_by_band(scores: Mapping[str, Any], *, score: str = "psnr30") -> dict[str, list[RateSeries]]:
    """The measured points of every codec by band.

    Args:
        scores: of a record of benchmarks/sar_codecs.py: `lossy`, `points`, codec, band, a list of points.
        score: of the points; those without it are left out.
    """
    found: dict[str, list[RateSeries]] = {}
    for codec, bands in scores["lossy"]["points"].items():
        for band, points in bands.items():
            kept = [(float(point["bpp"]), float(point[score])) for point in points if point.get(score) is not None]
            found.setdefault(band, []).append(RateSeries(codec, sorted(kept)))
    return found


def mean_series(bands: Mapping[str, Sequence[RateSeries]], *, rates: Sequence[float] = RATES) -> list[RateSeries]:
    """One series a codec: the mean over bands at the rates that were measured around on every band.

    Points of models are averaged in rate and in score, since each of them has one rate a band.
    """
    by_name: dict[str, list[RateSeries]] = {}
    for found in bands.values():
        for series in found:
            by_name.setdefault(series.name, []).append(series)
    return [
        _mean_curve(series, rates) if series[0].line else _mean_points(series)
        for series in by_name.values()
        if len(series) == len(bands)
    ]


def rate_distortion(
    series: Sequence[RateSeries], *, score: str = "PSNR30, dB", shown: tuple[float, float] = SHOWN
) -> Drawing:
    """The score over bits per pixel on a logarithmic axis, a colour and a shape a series.

    shown: lowest and highest rate of the axis; points beyond it are left out, so that high scores at high rates do
        not squeeze the rest.
    """
    figure = new_figure(0.6 + max(3.6, 0.2 * len(series)))
    axes = figure.subplots()
    _draw(axes, series, _looks(series), shown=shown)
    _rate_axis(axes, shown, _TICKS)
    axes.set_ylabel(score)
    axes.set_xlabel("bits per pixel per band")
    dress(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return encode(figure)


def rate_distortion_by_band(
    bands: Mapping[str, Sequence[RateSeries]], *, score: str = "PSNR30, dB", shown: tuple[float, float] = SHOWN
) -> Drawing:
    """`rate_distortion` with a panel a band; a series looks the same in all of them."""
    panels = {band: (score, series) for band, series in bands.items()}
    return encode(_panels(panels, columns=_COLUMNS, height=2.3, ticks=_FEW_TICKS, shown=shown))


def rate_distortion_by_score(
    scores: Mapping[str, Sequence[RateSeries]], *, shown: tuple[float, float] = SHOWN
) -> Figure:
    """A panel a score, by the words of its axis; a series looks the same in all of them."""
    panels = {label: (label, series) for label, series in scores.items()}
    return _panels(panels, columns=2, height=3.0, ticks=_TICKS, shown=shown)


def _panels(
    panels: Mapping[str, tuple[str, Sequence[RateSeries]]],
    *,
    columns: int,
    height: float,
    ticks: Sequence[float],
    shown: tuple[float, float],
) -> Figure:
    """Panels of (axis, series) by title; a title that is the axis stands there alone."""
    looks = _looks([one for _, series in panels.values() for one in series])
    columns = min(columns, max(len(panels), 1))
    rows = -(-len(panels) // columns)
    figure = new_figure(height * rows + 0.3 + 0.17 * -(-len(looks) // 4))
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    handles: dict[str, Any] = {}
    for axes, (title, (label, series)) in zip(places[: len(panels)], panels.items(), strict=True):
        handles |= _draw(axes, series, looks, shown=shown)
        _rate_axis(axes, shown, ticks)
        axes.set_title("" if title == label else title)
        axes.set_xlabel("bits per pixel per band")
        axes.set_ylabel(label)
        dress(axes)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _looks(series: Sequence[RateSeries]) -> dict[str, tuple[str, str]]:
    """Colour and shape by name."""
    names = list(dict.fromkeys(one.name for one in series))
    pairs = zip(names, colours(len(names)), strict=True)
    return {name: (colour, marker(number)) for number, (name, colour) in enumerate(pairs)}


def _draw(
    axes: Axes, series: Sequence[RateSeries], looks: Mapping[str, tuple[str, str]], *, shown: tuple[float, float]
) -> dict[str, Any]:
    """Draw and name; returns what stands for each name in a legend."""
    handles = {}
    for one in series:
        points = [(rate, value) for rate, value in one.points if shown[0] <= rate <= shown[1] and math.isfinite(value)]
        colour, shape = looks[one.name]
        handles[one.name] = axes.plot(
            [rate for rate, _ in points],
            [value for _, value in points],
            linestyle=("--" if one.dashed else "-") if one.line else "none",
            marker=shape,
            markersize=3.5 if one.line else 8,
            markeredgecolor="white",
            markeredgewidth=0.4 if one.line else 0.8,
            color=colour,
            linewidth=1.3,
            zorder=2 if one.line else 3,
            label=one.name,
        )[0]
    return handles


def _rate_axis(axes: Axes, shown: tuple[float, float], ticks: Sequence[float]) -> None:
    """Plain numbers on a logarithmic axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(*shown)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if shown[0] <= tick <= shown[1]]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _mean_curve(series: Sequence[RateSeries], rates: Sequence[float]) -> RateSeries:
    curves = [([rate for rate, _ in one.points], [value for _, value in one.points]) for one in series]
    points = []
    for rate in rates:
        values = [value_at_rate(*curve, target=rate) for curve in curves]
        if all(math.isfinite(value) for value in values):
            points.append((rate, sum(values) / len(values)))
    return replace(series[0], points=points)


def _mean_points(series: Sequence[RateSeries]) -> RateSeries:
    groups = zip(*(one.points for one in series), strict=True)
    means = [tuple(sum(parts) / len(group) for parts in zip(*group, strict=True)) for group in groups]
    return RateSeries(series[0].name, [(mean[0], mean[1]) for mean in means], line=False)
