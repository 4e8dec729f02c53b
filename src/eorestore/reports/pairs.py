"""The difference between any two rows of a study, from the records of their runs; trains and draws nothing.

It is the difference that `experiments.study_summary` gives to the reference row, between rows of one's choice.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eorestore.experiments.bootstrap import Interval, paired_interval
from eorestore.experiments.score_text import is_higher_better
from eorestore.reports.score_cells import number
from eorestore.reports.sources import StudySource

Case = tuple[str, float | None, int | None]  # scene, cover, seed of the clouds


def row_difference(study: StudySource, row: str, *, over: str, score: str) -> Interval | None:
    """How much better `row` is than `over`: per case, means over training seeds, bootstrapped over cases.

    Positive where `row` is better. None where one of the two has no scored run, or they have no case in common.
    """
    mine, other = (_cases([record.scores["rows"] for record in study.done(name)], score) for name in (row, over))
    sign = 1.0 if is_higher_better(score) else -1.0
    differences = [sign * (value - other[case]) for case, value in mine.items() if case in other]
    return paired_interval({"cases": differences}) if differences else None


def means_by_cover(study: StudySource, row: str, *, score: str) -> dict[float, float]:
    """The mean of a score over the cases of every cover and all runs of a row; covers without one are left out."""
    found: dict[float, list[float]] = {}
    for case in study.cases(row):
        value = number(case["scores"].get(score))
        if case["cover"] is not None and math.isfinite(value):
            found.setdefault(case["cover"], []).append(value)
    return {cover: statistics.fmean(values) for cover, values in sorted(found.items())}


def _cases(runs: Iterable[Sequence[Mapping[str, Any]]], score: str) -> dict[Case, float]:
    """The mean over runs in every case that all of them have."""
    by_run = [
        {
            (row["scene"], row["cover"], row["seed"]): value
            for row in rows
            if math.isfinite(value := number(row["scores"].get(score)))
        }
        for rows in runs
    ]
    common = [case for case in by_run[0] if all(case in values for values in by_run)] if by_run else []
    return {case: statistics.fmean(values[case] for values in by_run) for case in common}
