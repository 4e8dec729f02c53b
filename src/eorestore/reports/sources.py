"""What a report is made of: runs, studies, evaluations and comparisons, read from folders and files; draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eorestore.errors import DataError, UsageError
from eorestore.experiments.record import Record, read_record
from eorestore.experiments.study_summary import at_final, read_summary
from eorestore.training.log import Record as LogRecord
from eorestore.training.log import read_log

LOG = "metrics.jsonl"


@dataclass(frozen=True)
class Run:
    """A training as its files tell it.

    record: None while it still runs. log: records of metrics.jsonl.
    """

    name: str
    record: Record | None
    log: tuple[LogRecord, ...]


@dataclass(frozen=True)
class StudySource:
    """A study. summary: its study.json. runs: records of ended runs by row; empty where only the summary is there."""

    name: str
    folder: Path
    summary: Record
    runs: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Any]:
        """The plain values of the summary; see `experiments.study_summary.summary`."""
        return read_summary(self.summary.scores)

    @property
    def final(self) -> StudySource | None:
        """The study as its final split has it; None where it has none."""
        if "final" not in self.summary.scores:
            return None
        runs = {row: tuple(at_final(record) for record in found) for row, found in self.runs.items()}
        name = f"{self.name}, {self.summary.scores['final']['split']} split"
        return replace(self, name=name, summary=at_final(self.summary), runs=runs)

    @property
    def records(self) -> tuple[Record, ...]:
        """What its tables are made of: the runs where they are there, else the summary."""
        return tuple(record for found in self.runs.values() for record in found) or (self.summary,)

    def done(self, row: str) -> tuple[Record, ...]:
        """The records of a row's runs that were scored."""
        return tuple(record for record in self.runs.get(row, ()) if record.scores["status"] == "done")

    def cases(self, row: str) -> list[Mapping[str, Any]]:
        """The rows of the evaluations of all runs of a row."""
        return [case for record in self.done(row) for case in record.scores["rows"]]


@dataclass(frozen=True)
class RecordSource:
    """An evaluation, a comparison, or codecs measured side by side. folder: from which its pictures are named."""

    name: str
    folder: Path
    record: Record


@dataclass(frozen=True)
class Sources:
    """All that one report is about, each kind in the order in which it was named."""

    runs: tuple[Run, ...] = ()
    studies: tuple[StudySource, ...] = ()
    evaluations: tuple[RecordSource, ...] = ()
    comparisons: tuple[RecordSource, ...] = ()
    codecs: tuple[RecordSource, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all of them; each can stand once a kind."""
        kinds = (self.runs, self.studies, self.evaluations, self.comparisons, self.codecs)
        return tuple(dict.fromkeys(item.name for kind in kinds for item in kind))

    @property
    def profiles(self) -> tuple[Sequence[Mapping[str, Any]], ...]:
        """What every comparison measured of the costs of its models."""
        return tuple(item.record.scores["profiles"] for item in self.comparisons)


def read_sources(paths: Sequence[Path]) -> Sources:
    """Read folders of trainings, evaluations, comparisons and studies, and record files.

    Raises UsageError where nothing is named or two of one kind have one name, DataError for what is none of these.
    """
    found: dict[str, list[Any]] = {"runs": [], "studies": [], "evaluations": [], "comparisons": [], "codecs": []}
    for path in paths:
        for kind, item in _read(path):
            found[kind].append(item)
    for items in found.values():
        names = [item.name for item in items]
        if len(set(names)) < len(names):
            raise UsageError(f"a report needs runs of different names, not: {', '.join(names)}", fix="name each once")
    if not any(found.values()):
        raise UsageError("a report needs something to report on", fix="name runs, studies or records")
    return Sources(**{kind: tuple(items) for kind, items in found.items()})


def _read(path: Path) -> list[tuple[str, Any]]:
    if path.is_file():
        record = read_record(path)
        return [_of_record(record, path, name=path.parent.name if path.stem == record.kind else path.stem)]
    files = [path / name for name in ("study.json", "evaluation.json", "comparison.json") if (path / name).is_file()]
    items = [_of_record(read_record(file), file, name=path.resolve().name) for file in files]
    log, end = tuple(read_log(path / LOG)), path / "record.json"
    if log or end.is_file():
        items.append(("runs", Run(path.resolve().name, read_record(end) if end.is_file() else None, log)))
    if not items:
        raise DataError(
            f"{path} holds no record.json, evaluation.json, comparison.json, study.json or {LOG}",
            fix="give the folder of a training, an evaluation, a comparison or a study, or the file of a record",
        )
    return items


def _of_record(record: Record, path: Path, *, name: str) -> tuple[str, Any]:
    if record.kind == "study":
        return "studies", StudySource(record.name, path.parent, record, _runs_of(record, path))
    if record.kind == "training":
        return "runs", Run(name, record, ())
    if record.kind == "comparison":
        return "comparisons", RecordSource(name, path.parent, record)
    if "lossy" in record.scores:
        return "codecs", RecordSource(name, path.parent, record)
    if "aggregates" in record.scores:
        return "evaluations", RecordSource(name, path.parent, record)
    raise DataError(
        f"{path} is a record of {record.kind}, which no report tells",
        fix="give records of train, evaluate, compare or ablate that ended well, or of benchmarks/sar_codecs.py",
    )


def _runs_of(summary: Record, path: Path) -> dict[str, tuple[Record, ...]]:
    """Records of the runs that a summary names, beside it or in a folder of its own name, by row."""
    found: dict[str, list[Record]] = {}
    for name in summary.config["runs"]:
        for folder in (path.parent, path.with_suffix("")):
            if (folder / f"{name}.json").is_file():
                record = read_record(folder / f"{name}.json")
                found.setdefault(record.config["row"], []).append(record)
                break
    return {row: tuple(records) for row, records in found.items()}
