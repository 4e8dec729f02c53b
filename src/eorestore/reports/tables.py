"""Tables of scores as Markdown, rendered from JSON records, also into a README; scores nothing itself.

A README marks where tables stand; what is between the marks is written by `render_readme`:

    <!-- table: NAME -->                  the table, or the mean scores, of results/NAME.json
    <!-- table: NAME:psnr_cloud -->       one score of an evaluation, models by covers
    <!-- end table -->

`python -m eorestore.reports.tables README.md results` writes them.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eorestore.errors import DataError
from eorestore.experiments.evaluation_table import format_score
from eorestore.reports.writing import write_complete

Cell = str | int | float | None
_MARKED = re.compile(
    r"(?P<open><!-- table: (?P<record>[^\s:>]+)(?::(?P<score>\w+))? -->\n)(?P<body>.*?)(?P<close><!-- end table -->)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Table:
    """Named columns and rows of cells; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise DataError(
                    f"a row of {len(row)} cells stands in a table of {len(self.columns)} columns: {row}",
                    fix="give every row one cell a column, None where there is no value",
                )


def format_cell(value: Cell, *, digits: int = 4) -> str:
    """A cell as text: `digits` digits, of which at least those before the point; whole numbers in thousands.

    None and NaN are "n/a".
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    before = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(digits - before, 0)}f}"


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, numbers to the right; ends with a newline."""
    texts = [[format_cell(cell).replace("|", "\\|") for cell in row] for row in table.rows]
    right = [any(isinstance(row[index], int | float) for row in table.rows) for index in range(len(table.columns))]
    rule = ["---:" if flag else "---" for flag in right]
    return "".join(f"| {' | '.join(line)} |\n" for line in [list(table.columns), rule, *texts])


def table_of(record: Mapping[str, Any], *, score: str | None = None) -> Table:
    """The table of a JSON object: its `columns` and `rows`, or the means of an evaluation or of its record.

    score: one score of an evaluation, models by covers. Without it, all metrics over whole scenes. Raises
    DataError.
    """
    if "kind" in record and "scores" in record:
        record = record["scores"]
    if "aggregates" in record:
        return _models_by_covers(record, score) if score else _mean_scores(record)
    if score is None and "columns" in record and "rows" in record:
        return Table(tuple(record["columns"]), tuple(tuple(row) for row in record["rows"]))
    raise DataError(
        f"the record holds {', '.join(record) or 'nothing'}",
        fix="give columns and rows, or an evaluation with aggregates",
    )


def render_readme(readme: Path, results: Path) -> str:
    """The text of `readme` with every marked table rendered from the folder of records. Raises DataError."""
    return _MARKED.sub(lambda found: _rendered(found, results), readme.read_text(encoding="utf-8"))


def stale_tables(readme: Path, results: Path) -> tuple[str, ...]:
    """Names of the marked tables whose text is not what their records give, in order; empty when current."""
    marks = _MARKED.finditer(readme.read_text(encoding="utf-8"))
    return tuple(
        found["record"] + (f":{found['score']}" if found["score"] else "")
        for found in marks
        if found[0] != _rendered(found, results)
    )


def update_readme(readme: Path, results: Path) -> None:
    """Write `render_readme` over the file. Raises DataError and WriteError."""
    write_complete(readme, render_readme(readme, results))


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
    table = table_of(read_json(results / f"{found['record']}.json"), score=found["score"])
    return f"{found['open']}\n{to_markdown(table)}\n{found['close']}"


def _mean_scores(record: Mapping[str, Any]) -> Table:
    groups = record["aggregates"]
    covered = any(group["cover"] is not None for group in groups)
    columns = (*(["Cover"] if covered else []), "Model", *map(_heading, record["metrics"]), "Scenes")
    rows = []
    for group in groups:
        found = [group["scores"].get(name, {}) for name in record["metrics"]]
        cells = [_spread(value, name) for value, name in zip(found, record["metrics"], strict=True)]
        start = [_percent(group["cover"])] if covered else []
        rows.append((*start, group["model"], *cells, max((value.get("count", 0) for value in found), default=0)))
    return Table(columns, tuple(rows))


def _models_by_covers(record: Mapping[str, Any], score: str) -> Table:
    groups = {(group["model"], group["cover"]): group["scores"].get(score, {}) for group in record["aggregates"]}
    models, covers = (tuple(dict.fromkeys(keys)) for keys in zip(*groups, strict=True)) if groups else ((), ())
    rows = [(model, *(_spread(groups.get((model, cover), {}), score) for cover in covers)) for model in models]
    return Table((_heading(score), *map(_percent, covers)), tuple(rows))


def _heading(score: str) -> str:
    """`psnr_cloud` -> `PSNR cloud, dB`."""
    metric, _, region = score.removesuffix("_paper").partition("_")
    unit = {"psnr": ", dB", "sam": ", degrees"}.get(metric, "")
    return " ".join(filter(None, (metric.upper(), region))) + unit


def _spread(found: Mapping[str, Any], name: str) -> str:
    """Mean and standard deviation of an aggregate as JSON holds them: None for NaN, a text for infinity."""
    mean, spread = (math.nan if found.get(key) is None else float(found[key]) for key in ("mean", "std"))
    text = format_score(mean, name)
    return text if math.isnan(spread) or math.isnan(mean) else f"{text} ± {format_score(spread, name)}"


def _percent(share: float | None) -> str:
    return "real clouds" if share is None else f"{100 * share:.0f} %"


if __name__ == "__main__":
    update_readme(*map(Path, sys.argv[1:3]))
