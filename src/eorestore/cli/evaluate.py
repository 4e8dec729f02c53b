"""`eorestore evaluate`: score models on real pairs or under simulated clouds, and write the record."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eorestore.errors import UsageError

if TYPE_CHECKING:
    from eorestore.data.manifest import SceneRow
    from eorestore.experiments.cases import Mask
    from eorestore.experiments.evaluation_table import Comparison, EvaluationTable


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Shipped names, runs, folders, baselines.")],
    *,
    data: Annotated[Path, typer.Option(help="Manifest: a CSV of scenes with place and split.")],
    root: Annotated[Path | None, typer.Option(help="Folder that its paths start from; its own by default.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    simulate: Annotated[
        str | None, typer.Option(help="Covers of simulated clouds, as in 0.2,0.4,0.7; real pairs without it.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the simulated clouds.")] = "0,1,2",
    cloud_size: Annotated[str, typer.Option(help="Least and largest simulated cloud in pixels.")] = "20,150",
    metrics: Annotated[str | None, typer.Option(help="As in psnr,ssim,sam; the protocol's own without it.")] = None,
    protocol: Annotated[str, typer.Option(help="eorestore or sen12ms-cr.")] = "eorestore",
    crop: Annotated[int | None, typer.Option(min=1, help="Side of the square cut from the centre.")] = None,
    mask: Annotated[
        str,
        typer.Option(help="On real pairs: the manifest's mask (every pixel without one), none (every pixel) or auto."),
    ] = "manifest",
    strata: Annotated[
        str | None, typer.Option(help="Score apart by any of cloud,thickness,distance,texture,landcover.")
    ] = None,
    oracles: Annotated[bool, typer.Option("--oracles", help="Add rows that were shown the answer.")] = False,
    adapt: Annotated[
        int, typer.Option(min=0, metavar="STEPS", help="Score networks a second time, adapted to each scene.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for evaluation.json, evaluation.md and cases/.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an evaluation that stands there.")] = False,
) -> None:
    """Score models against references or under simulated clouds: mean, standard deviation, count."""
    from eorestore.experiments.case_pictures import CasePictures
    from eorestore.experiments.evaluate import compare_with_baselines
    from eorestore.experiments.evaluate import evaluate as evaluate_models
    from eorestore.reports.writing import refuse_existing
    from eorestore.tasks.cloud_removal import CLOUD_REMOVAL

    options: dict[str, Any] = {
        "data": str(data),
        "root": None if root is None else str(root),
        "split": split,
        "simulate": None if simulate is None else read_numbers(simulate, float, "--simulate"),
        "seeds": read_numbers(seeds, int, "--seeds"),
        "cloud_size_px": read_pair(cloud_size),
        "metrics": None if metrics is None else _names(metrics),
        "protocol": protocol,
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
