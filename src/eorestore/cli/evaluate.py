"""`eorestore evaluate`: score models on real pairs or under simulated clouds, and write the record."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eorestore.cli.evaluate_images import evaluate_and_write, is_of_images, refuse
from eorestore.errors import UsageError

if TYPE_CHECKING:
    from eorestore.data.manifest import SceneRow
    from eorestore.experiments.cases import Mask
    from eorestore.experiments.evaluation_table import Comparison, EvaluationTable

SEEDS, CLOUD_SIZE = "0,1,2", "20,150"


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Shipped names, runs, folders, baselines.")],
    *,
    data: Annotated[
        list[str],
        typer.Option(
            metavar="PATH", help="CSV of scenes or of images, or a folder of images; of images several, or A,B."
        ),
    ],
    root: Annotated[Path | None, typer.Option(help="Folder that its paths start from; its own by default.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    simulate: Annotated[
        str | None, typer.Option(help="Covers of simulated clouds, as in 0.2,0.4,0.7; real pairs without it.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the simulated clouds.")] = SEEDS,
    cloud_size: Annotated[str, typer.Option(help="Least and largest simulated cloud in pixels.")] = CLOUD_SIZE,
    metrics: Annotated[str | None, typer.Option(help="As in psnr,ssim,sam; the protocol's own without it.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="eorestore or sen12ms-cr; of images rgb, y or bands. The first one by default.")
    ] = None,
    crop: Annotated[int | None, typer.Option(min=1, help="Side of the square cut from the centre.")] = None,
    mask: Annotated[
        str,
        typer.Option(help="On real pairs: the manifest's mask (every pixel without one), none (every pixel) or auto."),
    ] = "manifest",
    strata: Annotated[
        str | None, typer.Option(help="Score apart by any of cloud,thickness,distance,texture,landcover.")
    ] = None,
    oracles: Annotated[
        bool, typer.Option("--oracles", help="Add rows that were shown the answer; of fused models their experts too.")
    ] = False,
    adapt: Annotated[
        int, typer.Option(min=0, metavar="STEPS", help="Score networks a second time, adapted to each scene.")
    ] = 0,
    scale: Annotated[int | None, typer.Option(min=2, help="Images: the enlargement, if no network says it.")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Images: the mean over eight flips and turns.")] = False,
    expert_outputs: Annotated[
        Path | None, typer.Option(help="Images: folder with a folder of stored images for each expert, or set/expert.")
    ] = None,
    experts: Annotated[
        str | None, typer.Option(help="Images: these stored experts in this order; all by name without it.")
    ] = None,
    perceptual: Annotated[
        bool, typer.Option("--perceptual", help="Images: the score of the NTIRE challenges, n/a without its weights.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for evaluation.json, evaluation.md and pictures.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an evaluation that stands there.")] = False,
) -> None:
    """Score models against references, under simulated clouds, or on enlarged images: means, intervals, pictures."""
    paths = _paths(data)
    of_images = {
        "--scale": scale is not None,
        "--tta": tta,
        "--expert-outputs": expert_outputs is not None,
        "--experts": experts is not None,
        "--perceptual": perceptual,
    }
    of_clouds = {
        "--simulate": simulate is not None,
        "--seeds": seeds != SEEDS,
        "--cloud-size": cloud_size != CLOUD_SIZE,
        "--crop": crop is not None,
        "--mask": mask != "manifest",
        "--strata": strata is not None,
        "--adapt": adapt > 0,
    }
    if is_of_images(models, paths):
        refuse(of_clouds, task="super-resolution")
        evaluate_and_write(
            models,
            options={
                "data": [str(path) for path in paths],
                "root": None if root is None else str(root),
                "split": split,
                "protocol": protocol,
                "metrics": None if metrics is None else _names(metrics),
                "scale": scale,
                "tta": tta,
                "oracles": oracles,
                "expert_outputs": None if expert_outputs is None else str(expert_outputs),
                "experts": [] if experts is None else _names(experts),
            },
            perceptual=perceptual,
            as_json=as_json,
            out=out,
            overwrite=overwrite,
        )
        return
    refuse({**of_images, "a second --data": len(paths) > 1}, task="cloud removal")
    from eorestore.experiments.case_pictures import CasePictures
    from eorestore.experiments.evaluate import compare_with_baselines
    from eorestore.experiments.evaluate import evaluate as evaluate_models
    from eorestore.reports.writing import refuse_existing
    from eorestore.tasks.cloud_removal import CLOUD_REMOVAL

    options: dict[str, Any] = {
        "data": str(paths[0]),
        "root": None if root is None else str(root),
        "split": split,
        "simulate": None if simulate is None else read_numbers(simulate, float, "--simulate"),
        "seeds": read_numbers(seeds, int, "--seeds"),
        "cloud_size_px": read_pair(cloud_size),
        "metrics": None if metrics is None else _names(metrics),
        "protocol": protocol or "eorestore",
        "crop": crop,
        "mask": _mask(mask),
        "strata": [] if strata is None else _names(strata),
        "oracles": oracles,
        "adapt": adapt,
    }
    if out is not None:
        for name in ("evaluation.json", "evaluation.md"):
            refuse_existing(out / name, overwrite=overwrite)
    start = time.perf_counter()
    pictures = CasePictures()
    table = evaluate_models(models, watch=None if out is None else pictures.add, **options)
    comparisons = compare_with_baselines(table, CLOUD_REMOVAL.baselines)
    text = _text(table, comparisons)
    if out is not None:
        drawn = pictures.write(out)
        text += "\n".join(pictures.to_markdown(drawn)) + "\n" if drawn else ""
        seconds = time.perf_counter() - start
        scores = {**_scores(table, comparisons), "cases": [asdict(picture) for picture in drawn]}
        _write(out, table, text, config={"models": models, **options}, scores=scores, seconds=seconds)
    typer.echo(json.dumps(_scores(table, comparisons), indent=2) if as_json else text)


def _write(
    folder: Path,
    table: EvaluationTable,
    text: str,
    *,
    config: dict[str, Any],
    scores: dict[str, Any],
    seconds: float,
) -> None:
    from eorestore.data.manifest import read_manifest, select
    from eorestore.experiments.record import hash_paths, make_record, write_record
    from eorestore.reports.writing import write_complete

    manifest = Path(config["data"])
    root = manifest.parent if config["root"] is None else Path(config["root"])
    rows = select(read_manifest(manifest, root=root), config["split"])
    used = [path for row in rows for path in _files(row) if path is not None]
    hashes = hash_paths([manifest, *dict.fromkeys(used)], root=root)
    write_complete(folder / "evaluation.md", text)
    record = make_record(
        "evaluation",
        " ".join(table.models),
        config=config,
        scores=scores,
        seconds=seconds,
        data=hashes,
    )
    write_record(folder / "evaluation.json", record)


def _files(row: SceneRow) -> tuple[Path | None, ...]:
    """What is read of a row; of `mask.tif:3,8` the file."""
    mask = row.mask
    if mask is not None and not Path(mask).exists():
        mask = mask.rpartition(":")[0]
    return row.optical, row.sar, row.reference, row.landcover, None if mask is None else Path(mask)


def _scores(table: EvaluationTable, comparisons: tuple[Comparison, ...]) -> dict[str, Any]:
    from eorestore.experiments.evaluation_table import comparisons_to_json

    return {**table.to_json(), "comparisons": comparisons_to_json(comparisons)}


def _text(table: EvaluationTable, comparisons: tuple[Comparison, ...]) -> str:
    lines = [table.to_markdown()]
    for item in comparisons:
        where = "" if item.cover is None else f" at {100 * item.cover:.0f} % cover"
        lines.append(
            f"{item.model}{where}: {item.difference:+.3g} {item.score} better than the best baseline, {item.best}, "
            "in the mean over places.\n"
        )
    return "\n".join(lines)


def read_numbers(text: str, kind: type[int] | type[float], option: str) -> list[Any]:
    """The numbers of `1,2,3`. Raises UsageError that names the option."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text!r} is no list of numbers", fix=f"write {option} 1,2,3") from None


def read_pair(text: str) -> tuple[float, float]:
    """The sizes of `--cloud-size 20,150`. Raises UsageError."""
    sizes = read_numbers(text, float, "--cloud-size")
    if len(sizes) != 2:
        raise UsageError(f"--cloud-size {text!r} is not two numbers", fix="write --cloud-size 20,150")
    return sizes[0], sizes[1]


def _paths(data: list[str]) -> list[Path]:
    """What --data names; a comma divides, unless there is a file or folder of that very name."""
    parts = (part for text in data for part in ([text] if Path(text).exists() else text.split(",")))
    return [Path(part.strip()) for part in parts]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _mask(text: str) -> Mask:
    if text == "manifest":
        return "manifest"
    if text == "none":
        return "none"
    if text == "auto":
        return "auto"
    raise UsageError(f"--mask {text!r} is not known here", fix="use manifest, none or auto")
