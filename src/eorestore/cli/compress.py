"""`eorestore compress`, `decompress`, `export`: SAR scenes to .eoz files and back."""

from __future__ import annotations

import json as json_module
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eorestore.codec.preset_figures import preset_help

if TYPE_CHECKING:
    from eorestore.cli.progress import Progress
    from eorestore.codec.modes import Wish

logger = logging.getLogger(__name__)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")]
Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
Stored = Annotated[Path, typer.Argument(metavar="IN.eoz", help="What eorestore compress wrote.")]
_RASTERS = (".tif", ".tiff")


def compress(
    scene: Annotated[
        Path, typer.Argument(metavar="IN", help="GeoTIFF, folder of VV and VH files, or folder of scenes.")
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="OUT.eoz; for a folder of scenes a folder.")],
    quality: Annotated[float | None, typer.Option(help="0 (smallest) to 10; 5 where nothing is said.")] = None,
    bpp: Annotated[float | None, typer.Option(help="Bits per pixel per band that the file may take.")] = None,
    psnr: Annotated[float | None, typer.Option(help="PSNR30 in dB to be reached.")] = None,
    max_error: Annotated[
        float | None, typer.Option(metavar="DB", help="Bound in dB that every valid pixel keeps.")
    ] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Integers as they are; floats to 0.01 dB.")] = False,
    quicklook: Annotated[bool, typer.Option("--quicklook", help="Smallest; speckle is lost, means are kept.")] = False,
    preset: Annotated[str | None, typer.Option(help=preset_help())] = None,
    check: Annotated[bool, typer.Option("--check", help="Decode the file again and print its errors.")] = False,
    bands: Annotated[str | None, typer.Option(metavar="VV,VH", help="Band names in file order.")] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", "--sar-unit", help="Unit of IN: decibel, power, amplitude.")
    ] = None,
    nodata: Annotated[float | None, typer.Option(help="Nodata value of IN where it declares none.")] = None,
    tile: Annotated[int, typer.Option(help="Side of a tile in pixels: 256 or 512.")] = 512,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write SAR scenes as .eoz files: lossless, within a bound, or at a rate; what was written is checked."""
    from eorestore.codec.modes import Wish
    from eorestore.errors import DataError

    wish = Wish(quality, bpp, psnr, max_error, lossless, preset, quicklook).checked()
    names = tuple(part.strip() for part in bands.split(",")) if bands else None
    options = {"bands": names, "unit": unit, "nodata": nodata, "tile": tile, "check": check, "overwrite": overwrite}
    if not scene.is_dir() or out.suffix:
        results = [_compress_one(scene, out, wish, options)]
        failed: list[Path] = []
    else:
        results, failed = _compress_all(_pairs(scene, out, overwrite=overwrite), wish, options)
    if json:
        typer.echo(json_module.dumps(results[0] if out.suffix else results, indent=1))
    elif not _quiet():
        for facts in results:
            _tell(facts)
    if failed:
        raise DataError(
            f"{len(failed)} of {len(failed) + len(results)} scenes failed: {', '.join(path.name for path in failed)}",
            fix="see the errors above; the others were written",
        )


def decompress(
    scene: Stored,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="OUT.tif or OUT.cog.tif.")],
    window: Annotated[
        tuple[int, int, int, int] | None, typer.Option(metavar="COL ROW WIDTH HEIGHT", help="Only these pixels.")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Write damaged tiles as nodata instead of stopping.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write an .eoz file, or a window of it, as a GeoTIFF in the unit of what was compressed."""
    from eorestore.api import write_beside
    from eorestore.codec.files import decompress_file

    report = decompress_file(
        scene, out, window=window, keep_going=keep_going, overwrite=overwrite, progress=_progress()
    )  # fmt: skip
    facts = {"command": sys.argv, **report.facts}
    write_beside(out, facts, report.small)
    if json:
        typer.echo(json_module.dumps({"output": str(out), **facts}, indent=1))
    elif not _quiet():
        place = report.facts["window"]
        typer.echo(f"{out}: {place['height']} x {place['width']} pixels in {report.facts['seconds']:.1f} s")


def export(
    scene: Stored,
    out: Annotated[Path, typer.Argument(metavar="OUT.tif", help="A Cloud-Optimized GeoTIFF with LERC_ZSTD.")],
    *,
    max_error: Annotated[
        float | None, typer.Option(help="What LERC may change a value by; 0.005 dB for decibel, else 0.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write an .eoz file as a COG that GDAL reads without this package."""
    from eorestore.codec.files import export_file

    facts = export_file(scene, out, max_error=max_error, overwrite=overwrite, progress=_progress())
    if json:
        typer.echo(json_module.dumps({"output": str(out), **facts}, indent=1))
    elif not _quiet():
        typer.echo(f"{out}: {facts['bytes']} bytes in {facts['seconds']:.1f} s")


def _compress_one(scene: Path, out: Path, wish: Wish, options: dict[str, Any]) -> dict[str, Any]:
    from eorestore.api import write_beside
    from eorestore.codec.files import CompressRequest, compress_file

    report = compress_file(CompressRequest(scene, out, wish, progress=_progress(), **options))
    facts = {"command": sys.argv, **report.facts}
    write_beside(out, facts, report.small)
    return {"output": str(out), **facts}


def _compress_all(
    pairs: list[tuple[Path, Path]], wish: Wish, options: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Facts of the scenes that could be compressed, and those that could not: one bad scene stops no archive."""
    from eorestore.errors import EXIT_DATA, EorestoreError

    results, failed = [], []
    for scene, out in pairs:
        try:
            results.append(_compress_one(scene, out, wish, options))
        except EorestoreError as error:
            if error.exit_code != EXIT_DATA:
                raise
            typer.echo(f"error: {scene.name}: {error.message}\nfix: {error.fix}", err=True)
            failed.append(scene)
    return results, failed


def _pairs(scene: Path, out: Path, *, overwrite: bool) -> list[tuple[Path, Path]]:
    """Scenes with their outputs. Raises DataError for a folder without scenes, WriteError before the first is coded."""
    from eorestore.errors import DataError, WriteError

    scenes = sorted(path for path in scene.iterdir() if path.suffix.lower() in _RASTERS)
    if not scenes:
        raise DataError(f"{scene} holds no scene", fix="give a folder of GeoTIFFs; for one of band files name OUT.eoz")
    pairs = [(path, out / f"{path.stem}.eoz") for path in scenes]
    there = [str(target) for _, target in pairs if target.exists()]
    if there and not overwrite:
        raise WriteError(f"{there[0]} exists already", fix="choose another folder or add --overwrite")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{out} cannot be made: {error}", fix="choose another folder") from None
    return pairs


def _tell(facts: dict[str, Any]) -> None:
    text = f"{facts['output']}: {facts['bytes']} bytes, {facts['bits_per_pixel']:.3f} bits per pixel"
    text += f" ({facts['ratio_to_stored_type']:.1f} times smaller than {facts['stored_type']}), {facts['mode']}"
    if facts.get("psnr30_db") is not None:
        text += f", PSNR30 {facts['psnr30_db']:.2f} dB, largest error {facts['largest_error_db']:.3f} dB"
    typer.echo(f"{text}, in {facts['seconds']:.1f} s")
    for name, value in facts.get("check", {}).items():
        typer.echo(f"  {name} {value}")


def _quiet() -> bool:
    return logging.getLogger("eorestore").getEffectiveLevel() >= logging.ERROR


def _progress() -> Progress:
    from eorestore.cli.progress import Progress

    return Progress("Mpx", quiet=_quiet(), per=1_000_000)
