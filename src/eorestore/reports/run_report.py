"""A report as report.md, index.html and figures, from records alone; knows no model and no data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eorestore.experiments.record import Record
from eorestore.reports.case_grids import case_sections
from eorestore.reports.evaluation_report import comparison_sections, evaluation_sections
from eorestore.reports.figures import training_curves
from eorestore.reports.hopes import PLANS, hope_table
from eorestore.reports.latex import write_generated
from eorestore.reports.page import Section, write_sections
from eorestore.reports.provenance import describe_data, describe_machine, provenance, short_commit
from eorestore.reports.sar_report import codec_sections
from eorestore.reports.sources import Run, Sources, read_sources
from eorestore.reports.study_report import study_sections
from eorestore.reports.table import Table, to_markdown
from eorestore.reports.version_pictures import version_sections
from eorestore.reports.writing import write_complete

_MEGABYTE = 1024 * 1024


def write_report(folder: Path, paths: Sequence[Path], *, latex: Path | None = None, pictures: int = 0) -> Path:
    """Write report.md, index.html and figures into `folder`; returns the HTML file.

    Args:
        folder: where the report goes.
        paths: folders of trainings, evaluations, comparisons and studies, and files of records; of codecs too, beside
            which a study of SAR compression is drawn.
        latex: folder of a paper; its tables and figures are written into `latex`/generated.
        pictures: scenes that every main row of a study restores anew, to be shown side by side; see
            `version_pictures`.

    Raises:
        UsageError: nothing is named, or two of one name. DataError: what is named is no record. WriteError.
    """
    sources = read_sources(paths)
    sections = report_sections(sources, pictures=pictures)
    title = sources.names[0] if len(sources.names) == 1 else f"Report on {len(sources.names)} records"
    summary = "Every number here stands in the records: " + ", ".join(sources.names) + "."
    for section in sections:
        if section.figure is not None:
            write_complete(folder / f"{section.slug}.png", section.figure.png)
    write_complete(folder / "report.md", _markdown(title, summary, sections))
    page = folder / "index.html"
    write_sections(page, title=title, summary=summary, sections=sections)
    if latex is not None:
        write_generated(latex, sections)
    return page


def report_sections(sources: Sources, *, pictures: int = 0) -> list[Section]:
    """All that is known of the sources: studies first, then hopes, comparisons, evaluations, cases and trainings."""
    sections = [Section("Records", table=_overview(sources))]
    for study in sources.studies:
        sections += study_sections(study, profiles=sources.profiles, codecs=sources.codecs)
        if pictures:
            sections += version_sections(study, scenes=pictures)
    for plan in (plan for plan in PLANS if plan.is_of(sources.studies)):
        records = [record for study in sources.studies for record in study.records]
        records += [item.record for item in sources.comparisons]
        table = hope_table(sources.studies, plan=plan, profiles=sources.profiles)
        sections.append(Section(plan.title, table=table, note=f"{plan.note} {provenance(records)}"))
    for comparison in sources.comparisons:
        sections += comparison_sections(comparison)
    for evaluation in sources.evaluations:
        sections += evaluation_sections(evaluation)
    for codecs in sources.codecs:
        sections += codec_sections(codecs)
    return [*sections, *case_sections(sources.evaluations), *_trainings(sources.runs)]


def _overview(sources: Sources) -> Table:
    columns = ("Record", "Kind", "Date", "Commit", "Machine", "Data", "Seconds", "Peak memory, MB")
    named = [(run.name, run.record) for run in sources.runs if run.record is not None]
    named += [(study.name, study.summary) for study in sources.studies]
    named += [(item.name, item.record) for item in (*sources.evaluations, *sources.comparisons, *sources.codecs)]
    open_runs = [
        (run.name, "training, not finished", None, None, None, None, _seconds(run), None)
        for run in sources.runs
        if run.record is None
    ]
    return Table(columns, (*(_overview_row(name, record) for name, record in named), *open_runs))


def _overview_row(name: str, record: Record) -> tuple[str | float | int | None, ...]:
    return (
        name,
        record.kind,
        record.date[:10],
        short_commit(record.commit),
        describe_machine(record.machine),
        describe_data([record]),
        round(record.seconds),
        round(record.peak_memory_bytes / _MEGABYTE),
    )


def _seconds(run: Run) -> int | None:
    seconds = run.log[-1].get("seconds")
    return None if seconds is None else round(seconds)


def _trainings(runs: Sequence[Run]) -> list[Section]:
    """The last validation of every training as a table, and the curves of all in one figure."""
    logs = {run.name: run.log for run in runs if run.log}
    if not logs:
        return []
    source = provenance(run.record for run in runs if run.record is not None) if any(run.record for run in runs) else ""
    validated = {name: [record for record in log if record["kind"] == "validation"] for name, log in logs.items()}
    scores = list(
        dict.fromkeys(
            key
            for records in validated.values()
            for record in records
            for key in record
            if key not in ("kind", "step", "seconds")
        )
    )
    rows = [
        (name, records[-1]["step"], *(records[-1].get(score) for score in scores))
        for name, records in validated.items()
        if records
    ]
    curve = "psnr" if "psnr" in scores else "loss"
    table = Table(("Run", "Step", *scores), tuple(rows))
    figure = training_curves(logs, score=curve)
    return [Section("Last validation", table=table, note=source), Section("Curves", figure=figure, note=source)]


def _markdown(title: str, summary: str, sections: Sequence[Section]) -> str:
    parts = [f"# {title}", summary]
    for section in sections:
        parts.append(f"## {section.heading}")
        if section.table is not None:
            parts.append(to_markdown(section.table).rstrip("\n"))
        if section.figure is not None:
            parts.append(f"![{section.heading}]({section.slug}.png)")
        if section.note:
            parts.append(section.note)
    return "\n\n".join(parts) + "\n"
