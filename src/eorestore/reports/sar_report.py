"""Sections on compressed radar bands: a study's rows and codecs in one figure, what latents take; measures nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from eorestore.metrics.rate import value_at_rate
from eorestore.reports.drawing import encode
from eorestore.reports.page import Section
from eorestore.reports.provenance import provenance
from eorestore.reports.rate_distortion import RateSeries, mean_series, rate_distortion_by_score, series_by_band
from eorestore.reports.score_cells import heading, spread
from eorestore.reports.sources import RecordSource, StudySource
from eorestore.reports.study_tables import scored
from eorestore.reports.table import Cell, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = Mapping[str, Any]
Bands = Mapping[str, Sequence[RateSeries]]
SCORES = ("psnr30", "ssim")
RATES = (0.1, 0.25, 0.5, 1.0)  # bits per pixel per band of the table
SHOWN = (0.05, 4.5)
SIDE = 256  # pixels a side of the band whose bytes are named
_STORED = {"float32": "", "float16": "_float16", "int8": "_int8"}
_HOW = (
    "Bytes are those of whole streams. Means over bands are taken at equal rates, between measured points and never "
    "beyond them, and only where every band has them."
)


def rate_sections(study: StudySource, *, codecs: Sequence[RecordSource] = ()) -> list[Section]:
    """The main rows' coded latents over their true bytes, beside the codecs measured on the same bands.

    Rows have the curves of their first training seed. Of the codecs, those bands count that the rows were scored on
    too; a record without such a band is left out. Empty where the runs hold no points.
    """
    rows = [row["row"] for row in scored(study.scores) if row["main"] and _points(study, row["row"])]
    if not rows:
        return []
    own = {name: found for name in rows if (found := _points(study, name))}
    bands = list(next(iter(own.values())))
    used: list[RecordSource] = []
    for source in codecs:
        shared = [band for band in bands if band in series_by_band(source.record.scores)]
        if shared:
            bands, used = shared, [*used, source]
    by_score = {
        score: {
            band: [
                *(_coded(name, found[band], score) for name, found in own.items()),
                *(one for source in used for one in _dashed(source, score, band)),
            ]
            for band in bands
        }
        for score in SCORES
    }
    beside = f" Dashed: codecs of {', '.join(source.name for source in used)}." if used else ""
    records = [study.summary, *study.records, *(source.record for source in used)]
    note = (
        f"Mean over {', '.join(bands)}. Rows: latents rounded to steps and entropy-coded, first training seed."
        f"{beside} {_HOW} {provenance(records)}"
    )
    return [_section(f"{study.name}: rate and distortion", by_score, note)]


def codec_sections(source: RecordSource) -> list[Section]:
    """The codecs of a record alone."""
    scores = source.record.scores
    by_score = {score: series_by_band(scores, score=score) for score in SCORES}
    note = f"Mean over {', '.join(by_score['psnr30'])}. {_HOW} {provenance([source.record])}"
    return [_section(f"{source.name}: rate and distortion", by_score, note)]


def codec_figure(scores: Values) -> Figure:
    """PSNR30 and SSIM of the codecs of a record of benchmarks/sar_codecs.py, mean over its bands."""
    return _figure({score: series_by_band(scores, score=score) for score in SCORES})


def latent_sections(study: StudySource) -> list[Section]:
    """Bytes and PSNR30 of the latent in every storage; empty where rows have none."""
    rows: list[tuple[Cell, ...]] = []
    for row in scored(study.scores):
        found = row["scores"]
        if "bpp" not in found:
            return []
        sizes = [_size(found.get(f"bpp{end}")) for end in (*_STORED.values(), "_coded")]
        rows.append((row["row"], *sizes, *(spread(found.get(f"psnr30{end}"), "psnr30") for end in _STORED.values())))
    if not rows:
        return []
    columns = ("Row", *(f"Bytes, {name}" for name in (*_STORED, "coded")), *(f"PSNR30, {name}, dB" for name in _STORED))
    note = (
        f"Bytes of a band of {SIDE} x {SIDE} pixels at the mean rate. Coded: entropy-coded at the step where PSNR30 is "
        f"0.1 dB below that of the float32 latent. {provenance(study.records)}"
    )
    return [Section(f"{study.name}: latents as bytes", table=Table(columns, tuple(rows)), note=note)]


def _section(title: str, by_score: Mapping[str, Bands], note: str) -> Section:
    bands = by_score["psnr30"]
    names = dict.fromkeys(one.name for found in bands.values() for one in found)
    columns = ("", *(f"{heading(score, region=False)} at {rate:g} bpp" for score in SCORES for rate in RATES))
    rows = [(name, *(_mean_at(found, name, rate) for found in by_score.values() for rate in RATES)) for name in names]
    return Section(title, Table(columns, tuple(rows)), encode(_figure(by_score)), note)


def _figure(by_score: Mapping[str, Bands]) -> Figure:
    panels = {heading(score): mean_series(bands) for score, bands in by_score.items()}
    return rate_distortion_by_score(panels, shown=SHOWN)


def _mean_at(bands: Bands, name: str, rate: float) -> float | None:
    """The mean over bands at a rate; None where a band was not measured around it."""
    found = [
        value_at_rate([x for x, _ in one.points], [y for _, y in one.points], target=rate)
        for series in bands.values()
        for one in series
        if one.name == name
    ]
    whole = len(found) == len(bands) and all(math.isfinite(value) for value in found)
    return fmean(found) if whole else None


def _points(study: StudySource, row: str) -> dict[str, list[Values]]:
    """The coded points of a row's first run by band; empty where it has none."""
    runs = study.done(row)
    found: dict[str, list[Values]] = {}
    for point in runs[0].scores.get("points", ()) if runs else ():
        if point["storage"] == "coded":
            found.setdefault(point["band"], []).append(point)
    return found


def _coded(name: str, points: Iterable[Values], score: str) -> RateSeries:
    known = [(float(p["bpp"]), float(p["scores"][score])) for p in points if p["scores"].get(score) is not None]
    return RateSeries(name, sorted(known))


def _dashed(source: RecordSource, score: str, band: str) -> list[RateSeries]:
    found = series_by_band(source.record.scores, score=score)
    return [RateSeries(one.name, one.points, dashed=True) for one in found.get(band, ())]


def _size(found: Mapping[str, Any] | None) -> int | None:
    return None if found is None or found["mean"] is None else round(found["mean"] * SIDE**2 / 8)
