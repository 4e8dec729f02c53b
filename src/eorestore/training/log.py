"""What a training says while it runs: one JSON line a record, always; knows no model."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from eorestore.errors import MissingError

Record = dict[str, Any]
_PACKAGES = {"tensorboard": "track", "wandb": "wandb"}


class MetricsLog:
    """Appends records to `path` and passes numbers on to `track`; between records it averages.

    step: the step that the weights stand at; lines of later steps, left by a run that was killed, are cut off.
    main: whether this process is the one that writes.
    """

    def __init__(self, path: Path, *, step: int, main: bool, track: Callable[[Mapping[str, float], int], None]) -> None:
        self._path = path
        self._track = track
        self._seen: dict[str, list[float]] = {}
        kept = [record for record in read_log(path) if record["step"] <= step]
        if main:
            path.write_text("".join(map(_line, kept)), encoding="utf-8")
        self._validations = [record for record in kept if record["kind"] == "validation"]

    def add(self, values: Mapping[str, float]) -> None:
        """Count one step's values into the mean of the next record."""
        for name, value in values.items():
            self._seen.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        """The means since the last call, each over the steps that had such a value."""
        means = {name: sum(values) / len(values) for name, values in self._seen.items()}
        self._seen = {}
        return means

    def last_scores(self) -> dict[str, float]:
        """The scores of the newest validation that stood in the file at the start."""
        newest = self._validations[-1] if self._validations else {}
        return {
            name: math.nan if value is None else value
            for name, value in newest.items()
            if name not in ("kind", "step", "seconds")
        }

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> Record:
        """Append the record {kind, step, values...}. NaN and infinite values are written as null."""
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        record: Record = {"kind": kind, "step": step, **plain}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        self._track({f"{kind}/{name}": value for name, value in plain.items() if value is not None}, step)
        return record


def read_log(path: Path) -> Iterator[Record]:
    """The records of a log; a last line torn by a kill is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def check_trackers(names: tuple[str, ...]) -> None:
    """Raises MissingError for a tracker whose package is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingError.package(name, _PACKAGES[name])


def _line(record: Record) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
