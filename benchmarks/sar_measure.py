"""How sar_codecs.py measures: bands from files, a codec at every setting, scores at a rate; prints nothing."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sar_rivals import SPAN, Band, Codec
from scipy.ndimage import distance_transform_edt

from eorestore.metrics.rate import RateCurve, bd_rate, rate_at_value, value_at_rate
from eorestore.metrics.sar import LOWS
from eorestore.metrics.sar_scores import sar_scores

MEDIANS = ("enl_ratio",)  # can be infinite on a band
HEADER_LIMIT = 600  # bytes
KEPT = ("psnr30", "ssim", "enl_ratio", "epi_cosine")  # scores that a record holds of every point


@dataclass
class Point:
    """One band, coded once. rate and net: bits per pixel per band. scores fill up as they are asked for.

    size and seconds: of bytes, encoding and decoding, the band's share where several bands are coded together.
    """

    setting: float
    size: float
    rate: float
    net: float
    seconds: tuple[float, float]
    decoded: NDArray[np.float64]
    scores: dict[str, float] = field(default_factory=dict)


Curves = dict[str, list[Point]]
"""By band, in the order of settings."""


def read_band(path: Path) -> Band:
    """A .npy of decibels, NaN where invalid; the name ends in the polarisation. Gaps take the nearest valid value."""
    values = np.load(path).astype(np.float64)
    valid = np.isfinite(values)
    nearest = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    polarisation = path.stem.rpartition("_")[2]
    if polarisation not in LOWS:
        raise SystemExit(f"{path}: the name has to end in _{', _'.join(LOWS)}")
    low = LOWS[polarisation]
    return Band(path.stem, polarisation, low, np.clip(values[tuple(nearest)], low, low + SPAN), valid)


def scenes(bands: Sequence[Band], *, joint: bool) -> list[list[Band]]:
    """Bands that go into one file: those of one name without polarisation, or every band alone."""
    if not joint:
        return [[band] for band in bands]
    groups: dict[str, list[Band]] = {}
    for band in bands:
        groups.setdefault(band.name.rpartition("_")[0], []).append(band)
    return list(groups.values())


def measure(codec: Codec, bands: Sequence[Band], *, header: bool = True) -> Curves:
    """Code every band at every setting."""
    curves: Curves = {}
    for scene in scenes(bands, joint=codec.joint):
        pixels = sum(band.values.size for band in scene)
        fixed = header_bytes(codec, scene) if header and codec.header else 0
        mask = 0 if codec.masked else sum(mask_bytes(band) for band in scene)
        for setting in codec.settings:
            started = time.perf_counter()
            data = codec.encode(scene, setting)
            between = time.perf_counter()
            decoded = codec.decode(data, scene, setting)
            ended = time.perf_counter()
            size = len(data) + mask
            for band, values in zip(scene, decoded, strict=True):
                clipped = np.clip(values, band.low, band.low + SPAN)
                net = max(size - fixed, 0)
                share = band.values.size / pixels
                seconds = (share * (between - started), share * (ended - between))
                point = Point(setting, size * share, 8 * size / pixels, 8 * net / pixels, seconds, clipped)
                curves.setdefault(band.name, []).append(point)
    return curves


def header_bytes(codec: Codec, scene: Sequence[Band]) -> int:
    """Size of a constant image of the same size: the smallest of the three lowest settings, at most 600."""
    flat = [
        Band(b.name, b.polarisation, b.low, np.full(b.values.shape, b.low + SPAN / 2), np.ones_like(b.valid))
        for b in scene
    ]
    return min(HEADER_LIMIT, *(len(codec.encode(flat, setting)) for setting in codec.settings[:3]))


def mask_bytes(band: Band) -> int:
    """What the mask of valid pixels costs a codec that has none; nothing where all are valid."""
    return 0 if band.valid.all() else len(zlib.compress(np.packbits(band.valid).tobytes(), 9))


def score(point: Point, band: Band, names: Iterable[str]) -> None:
    """Fill in what is missing of `names`."""
    missing = [name for name in names if name not in point.scores]
    decoded, original, valid = (torch.from_numpy(one)[None] for one in (point.decoded, band.values, band.valid))
    found = sar_scores(decoded, original, valid=valid, lows=[band.low], names=missing)
    point.scores |= {name: float(value) for name, value in found.items()}


def around(points: Sequence[Point], targets: Sequence[float]) -> list[Point]:
    """The measured points on both sides of every target rate, true and net."""
    kept: dict[int, Point] = {}
    for key in ("rate", "net"):
        ordered = sorted(points, key=lambda point: getattr(point, key))
        for target in targets:
            above = next((n for n, point in enumerate(ordered) if getattr(point, key) >= target), None)
            for number in () if above is None else (above - 1, above):
                if number >= 0:
                    kept[id(ordered[number])] = ordered[number]
    return list(kept.values())


def at_rate(points: Sequence[Point], name: str, target: float, *, net: bool = False) -> float:
    """A score at a rate; NaN outside of the measured rates."""
    usable = [point for point in points if name in point.scores and (point.net if net else point.rate) > 0]
    rates = [point.net if net else point.rate for point in usable]
    return value_at_rate(rates, [point.scores[name] for point in usable], target=target)


def over_bands(values: Sequence[float], name: str) -> float:
    """Mean, or median where a score can be infinite; NaN unless every band has a value."""
    if any(math.isnan(value) for value in values):
        return math.nan
    return median(values) if name in MEDIANS else fmean(values)


def means(curves: Curves, rates: Sequence[float], wanted: Sequence[str]) -> dict[str, dict[str, float]]:
    """Scores over all bands by rate; `psnr30_net` is at the rate net of fixed bytes."""
    table = {}
    for rate in rates:
        row = {key: over_bands([at_rate(points, key, rate) for points in curves.values()], key) for key in wanted}
        net = [at_rate(points, "psnr30", rate, net=True) for points in curves.values()]
        table[f"{rate:g}"] = row | {"psnr30_net": over_bands(net, "psnr30")}
    return table


def points_of(curves: Curves) -> dict[str, list[dict[str, Any]]]:
    """All measured points as plain values, from the lowest rate up."""
    return {
        band: [
            {"setting": point.setting, "bytes": round(point.size), "bpp": round(point.rate, 5),
             "net_bpp": round(point.net, 5),
             **{key: round(point.scores[key], 4) for key in KEPT if key in point.scores}}
            for point in sorted(points, key=lambda point: point.rate)
        ]
        for band, points in curves.items()
    }  # fmt: skip


def rate_difference(curves: Curves, anchor: Curves, *, net: bool) -> float:
    """Mean over bands of the rate difference to the anchor in per cent."""
    found = []
    for band, points in curves.items():
        pair = [
            RateCurve([max(p.net if net else p.rate, 1e-9) for p in one], [p.scores["psnr30"] for p in one])
            for one in (points, anchor[band])
        ]
        found.append(bd_rate(*pair))
    return over_bands(found, "bd_rate")


def reaches(point: Point, goal: Mapping[str, float]) -> bool:
    """Whether a point meets all parts of a goal; that of ENL is a distance from 1."""
    return all(
        abs(point.scores[name] - 1) <= limit if name == "enl_ratio" else point.scores[name] >= limit
        for name, limit in goal.items()
    )


def lowest(curves: Curves, goal: Mapping[str, float]) -> float:
    """Median over bands of the lowest measured rate that meets a goal; NaN unless every band meets it."""
    found = []
    for points in curves.values():
        met = [point.rate for point in points if set(goal) <= set(point.scores) and reaches(point, goal)]
        found.append(min(met, default=math.nan))
    return math.nan if any(math.isnan(rate) for rate in found) else median(found)


def first_rate(points: Sequence[Point], key: str, level: float) -> float:
    """The rate that a level of a score takes; NaN where it was not scored everywhere."""
    if any(key not in point.scores for point in points):
        return math.nan
    return rate_at_value([point.rate for point in points], [point.scores[key] for point in points], target=level)


def speed(curves: Curves, bands: Sequence[Band]) -> dict[str, float]:
    """Seconds a megapixel to encode and to decode, at the setting nearest to 1 bit per pixel."""
    nearest = [min(points, key=lambda point: abs(math.log2(point.rate))) for points in curves.values()]
    megapixels = sum(band.values.size for band in bands) / 1e6
    return {
        key: sum(point.seconds[number] for point in nearest) / megapixels
        for number, key in enumerate(("encode", "decode"))
    }
