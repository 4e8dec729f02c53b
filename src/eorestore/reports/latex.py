"""Tables and figures of a report for LaTeX: FOLDER/generated/SLUG.tex and SLUG.pdf; knows no record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eorestore.reports.page import Section
from eorestore.reports.table import Table, format_cell
from eorestore.reports.writing import write_complete

GENERATED = "generated"
_HEAD = "% Written by `eorestore report --latex` from records; do not edit.\n"
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "∞": r"$\infty$", "<": "$<$",
    ">": "$>$", "|": r"$|$", "²": "$^2$", "\N{MINUS SIGN}": "$-$", "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}", "\N{NO-BREAK SPACE}": "~", "\N{EN DASH}": "--",
}  # fmt: skip


def write_generated(folder: Path, sections: Sequence[Section]) -> tuple[str, ...]:
    """Write what the sections hold into `folder`/generated and return the file names.

    A table is SLUG.tex with its note; a figure is SLUG.pdf, with its note in SLUG-note.tex. Raises WriteError.
    """
    written: dict[str, bytes | str] = {}
    for section in sections:
        if section.table is not None:
            written[f"{section.slug}.tex"] = to_latex(section.table, note=section.note)
        if section.figure is not None:
            written[f"{section.slug}.pdf"] = section.figure.pdf
            written[f"{section.slug}-note.tex"] = f"{_HEAD}{escape(section.note)}\n"
    for name, data in written.items():
        write_complete(folder / GENERATED / name, data)
    return tuple(written)


def to_latex(table: Table, *, note: str = "") -> str:
    """The table as booktabs' tabular no larger than the page, numbers to the right, the note below.

    It needs the packages adjustbox, booktabs and makecell.
    """
    right = table.to_the_right
    places = "".join("r" if flag else "l" for flag in right)
    head = " & ".join(_heading(name, right=flag) for name, flag in zip(table.columns, right, strict=True))
    body = "".join(f"{' & '.join(escape(format_cell(cell)) for cell in row)} \\\\\n" for row in table.rows)
    below = f"\\par\\smallskip\n\\parbox{{\\linewidth}}{{\\footnotesize {escape(note)}}}\n" if note else ""
    return (
        f"{_HEAD}\\begin{{adjustbox}}{{max width=\\linewidth, max totalheight=.75\\textheight}}\n"
        f"\\begin{{tabular}}{{@{{}}{places}@{{}}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\\bottomrule\n"
        f"\\end{{tabular}}\n\\end{{adjustbox}}\n{below}"
    )


def escape(text: str) -> str:
    """The text with LaTeX's own characters and signs that fonts may lack spelt out."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _heading(name: str, *, right: bool) -> str:
    """A heading in at most two lines."""
    words, half = name.split(" "), (len(name) + 1) // 2
    if len(name) < 14 or len(words) == 1:
        return escape(name)
    cut = min(range(1, len(words)), key=lambda place: abs(len(" ".join(words[:place])) - half))
    lines = (" ".join(words[:cut]), " ".join(words[cut:]))
    return rf"\makecell[{'r' if right else 'l'}]{{{escape(lines[0])}\\{escape(lines[1])}}}"
