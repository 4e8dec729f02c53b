"""`eorestore view`: two or three rasters under a swipe on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def view(
    before: Annotated[Path, typer.Argument(help="Raster shown on the left.")],
    after: Annotated[Path, typer.Argument(help="Raster shown on the right.")],
    reference: Annotated[Path | None, typer.Argument(help="What the restored scene should be.")] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="HTML file to write.")] = Path("view.html"),
    bands: Annotated[
        str | None, typer.Option(help="One band or three, as B04,B03,B02; chosen by sensor without it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Compare rasters of the same ground on a page with a before/after swipe."""
    from eorestore.raster.bands import canonical_name
    from eorestore.reports.comparison import compare_files
    from eorestore.reports.writing import refuse_existing

    refuse_existing(out, overwrite=overwrite)
    names = tuple(canonical_name(name) for name in bands.split(",")) if bands else None
    compare_files(out, before=before, after=after, reference=reference, bands=names)
    typer.echo(out)
