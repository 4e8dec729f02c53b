"""`eorestore report`: what runs, evaluations, comparisons and studies came to, as Markdown, a page and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    records: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|RECORD|STUDY...",
            help="Folders of trainings, evaluations, comparisons or studies, names in runs/, or files of records.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for report.md, index.html and figures.")],
    latex: Annotated[
        Path | None, typer.Option(help="Folder of a paper, whose generated/ gets every table and figure.")
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=0, help="Scenes that every main row of a study restores, to be shown side by side.")
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report in OUT.")] = False,
) -> None:
    """Write a report from records: tables, plots, cases, and what was hoped for against what was measured."""
    from eorestore.experiments.training_run import RUNS_FOLDER
    from eorestore.reports.run_report import write_report
    from eorestore.reports.writing import refuse_existing

    for name in ("index.html", "report.md"):
        refuse_existing(out / name, overwrite=overwrite)
    paths = [path if path.exists() else RUNS_FOLDER / path for path in records]
    typer.echo(write_report(out, paths, latex=latex, pictures=pictures))
