"""A table as columns and rows of cells, and as Markdown; knows no record."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from eorestore.errors import DataError

Cell = str | int | float | None
_NUMBER = re.compile(r"[+-]?[\d,.]+(?:e[+-]?\d+)?(?: %)?(?: ± [\d.]+)?(?: [(\[].*[)\]])?|-?∞|inf")
_SILENT = ("", "n/a", "reference", "not measured")  # cells that say nothing about their column


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

    @property
    def numeric(self) -> tuple[bool, ...]:
        """By column, whether it holds a number."""
        return tuple(
            any(isinstance(row[index], int | float) for row in self.rows) for index in range(len(self.columns))
        )

    @property
    def to_the_right(self) -> tuple[bool, ...]:
        """By column but the first, whether all that it says is numbers, also with spread, interval or unit."""
        return tuple(index > 0 and self._counts(index) for index in range(len(self.columns)))

    def _counts(self, index: int) -> bool:
        words = [text for row in self.rows if (text := format_cell(row[index])) not in _SILENT]
        return bool(words) and all(_NUMBER.fullmatch(word) for word in words)


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
    rule = ["---:" if flag else "---" for flag in table.numeric]
    return "".join(f"| {' | '.join(line)} |\n" for line in [list(table.columns), rule, *texts])
