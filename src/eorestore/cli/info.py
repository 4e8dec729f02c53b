"""`eorestore info`: what a raster, a folder of band files or an .eoz file holds, and what would be assumed of it."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer


def info(
    file: Annotated[Path, typer.Argument(help="GeoTIFF, folder of per-band files, thermal product, or .eoz file.")],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Print grid, bands, units and encoding of a scene, with the rules that supplied what it does not say."""
    facts = _stored(file) if file.suffix.lower() == ".eoz" else _raster(file)
    if json:
        typer.echo(json_module.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        typer.echo(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def _stored(file: Path) -> dict[str, Any]:
    from eorestore.codec.files import stored_facts
    from eorestore.codec.stored_scene import StoredScene

    with StoredScene(file) as scene:
        return stored_facts(file, scene)


def _raster(file: Path) -> dict[str, Any]:
    from eorestore.raster.files import open_raster

    raster = open_raster(file, anywhere=True)
    return {
        "path": str(file),
        "size": list(raster.grid.size),
        "pixel": list(raster.grid.pixel_size),
        "bounds": list(raster.grid.bounds),
        "crs": raster.grid.crs.split('"')[1] if '"' in raster.grid.crs else raster.grid.crs,
        "bands": [f"{band.name} ({band.unit})" for band in raster.bands],
        "dtype": raster.encoding.dtype,
        "scale": raster.encoding.scale,
        "offset": raster.encoding.offset,
        "nodata": raster.encoding.nodata,
        "date": raster.date.date().isoformat() if raster.date else None,
        "rules": list(raster.notes),
    }
