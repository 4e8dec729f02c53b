"""The table of any JSON record, and tables rendered from records into pages of text; scores nothing itself.

A page marks where tables stand; what is between the marks is written by `render_page`:

    <!-- table: NAME -->                  the table, or the mean scores, of results/NAME.json
    <!-- table: NAME:psnr_cloud -->       one score of an evaluation or comparison, models by covers; of a study, by row
    <!-- table: NAME:texture -->          strata of one kind, of an evaluation that scored them
    <!-- table: NAME:coverage_90 -->      one detail of a benchmark of methods, by method and case
    <!-- table: NAME:targets -->          what qualities cost, of a record of SAR codecs
    <!-- table: NAME:gains -->            fusions against their experts, of an evaluation of super-resolution; of a
                                          study, PSNR against its reference to a thousandth of a decibel
    <!-- end table -->

`python -m eorestore.reports.tables PAGE ... results` writes them; the last name is the folder of records.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eorestore.errors import DataError
from eorestore.experiments.record import read_record
from eorestore.experiments.study_summary import read_summary
from eorestore.reports.comparison_tables import comparison_by_cover, comparison_table
from eorestore.reports.evaluation_tables import mean_scores, models_by_covers, strata_tables
from eorestore.reports.image_tables import GAINS, gain_table, set_table, study_gains
from eorestore.reports.provenance import provenance
from eorestore.reports.sar_tables import target_table
from eorestore.reports.study_tables import score_by_row, score_table
from eorestore.reports.table import Table, to_markdown
from eorestore.reports.writing import write_complete

_WITH_SOURCE = ("study", "comparison")  # records whose tables name commit, machine and data
_MARKED = re.compile(
    r"(?P<open><!-- table: (?P<record>[^\s:>]+)(?::(?P<score>[\w.]+))? -->\n)"
    r"(?P<body>.*?)(?P<close><!-- end table -->)",
    re.DOTALL,
)


def table_of(record: Mapping[str, Any], *, score: str | None = None) -> Table:
    """The table of a JSON object: its `columns` and `rows`, or that of an evaluation, a study or a comparison.

    score: one score of these, models by covers, or rows of a study; a kind of strata; `targets` of SAR codecs, `gains`
    of fusions. Without it, all metrics over whole scenes, those that lead a study, or all scores of a comparison. A
    study that has a final split shows that. Raises DataError.
    """
    if "kind" in record and "scores" in record:
        record = record["scores"]
    if record.get("task") == "super-resolution" and "sets" in record:
        return gain_table(record) if score == GAINS else set_table(record)
    if "aggregates" in record:
        strata = strata_tables(record)
        if score in strata:
            return strata[score]
        return models_by_covers(record, score) if score else mean_scores(record)
    if "results" in record and "reference" in record:
        if score == GAINS:
            return study_gains(record)
        scores = read_summary(record.get("final", record))
        return score_by_row(scores, score) if score else score_table(scores)
    if "differences" in record and "profiles" in record:
        return comparison_by_cover(record, score) if score else comparison_table(record)
    if score == "targets" and "lossy" in record:
        return target_table(record)
    if score is not None and "details" in record:
        return detail_table(record["details"], score)
    if score is None and "columns" in record and "rows" in record:
        return Table(tuple(record["columns"]), tuple(tuple(row) for row in record["rows"]))
    raise DataError(
        f"the record holds {', '.join(record) or 'nothing'}",
        fix="give columns and rows, or the record of an evaluation, a study or a comparison",
    )


def detail_table(details: Mapping[str, Mapping[str, Any]], name: str) -> Table:
    """One detail, methods by cases; details are called `method | case`. Raises DataError where none has it."""
    found = {tuple(key.split(" | ")): facts[name] for key, facts in details.items() if name in facts}
    if not found or any(len(key) != 2 for key in found):
        raise DataError(f"no method has the detail {name}", fix="name one that stands under `details` of the record")
    cases = list(dict.fromkeys(case for _, case in found))
    methods = dict.fromkeys(method for method, _ in found)
    rows = tuple((method, *(found.get((method, case)) for case in cases)) for method in methods)
    return Table((name.replace("_", " "), *cases), rows)


def render_page(page: Path, results: Path) -> str:
    """The text of `page` with every marked table rendered from the folder of records. Raises DataError."""
    return _MARKED.sub(lambda found: _rendered(found, results), page.read_text(encoding="utf-8"))


def stale_tables(page: Path, results: Path) -> tuple[str, ...]:
    """Names of the marked tables whose text is not what their records give, in order; empty when current."""
    marks = _MARKED.finditer(page.read_text(encoding="utf-8"))
    return tuple(
        found["record"] + (f":{found['score']}" if found["score"] else "")
        for found in marks
        if found[0] != _rendered(found, results)
    )


def update_page(page: Path, results: Path) -> None:
    """Write `render_page` over the file. Raises DataError and WriteError."""
    write_complete(page, render_page(page, results))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON record. Raises DataError."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no record: {error}", fix="run the experiment that writes it") from None
    if not isinstance(record, dict):
        raise DataError(f"{path} holds a {type(record).__name__}, not an object", fix="write it again")
    return record


def _rendered(found: re.Match[str], results: Path) -> str:
    path = results / f"{found['record']}.json"
    values = read_json(path)
    table = table_of(values, score=found["score"])
    note = f"\n{provenance([read_record(path)])}\n" if values.get("kind") in _WITH_SOURCE else ""
    return f"{found['open']}\n{to_markdown(table)}{note}\n{found['close']}"


if __name__ == "__main__":
    *pages, records = map(Path, sys.argv[1:])
    for one in pages:
        update_page(one, records)
