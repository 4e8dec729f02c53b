"""`eorestore zero-shot`: one scene in, the same at 2 to 16 times the size out, by a network that learns the scene."""

from __future__ import annotations

import json as json_module
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


def zero_shot(
    scene: Annotated[
        Path, typer.Argument(metavar="IN", help="GeoTIFF, NetCDF, HDF5, npz or npy; see docs/thermal-inputs.md.")
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="OUT.tif or OUT.cog.tif; of a picture OUT.png.")],
    scale: Annotated[int, typer.Option(help="2, 3, 4, 8 or 16 times as large; with a guide any of 2 to 16.")] = 2,
    guide: Annotated[
        Path | None, typer.Option(help="Optical scene of the same place; see docs/guided-sharpening.md.")
    ] = None,
    guide_bands: Annotated[
        str, typer.Option(metavar="ndvi,ndbi,fractional-cover,bands,B04,...", help="What is taken from the guide.")
    ] = "ndvi",
    guide_unit: Annotated[
        str | None, typer.Option(help="Unit of the guide where it does not say: reflectance, count (DN).")
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="auto|network|atprk|tsharp", help="With a guide; auto takes the best on IN itself.")
    ] = "auto",
    preset: Annotated[str, typer.Option(help="fast, balanced, quality, plan, or a YAML file.")] = "balanced",
    psf: Annotated[
        str | None,
        typer.Option(metavar="mean|gaussian:MTF|bicubic|FILE.npy", help="What a pixel of IN is of finer ones."),
    ] = None,
    normalize: Annotated[
        str | None, typer.Option(metavar="percentile|absolute", help="Scale for the network; never clipped.")
    ] = None,
    tta: Annotated[
        str | None,
        typer.Option(metavar="none|mean|median", help="Of eight flips and turns; else the preset's."),
    ] = None,
    shifts: Annotated[int, typer.Option(min=0, help="Passes over randomly shifted patches; 0 for none.")] = 0,
    sharpen: Annotated[
        float | None, typer.Option(min=0, help="Unsharp mask at the end; it breaks the agreement with IN.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of crops, turns and drawn weights; else the preset's.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("-s", "--set", metavar="KEY=VALUE", help="As in learning.steps=300.")
    ] = None,
    bands: Annotated[str | None, typer.Option(metavar="NAME,...", help="Band or variable names.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of IN where it does not say: kelvin.")] = None,
    bbox: Annotated[
        str | None, typer.Option(metavar="LEFT,BOTTOM,RIGHT,TOP", help="Cut a window, in the CRS of IN.")
    ] = None,
    save: Annotated[
        str,
        typer.Option(
            metavar="sigma,npy,turbo,...",
            help="What to keep beside OUT: the maps sigma and source, npy, the pictures turbo, grey and comparison, "
            "and checkpoint, the network that learned the scene.",
        ),
    ] = "",
    limits: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="Where the colours of pictures begin and end; else percentiles of IN."),
    ] = None,
    tile: Annotated[int | None, typer.Option(min=16, help="Side of a tile in pixels of IN.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Enlarge one scene by a network that first learns it: kelvin in, kelvin out, gaps stay gaps.

    Averaged over its pixels, the result is IN again. Where the network shows no gain on squares of the scene that it
    did not learn, bicubic enlargement with the same property is returned, and the sidecar says so. With a guide the
    result is made in memory, and regression with area-to-point kriging competes with the network.
    """
    from eorestore.api import restore_with_pictures
    from eorestore.cli.progress import Progress
    from eorestore.cli.restore import box, names
    from eorestore.errors import UsageError
    from eorestore.raster import Unit
    from eorestore.restorer.guide import Guide, parse_method
    from eorestore.restorer.request import Request
    from eorestore.restorer.zero_shot_recipe import SceneTask, load_recipe

    if guide is None and (method != "auto" or guide_unit or guide_bands != "ndvi"):
        raise UsageError("--method, --guide-bands and --guide-unit go with a guide", fix="add --guide FILE")
    chosen = {
        "inference.sensor": psf,
        "inference.normalize": normalize,
        "inference.ensemble": tta,
        "inference.sharpen": sharpen,
        "seed": seed,
    }
    if shifts:
        chosen |= {"inference.passes": "shifted", "inference.shifts": shifts}
    given = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    request = Request(
        scene,
        out,
        model="zero-shot",
        mask="none",
        bands=names(bands),
        unit=Unit.parse(unit) if unit else None,
        bbox=box(bbox),
        tile=tile,
        save=tuple(save.split(",")),
        zero_shot=SceneTask(load_recipe(preset, [*given, *(settings or [])]), scale),
        guide=None
        if guide is None
        else Guide(
            guide, names(guide_bands) or (), parse_method(method), Unit.parse(guide_unit) if guide_unit else None
        ),
        overwrite=overwrite,
        resume=resume,
    )
    quiet = logging.getLogger("eorestore").getEffectiveLevel() >= logging.ERROR
    report = restore_with_pictures(
        request,
        progress=Progress("tiles", quiet=quiet),
        adapting=Progress("steps", quiet=quiet),
        limits=_limits(limits),
        command=sys.argv,
    )
    if json:
        typer.echo(json_module.dumps({"output": str(out), **report.facts}, indent=1))
    elif not quiet:
        for line in _outcome(out, report.facts) if guide is None else _guided_outcome(out, report.facts):
            typer.echo(line)


def _limits(text: str | None) -> tuple[float, float] | None:
    """`280,320` as numbers. Raises UsageError."""
    from eorestore.errors import UsageError

    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} are no limits", fix="--limits LOW,HIGH, as in 280,320") from None
    return low, high


def _outcome(out: Path, facts: Mapping[str, Any]) -> list[str]:
    """What was done, in words."""
    told, apart = facts["zero_shot"], facts["enlargement"]["deviation"]["largest"]
    lines = [f"{out}: enlarged {told['scale']} times by {told['method']} in {facts['seconds']:.1f} s"]
    judged = told["judged"]
    if judged is not None:
        lines.append(
            f"  on squares that were not learned: {judged['rmse_blend']:.4g}, "
            f"bicubic with the same means {judged['rmse_bicubic']:.4g}"
        )
    if apart:
        lines.append(f"  averaged again, off by {max(apart.values()):.2g} at most")
    if facts.get("outputs"):
        lines.append(f"  beside it: {', '.join(facts['outputs'].values())}")
    return lines


def _guided_outcome(out: Path, facts: Mapping[str, Any]) -> list[str]:
    """The same where there was a guide."""
    told = facts["guided"]
    lines = [f"{out}: enlarged {told['scale']} times by {told['method']} in {facts['seconds']:.1f} s"]
    if told["rmse_kelvin"]:
        errors = ", ".join(f"{name} {value:.4g}" for name, value in told["rmse_kelvin"].items())
        lines.append(f"  on held-back squares of the scene, K: {errors}")
    if told["worse_than_bicubic"]:
        lines.append("  which is worse than bicubic with the same means: --method auto would not take it")
    return [*lines, f"  averaged again, off by {told['deviation_kelvin']:.2g} K at most"]
