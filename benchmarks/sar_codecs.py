"""Codecs side by side on radar bands: bytes against error, SSIM, looks, bias and edges; bounded and lossless coding.

Every band is clipped to its window of 40 dB, coded at every setting of a codec (sar_rivals.py) and decoded again. Rate
is 8 * bytes of the whole file / pixels, per band; beside it net of the bytes of a constant image. Scores at a rate
are interpolated over log2(rate) between measured points, never beyond them; means need all bands.

    python benchmarks/sar_codecs.py --root ../shared/data/sar
    python benchmarks/sar_codecs.py --root ../shared/data/sar --codecs jpeg2000-16bit jpegxl-8bit --scores psnr30
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import sar_rivals
import torch
from sar_measure import (
    Curves,
    around,
    at_rate,
    first_rate,
    lowest,
    means,
    measure,
    over_bands,
    points_of,
    rate_difference,
    read_band,
    score,
    speed,
)
from sar_ours import BOUNDED_OURS, LOSSLESS_OURS, LOSSY_OURS
from sar_rivals import Band, Codec

from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.experiments.score_text import plain
from eorestore.metrics.sar_scores import FIDELITY, SCORES

ANCHOR = "jpeg2000-16bit"
RATES = (0.25, 0.5, 1.0, 2.0)  # bits per pixel per band
EXTRA = ("psnr30", "bias_block_rms_db")  # scores beside a bound
GOOD = {"psnr30": 30.0, "ssim": 0.85, "enl_ratio": 0.2, "epi_cosine": 0.85}
EXCELLENT = {"psnr30": 35.0, "ssim": 0.95, "enl_ratio": 0.1, "epi_cosine": 0.95}
GOALS: Mapping[str, Mapping[str, float]] = {"good": GOOD, "excellent": EXCELLENT}
"""Floors; that of ENL is the largest distance of the ratio from 1."""

LEVELS = (("psnr30", 30.0), ("psnr30", 35.0), ("ssim", 0.85), ("ssim", 0.95))

LOSSY = LOSSY_OURS | dict(sar_rivals.LOSSY)
BOUNDED = BOUNDED_OURS | dict(sar_rivals.BOUNDED)
LOSSLESS = LOSSLESS_OURS | dict(sar_rivals.LOSSLESS)


def lossy(names: Sequence[str], bands: Sequence[Band], rates: Sequence[float], wanted: Sequence[str]) -> dict[str, Any]:
    """All of the lossy section: points, scores at rates by band and over bands, rate differences, goals, speed."""
    found: dict[str, Any] = {
        "points": {},
        "by_band": {},
        "mean": {},
        "bd_rate": {},
        "goals": {},
        "reached": {},
        "speed": {},
    }
    curves: dict[str, Curves] = {}
    for name in runnable(names, LOSSY):
        curves[name] = measure(LOSSY[name], bands)
        for band in bands:
            points = curves[name][band.name]
            for point in points:
                score(point, band, {"psnr30", *(GOOD if set(GOOD) <= set(wanted) else ())})
            for point in around(points, rates):
                score(point, band, wanted)
            for point in points:
                point.decoded = np.empty(0)
        found["points"][name] = points_of(curves[name])
        found["by_band"][name] = {
            band: {f"{rate:g}": {key: at_rate(points, key, rate) for key in wanted} for rate in rates}
            for band, points in curves[name].items()
        }
        found["mean"][name] = means(curves[name], rates, wanted)
        found["speed"][name] = speed(curves[name], bands)
        found["goals"][name] = {goal: lowest(curves[name], limits) for goal, limits in GOALS.items()}
        found["reached"][name] = {
            f"{key} {level:g}": over_bands([first_rate(points, key, level) for points in curves[name].values()], key)
            for key, level in LEVELS
        }
        print_line(name, found["mean"][name], rates)
    if ANCHOR in curves:
        found["bd_rate"] = {
            name: {key: rate_difference(curves[name], curves[ANCHOR], net=key == "net") for key in ("true", "net")}
            for name in curves
        }
    return found


def exact(names: Sequence[str], bands: Sequence[Band], table: Mapping[str, Codec], *, bounded: bool) -> dict[str, Any]:
    """Bits per pixel by codec and setting, after the promise was checked on every valid pixel."""
    found: dict[str, Any] = {}
    for name in runnable(names, table):
        curves = measure(table[name], bands, header=False)
        for band in bands:
            for point in curves[band.name]:
                step = point.setting
                promised = band.values if bounded else band.low + step * np.round((band.values - band.low) / step)
                error = float(np.abs(point.decoded - promised)[band.valid].max())
                allowed = step + 1e-4 if bounded else 1e-4  # of float32 in decibels
                if error > allowed:
                    raise SystemExit(f"{name} at {step:g} dB on {band.name} is off by {error:.4f} dB")
                score(point, band, EXTRA)
                point.decoded = np.empty(0)
        found[name] = {
            f"{setting:.4g}": {
                "bpp": fmean(points[number].rate for points in curves.values()),
                **{key: fmean(points[number].scores[key] for points in curves.values()) for key in EXTRA},
                "by_band": {band: points[number].rate for band, points in curves.items()},
            }
            for number, setting in enumerate(table[name].settings)
        }  # fmt: skip
        print(f"{name:18}", "  ".join(f"{key} dB: {row['bpp']:.3f}" for key, row in found[name].items()), flush=True)
    return found


def runnable(names: Sequence[str], table: Mapping[str, Codec]) -> list[str]:
    """The names of the table that were asked for; says why one is left out."""
    kept = []
    for name in names:
        if name in table and table[name].missing:
            print(f"{name} is left out: {table[name].missing}")
        elif name in table:
            kept.append(name)
    return kept


def print_line(name: str, mean: Mapping[str, Mapping[str, float]], rates: Sequence[float]) -> None:
    """PSNR30, true / net, at every rate."""
    cells = [f"{mean[f'{rate:g}']['psnr30']:6.2f} /{mean[f'{rate:g}']['psnr30_net']:6.2f}" for rate in rates]
    print(f"{name:18}", "  ".join(cells), flush=True)


def print_rest(found: Mapping[str, Any], rates: Sequence[float], wanted: Sequence[str]) -> None:
    """Rate differences, goals and speed, then one table a score."""
    print(f"\nBD-rate to {ANCHOR}, %: true / net; bpp for good, excellent; s/Mpx encode, decode")
    for name, pace in found["speed"].items():
        bd, goals = found["bd_rate"].get(name, {}), found["goals"][name]
        print(
            f"{name:18} {bd.get('true', math.nan):+7.1f} /{bd.get('net', math.nan):+7.1f}   "
            f"{goals['good']:.2f} {goals['excellent']:.2f}   {pace['encode']:.2f} {pace['decode']:.2f}"
        )
    for key in wanted:
        print(f"\n{key} at {', '.join(f'{rate:g}' for rate in rates)} bpp; best: {SCORES[key].better}")
        for name, table in found["mean"].items():
            print(f"{name:18}", "  ".join(f"{table[f'{rate:g}'][key]:8.3f}" for rate in rates))


def summary(scores: Mapping[str, Any], rates: Sequence[float]) -> dict[str, Any]:
    """One table of all sections: a row a codec, empty where it was not measured."""
    lossy, bounded, lossless = (scores.get(section, {}) for section in ("lossy", "bounded", "lossless"))
    names = dict.fromkeys([*lossy.get("mean", {}), *bounded, *lossless])
    columns = ["codec", *(f"PSNR30 at {rate:g} bpp" for rate in rates), "BD-rate %", "bpp at 0.5 dB", "bpp lossless"]
    rows = []
    for name in names:
        mean = lossy.get("mean", {}).get(name, {})
        quality = [_cell(mean.get(f"{rate:g}", {}).get("psnr30"), 2) for rate in rates]
        difference = _cell(lossy.get("bd_rate", {}).get(name, {}).get("true"), 1)
        within = _cell(bounded.get(name, {}).get("0.5", {}).get("bpp"), 3)
        exactly = _cell(lossless.get(name, {}).get(f"{sar_rivals.CENTIBEL:.4g}", {}).get("bpp"), 3)
        rows.append([name, *quality, difference, within, exactly])
    return {"columns": columns, "rows": rows}


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def main() -> None:
    """Measure, print, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder with test/ and train/ of .npy bands")
    parser.add_argument("--bands", nargs="+", default=["test"], help="test, train, or files")
    parser.add_argument("--codecs", nargs="+", default=list(dict.fromkeys([*LOSSY, *BOUNDED, *LOSSLESS])))
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--scores", nargs="+", default=list(FIDELITY), choices=list(SCORES))
    parser.add_argument("--sections", nargs="+", default=["lossy", "bounded", "lossless"])
    parser.add_argument("--record", type=Path, default=Path("results/sar-codecs.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(1)
    paths = [
        path
        for item in options.bands
        for path in (sorted((options.root / item).glob("*.npy")) if item in ("test", "train") else [Path(item)])
    ]
    if not paths:
        raise SystemExit(f"{options.root} holds no test/*.npy or train/*.npy: name the folder of SAR bands")
    bands = [read_band(path) for path in paths]
    wanted = [name for name in dict.fromkeys(["psnr30", *options.scores]) if not SCORES[name].polarised]
    scores: dict[str, Any] = {}
    if "lossy" in options.sections:
        print("PSNR30, true / net of fixed bytes, at", ", ".join(f"{rate:g}" for rate in options.rates), "bpp")
        scores["lossy"] = lossy(options.codecs, bands, options.rates, wanted)
        print_rest(scores["lossy"], options.rates, wanted)
    if "bounded" in options.sections:
        print("\nLargest error; bpp")
        scores["bounded"] = exact(options.codecs, bands, BOUNDED, bounded=True)
    if "lossless" in options.sections:
        print("\nLossless by step; bpp")
        scores["lossless"] = exact(options.codecs, bands, LOSSLESS, bounded=False)
    record = make_record(
        "benchmark",
        "sar-codecs",
        config={"sections": options.sections, "bands": [band.name for band in bands], "rates": options.rates,
                "scores": wanted,
                "codecs": {name: list(LOSSY[name].settings) for name in options.codecs if name in LOSSY}},
        scores=plain(scores | summary(scores, options.rates)),
        seconds=time.perf_counter() - started,
        data=hash_paths(paths, root=options.root.resolve()),
    )  # fmt: skip
    write_record(options.record, record)
    print(f"\n{options.record}: {record.machine.processor}, {record.seconds:.0f} s")


if __name__ == "__main__":
    main()
