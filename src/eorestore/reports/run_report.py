"""A report on runs as report.md, index.html and figures, from their records alone; knows no model and no data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eorestore.errors import DataError, UsageError
from eorestore.experiments.record import Record, read_record
from eorestore.reports.figures import scores_by_cover, training_curves
from eorestore.reports.page import Section, write_sections
from eorestore.reports.tables import Table, table_of, to_markdown
from eorestore.reports.writing import write_complete
from eorestore.training.log import Record as LogRecord
from eorestore.training.log import read_log

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Run:
    """A run folder as its files tell it.

    record: None while a training still runs. log: records of metrics.jsonl; empty for an evaluation.
    """

    name: str
    record: Record | None
    log: tuple[LogRecord, ...]


def read_run(folder: Path) -> Run:
    """The run in `folder`. Raises DataError where there is none."""
    log = tuple(read_log(folder / "metrics.jsonl"))
    records = [folder / name for name in ("record.json", "evaluation.json") if (folder / name).is_file()]
    if not log and not records:
        raise DataError(
            f"{folder} holds no record.json, evaluation.json or metrics.jsonl",
            fix="give the folder of a training or an evaluation",
        )
    return Run(folder.name, read_record(records[0]) if records else None, log)


def write_report(folder: Path, runs: Sequence[Path]) -> Path:
    """Write report.md, index.html and figures about `runs` into `folder`; returns the HTML file.

    Raises UsageError without a run or with two of one name, DataError, WriteError.
    """
    found = [read_run(path) for path in runs]
    names = [run.name for run in found]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"a report needs runs of different names, not: {', '.join(names) or 'none'}", fix="name each run once"
        )
    sections = [Section("Runs", table=_overview(found)), *_trainings(found)]
    sections += [
        _evaluation(run.name, run.record)
        for run in found
        if run.record is not None and "aggregates" in run.record.scores
    ]
    title = names[0] if len(names) == 1 else f"{len(names)} runs"
    summary = "Every number here stands in the records of the runs: " + ", ".join(names) + "."
    for section in sections:
        if section.figure is not None:
            write_complete(folder / f"{section.slug}.png", section.figure)
    write_complete(folder / "report.md", _markdown(title, summary, sections))
    page = folder / "index.html"
    write_sections(page, title=title, summary=summary, sections=sections)
    return page


def _overview(runs: Sequence[Run]) -> Table:
    columns = ("Run", "Kind", "Date", "Commit", "Machine", "Seconds", "Peak memory, MB")
    return Table(columns, tuple(_overview_row(run) for run in runs))


def _overview_row(run: Run) -> tuple[str | float | int | None, ...]:
    if run.record is None:
        return run.name, "training, not finished", None, None, None, _seconds(run), None
    record = run.record
    return (
        run.name,
        record.kind,
        record.date[:10],
        record.commit if " " in record.commit else record.commit[:9] + record.commit[40:],
        f"{record.machine.device}, {record.machine.cores} cores",
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
    return [Section("Last validation", table=table), Section("Curves", figure=training_curves(logs, score=curve))]


def _evaluation(name: str, record: Record) -> Section:
    found = {key for group in record.scores["aggregates"] for key in group["scores"]}
    bars = next((score for score in ("psnr_cloud", "psnr") if score in found), None)
    figure = scores_by_cover(record.scores, score=bars) if bars else None
    return Section(f"Evaluation {name}", table=table_of(record.scores), figure=figure)


def _markdown(title: str, summary: str, sections: Sequence[Section]) -> str:
    parts = [f"# {title}", summary]
    for section in sections:
        parts.append(f"## {section.heading}")
        if section.table is not None:
            parts.append(to_markdown(section.table).rstrip("\n"))
        if section.figure is not None:
            parts.append(f"![{section.heading}]({section.slug}.png)")
    return "\n\n".join(parts) + "\n"
