"""`eorestore demo`: see the package at work without any data of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the scene, the result and the page.")] = Path(
        "demo"
    ),
    model: Annotated[str, typer.Option("-m", "--model", help="What restores the scene.")] = "cloud",
    size: Annotated[int, typer.Option(min=64, max=4096, help="Pixels a side.")] = 384,
    seed: Annotated[int, typer.Option(help="Another seed is another place.")] = 7,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo in OUT.")] = False,
) -> None:
    """Invent a cloudy scene, restore it, and show the result on a page."""
    from eorestore.api import restore
    from eorestore.reports.demo import make_demo

    page = make_demo(out, restore=restore, model=model, size=size, seed=seed, overwrite=overwrite)
    typer.echo(f"restored scene: {out / 'restored.tif'}")
    typer.echo(f"page: {page.resolve().as_uri()}")
