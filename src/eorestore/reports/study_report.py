"""The sections of a report on a study, from its summary and the records of its runs; trains and scores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from eorestore.experiments.score_text import format_score
from eorestore.reports.costs import SIDE, at_size, cost_of
from eorestore.reports.evaluation_tables import detail_table, interval_table, strata_tables, stratum_note
from eorestore.reports.forest_plot import Effect, forest
from eorestore.reports.page import Section
from eorestore.reports.pairs import means_by_cover
from eorestore.reports.plots import Point, against_cover, cost_against_score
from eorestore.reports.provenance import provenance
from eorestore.reports.sar_report import latent_sections, rate_sections
from eorestore.reports.score_cells import cover_name, difference, heading
from eorestore.reports.sources import RecordSource, StudySource
from eorestore.reports.study_tables import (
    condition_note,
    difference_table,
    ended_table,
    leading_score,
    score_table,
    scored,
    setup_table,
    study_note,
)
from eorestore.reports.table import Table

Values = Mapping[str, Any]
_FAR = "Baselines far away from the networks stand in the table alone."
_LINES = 17  # more in one plot cannot be told apart


def study_sections(
    study: StudySource, *, profiles: Sequence[Sequence[Values]] = (), codecs: Sequence[RecordSource] = ()
) -> list[Section]:
    """Scores, differences, scores by cover, cost against score, details, intervals, and what did not end well.

    Then, where the study has a final split, what it says of rows and differences; curves over the rate are of it alone.

    profiles: of every comparison of the report, for the costs of a pass. codecs: what rows are drawn beside, where
    they were measured on the same bands. What a study does not hold has no section.
    """
    name, scores = study.name, study.scores
    source = provenance(study.records)
    costs = [profile for found in profiles for profile in found]
    leading, others = _groups(scores)
    sections: list[Section] = []
    configs = [record.config for found in study.runs.values() for record in found]
    setup = setup_table(configs, settings=scores["settings"])
    if setup is not None:
        sections.append(Section(f"{name}: setup", table=setup, note=source))
    sections += _scores(study, costs, source)
    sections += _by_cover(study, leading if len(leading) > 1 else [*leading, *others], source)
    sections += _costs(study, costs, source)
    sections += _details(study, source)
    sections += _strata(study, leading if len(leading) > 1 else [*leading, *others], source)
    ended = ended_table(scores)
    if ended is not None:
        sections.append(Section(f"{name}: rows without a result", table=ended, note=source))
    final = study.final
    if final is not None:
        sections += _scores(final, costs, source)
    return [*sections, *latent_sections(final or study), *rate_sections(final or study, codecs=codecs)]


def _scores(study: StudySource, costs: Sequence[Values], source: str) -> list[Section]:
    """The rows of one split, and their differences to the reference."""
    scores = study.scores
    leading, others = _groups(scores)
    note = f"{study_note(scores)} {condition_note(scores)} {source}"
    sections = []
    for title, rows in ((f"{study.name}: main rows", leading), (f"{study.name}: single cells", others)):
        if rows:
            table = score_table(scores, rows=rows, profiles=costs if _timed(scores, rows, costs) else None)
            sections.append(Section(title, table=table, note=note))
    return [*sections, *_differences(study, f"{study_note(scores)} {source}")]


def _groups(scores: Values) -> tuple[list[str], list[str]]:
    """Names of the main rows and baselines, and of the others."""
    leading = [row["row"] for row in scored(scores) if row["main"] or row["baseline"]]
    return leading, [row["row"] for row in scored(scores) if row["row"] not in leading]


def _timed(scores: Values, rows: Sequence[str], profiles: Sequence[Values]) -> bool:
    """Whether the cost of a pass is known of any of the rows."""
    return any(cost_of(profiles, row["row"], parameters=row["parameters"]) for row in scored(scores, rows=rows))


def _differences(study: StudySource, note: str) -> list[Section]:
    scores = study.scores
    first = leading_score(scores)
    effects = [
        Effect(row["row"], found["mean"], found["low"], found["high"], difference(found, first))
        for row in scored(scores)
        if (found := row["difference"].get(first)) is not None
    ]
    if not effects:
        return []
    label = f"{heading(first)}: difference to {scores['reference']}, right is better"
    figure = forest(effects, label=label)
    return [Section(f"{study.name}: differences to {scores['reference']}", difference_table(scores), figure, note)]


def _by_cover(study: StudySource, rows: Sequence[str], source: str) -> list[Section]:
    scores = study.scores
    first = leading_score(scores)
    curves = {row: found for row in rows if (found := means_by_cover(study, row, score=first))}
    covers = sorted({cover for found in curves.values() for cover in found})
    if len(covers) < 2:
        return []
    shown = _shown(curves, scores["reference"])
    baselines = [row["row"] for row in scored(scores) if row["baseline"]]
    cells = [(row, *(_text(found.get(cover), first) for cover in covers)) for row, found in curves.items()]
    table = Table((heading(first), *map(cover_name, covers)), tuple(cells))
    figure = against_cover(shown, score=heading(first), dashed=baselines)
    few = "" if len(shown) == len(curves) else f" The plot has {scores['reference']}, the best five and the last five."
    note = f"Mean over scenes, seeds of clouds and training seeds.{few} {_FAR} {source}"
    return [Section(f"{study.name}: by cloud cover", table, figure, note)]


def _shown(curves: Mapping[str, Mapping[float, float]], reference: str) -> dict[str, Mapping[float, float]]:
    """All curves, or of many the reference, the five with the highest mean and the five with the lowest."""
    if len(curves) <= _LINES:
        return dict(curves)
    ranked = sorted(curves, key=lambda name: fmean(curves[name].values()))
    kept = {*ranked[:5], *ranked[-5:], reference}
    return {name: found for name, found in curves.items() if name in kept}


def _costs(study: StudySource, profiles: Sequence[Values], source: str) -> list[Section]:
    """Against the FLOPs of a pass, for the rows that were profiled; else against those of a training step."""
    scores = study.scores
    first = leading_score(scores)
    rows = [row for row in scored(scores) if row["gflops_step"] and row["scores"][first]["mean"] is not None]
    sizes = {row["row"]: at_size(cost_of(profiles, row["row"], parameters=row["parameters"])) for row in rows}
    passes = {name: size["flops"] / 1e9 for name, size in sizes.items() if size is not None}
    costs = passes if len(passes) > 1 else {row["row"]: row["gflops_step"] for row in rows}
    if len(rows) < 2:
        return []
    points = [
        Point(row["row"], costs[row["row"]], row["scores"][first]["mean"], row["scores"][first]["std"])
        for row in rows
        if row["row"] in costs
    ]
    label = f"GFLOPs of a pass, {SIDE} x {SIDE} pixels" if costs is passes else "GFLOPs of a training step"
    figure = cost_against_score(points, cost=label, score=heading(first))
    few = "" if len(points) == len(rows) else " Rows whose pass was not measured are left out."
    note = f"Whiskers are the standard deviation over training seeds.{few} {source}"
    return [Section(f"{study.name}: cost and score", figure=figure, note=note)]


def _details(study: StudySource, source: str) -> list[Section]:
    cases = {row["row"]: found for row in scored(study.scores) if (found := study.cases(row["row"]))}
    details, intervals = detail_table(cases), interval_table(cases)
    where = "Inside cloud, mean over all cases and training seeds."
    sections = []
    if details is not None:
        sections.append(Section(f"{study.name}: colour, indices, edges", table=details, note=f"{where} {source}"))
    if intervals is not None:
        note = f"Share of the pixels under cloud inside image ± 1.645 sigma; 0.9 is right. {where} {source}"
        sections.append(Section(f"{study.name}: intervals by place", table=intervals, note=note))
    return sections


def _strata(study: StudySource, rows: Sequence[str], source: str) -> list[Section]:
    parts = [
        {**part, "model": row} for row in rows for record in study.done(row) for part in record.scores.get("strata", ())
    ]
    tables = strata_tables({"metrics": study.scores["metrics"], "strata": parts})
    return [
        Section(f"{study.name}: by {kind}", table=table, note=f"{stratum_note(kind)} {source}")
        for kind, table in tables.items()
    ]


def _text(value: float | None, score: str) -> str:
    return "n/a" if value is None else format_score(value, score)
