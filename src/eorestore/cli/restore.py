"""`eorestore restore`: a scene in, a georeferenced scene out."""

from __future__ import annotations

import json as json_module
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from eorestore.errors import UsageError

Names = Annotated[str | None, typer.Option(metavar="B02,B03,...", help="Band names in file order.")]


def restore(
    scene: Annotated[
        Path, typer.Argument(metavar="IN", help="GeoTIFF, folder of per-band files, picture, or folder of pictures.")
    ],
    *,
    model: Annotated[str, typer.Option("-m", "--model", help="Name, run, checkpoint folder or baseline.")] = "cloud",
    out: Annotated[Path, typer.Option("-o", "--out", help="OUT.tif, OUT.cog.tif, a folder; of a picture OUT.png.")],
    sar: Annotated[
        Path | None, typer.Option(help="Sentinel-1 scene: file or folder with VV and VH; some models need none.")
    ] = None,
    mask: Annotated[str, typer.Option(help="auto, csmask, none, FILE (1 = restore) or SCL.tif:3,8,9,10.")] = "auto",
    mask_margin: Annotated[int, typer.Option(min=0, metavar="PIXELS", help="Widen the mask by so many pixels.")] = 0,
    bands: Names = None,
    sar_bands: Names = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="Unit of IN where it does not say: reflectance, count (DN); of SAR decibel, power, amplitude."
        ),
    ] = None,
    sar_unit: Annotated[str | None, typer.Option(help="Unit of the SAR scene: decibel, power, amplitude.")] = None,
    s2_offset: Annotated[int | None, typer.Option(help="DN added to IN: 1000 from baseline 04.00 on, else 0.")] = None,
    bbox: Annotated[
        str | None, typer.Option(metavar="LEFT,BOTTOM,RIGHT,TOP", help="Cut a window, in the CRS of IN.")
    ] = None,
    tile: Annotated[int | None, typer.Option(min=16, help="Side of a tile in pixels.")] = None,
    overlap: Annotated[int | None, typer.Option(min=0, help="Overlap of blended tiles in pixels.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Tiles a forward.")] = 4,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="MB|SHARE%",
            help="Memory in MB, which chooses the tile; or as 50% the tiles that may run all experts of a fusion.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    tta: Annotated[bool, typer.Option("--tta", help="Mean over eight flips and turns.")] = False,
    save: Annotated[
        str,
        typer.Option(metavar="source,sigma,...", help="Maps to keep: source, consistency, and what the model gives."),
    ] = "",
    scale: Annotated[
        int | None, typer.Option(min=2, max=4, help="Enlargement by bicubic: 2, 3 or 4; networks have their own.")
    ] = None,
    consistent: Annotated[
        bool | None,
        typer.Option(
            "--consistent/--no-consistent",
            help="Correct what is enlarged until, shrunk again, it equals IN; the default of networks, not of bicubic.",
        ),
    ] = None,
    adapt: Annotated[
        int, typer.Option(min=0, metavar="STEPS", help="Let a copy of the weights learn from the scene first.")
    ] = 0,
    adapt_seed: Annotated[int, typer.Option(min=0, help="Seed of --adapt.")] = 0,
    save_adapted: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the adapted weights there.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Clear scene to score the result against.")] = None,
    cog: Annotated[bool, typer.Option("--cog", help="Write a Cloud-Optimized GeoTIFF.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    journal: Annotated[
        bool, typer.Option("--journal/--no-journal", help="Keep finished rows on disk, so that a run can be resumed.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print tiles, memory, bytes and time, and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Rebuild the clouded pixels of a scene, or enlarge a scene or picture of any bands: the model decides.

    Clear pixels of a clouded scene stay bit by bit as they are. An enlarged scene keeps CRS, bands, dtype and nodata,
    has finer pixels, and shrunk again equals IN. With a trained sar-autoencoder IN is a SAR scene, which comes back as
    its latent keeps it.
    """
    from eorestore.cli.progress import Progress
    from eorestore.raster import Unit
    from eorestore.restorer.estimate import estimate
    from eorestore.restorer.request import Request

    share = _share(budget)
    request = Request(
        scene,
        out,
        model=model,
        sar=sar,
        mask=mask,
        mask_margin=mask_margin,
        bands=names(bands),
        sar_bands=names(sar_bands),
        unit=Unit.parse(unit) if unit else None,
        sar_unit=Unit.parse(sar_unit) if sar_unit else None,
        s2_offset=s2_offset,
        bbox=box(bbox),
        tile=tile,
        overlap=overlap,
        batch=batch,
        budget=None if share is not None else _megabytes(budget),
        share=share,
        device=device,
        precision=precision,
        tta=tta,
        save=tuple(save.split(",")),
        scale=scale,
        consistent=consistent,
        adapt=adapt,
        adapt_seed=adapt_seed,
        save_adapted=save_adapted,
        cog=cog,
        overwrite=overwrite,
        resume=resume,
        journal=journal,
    )
    if dry_run:
        facts = estimate(request)
        typer.echo(json_module.dumps(facts, indent=1) if json else _lines(facts))
        return
    from eorestore.api import restore_with_pictures

    quiet = logging.getLogger("eorestore").getEffectiveLevel() >= logging.ERROR
    report = restore_with_pictures(
        request,
        reference=reference,
        progress=Progress("tiles", quiet=quiet),
        adapting=Progress("steps", quiet=quiet),
        command=sys.argv,
    )
    if json:
        typer.echo(json_module.dumps({"output": str(out), **report.facts}, indent=1))
    elif not quiet:
        typer.echo(f"{out}: {_outcome(report.facts)} by {report.facts['model']} in {report.facts['seconds']:.1f} s")
        if "inconsistent_share" in report.facts:
            typer.echo(f"  {report.facts['inconsistent_share']:.1%} of the restored pixels disagree with the SAR")
        for name, value in (report.facts["metrics"] or {}).items():
            typer.echo(f"  {name} {value}")


def _outcome(facts: Mapping[str, Any]) -> str:
    """What was done, in words."""
    enlarged = facts.get("enlargement")
    if enlarged is None:
        return f"{facts['masked_share']:.1%} of the valid pixels restored"
    apart = enlarged["deviation"]["largest_of_range"]
    told = "" if apart is None else f", shrunk again within {apart:.2g} of IN's range,"
    return f"enlarged {enlarged['scale']} times{told}"


def _share(budget: str | None) -> float | None:
    """`50%` as 0.5; None where it is no share. Raises UsageError."""
    if budget is None or not budget.endswith("%"):
        return None
    try:
        share = float(budget[:-1]) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f"a budget of {budget}", fix="give the memory in MB as 800, or a share of tiles as 50%")
    return share


def _megabytes(budget: str | None) -> int | None:
    if budget is None:
        return None
    if not budget.isdigit() or int(budget) < 1:
        raise UsageError(f"a budget of {budget}", fix="give the memory in MB as 800, or a share of tiles as 50%")
    return int(budget)


def names(text: str | None) -> tuple[str, ...] | None:
    """Names in a text with commas."""
    return tuple(part.strip() for part in text.split(",")) if text else None


def box(text: str | None) -> tuple[float, float, float, float] | None:
    """Left, bottom, right, top. Raises UsageError."""
    from eorestore.errors import UsageError

    if text is None:
        return None
    try:
        left, bottom, right, top = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise UsageError(f"{text!r} is no box", fix="--bbox LEFT,BOTTOM,RIGHT,TOP in the CRS of the scene") from None
    return left, bottom, right, top


def _lines(facts: dict[str, object]) -> str:
    told = {"seconds_if_all_is_restored": "unknown until this model has run here once"}
    return "\n".join(
        f"{name.replace('_', ' ')}: {told.get(name) if value is None else value}"
        for name, value in facts.items()
        if name not in {"notes", "warnings"}
    )
