"""`eorestore report`: what runs came to, as Markdown, a page and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of trainings or evaluations, or names in runs/.")
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for report.md, index.html and figures.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report in OUT.")] = False,
) -> None:
    """Write a report from the records of runs."""
    from eorestore.experiments.training_run import RUNS_FOLDER
    from eorestore.reports.run_report import write_report
    from eorestore.reports.writing import refuse_existing

    for name in ("index.html", "report.md"):
        refuse_existing(out / name, overwrite=overwrite)
    typer.echo(write_report(out, [run if run.exists() else RUNS_FOLDER / run for run in runs]))
