"""`eorestore compare`: models side by side, by score and by cost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from eorestore.cli.evaluate import read_numbers, read_pair
from eorestore.errors import UsageError

if TYPE_CHECKING:
    from eorestore.experiments.compare import ModelComparison
    from eorestore.experiments.evaluation_table import EvaluationTable


def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Shipped names, runs, folders, baselines, or records of evaluate."),
    ],
    *,
    data: Annotated[Path | None, typer.Option(help="Manifest to score models on; costs alone without it.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that its paths start from; its own by default.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    simulate: Annotated[
        str | None, typer.Option(help="Covers of simulated clouds, as in 0.2,0.4,0.7; real pairs without it.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the simulated clouds.")] = "0,1,2",
    cloud_size: Annotated[str, typer.Option(help="Least and largest simulated cloud in pixels.")] = "20,150",
    crop: Annotated[int | None, typer.Option(min=1, help="Side of the square cut from the centre.")] = None,
    mask: Annotated[
        Literal["manifest", "none", "auto"],
        typer.Option(help="On real pairs: the manifest's mask (every pixel without one), none (every pixel) or auto."),
    ] = "manifest",
    sizes: Annotated[str, typer.Option(help="Sides of the images that costs are measured on.")] = "128,256,512",
    rounds: Annotated[int, typer.Option(min=1, help="Timed passes of each model, in turns.")] = 5,
    no_cost: Annotated[bool, typer.Option("--no-cost", help="Compare scores alone.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 10_000,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for comparison.json and comparison.md.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a comparison that stands there.")] = False,
) -> None:
    """Compare models with the first one: paired differences with intervals, parameters, FLOPs, time, memory."""
    from eorestore.experiments.compare import ModelComparison, compare_tables
    from eorestore.experiments.profile import profile_models
    from eorestore.reports.writing import refuse_existing

    if out is not None:
        for name in ("comparison.json", "comparison.md"):
            refuse_existing(out / name, overwrite=overwrite)
    records = [Path(name) for name in models if name.endswith(".json")]
    named = [name for name in models if not name.endswith(".json")]
    options: dict[str, Any] = {
        "data": None if data is None else str(data),
        "root": None if root is None else str(root),
        "split": split,
        "simulate": None if simulate is None else read_numbers(simulate, float, "--simulate"),
        "seeds": read_numbers(seeds, int, "--seeds"),
        "cloud_size_px": read_pair(cloud_size),
        "crop": crop,
        "mask": mask,
    }
    sides = read_numbers(sizes, int, "--sizes")
    if any(side < 1 for side in sides):
        raise UsageError(f"--sizes {sizes} names no size", fix="write --sizes 128,256")
    start = time.perf_counter()
    table = _table(named, records, options)
    profiles = () if no_cost or not named else profile_models(named, sizes=sides, rounds=rounds)
    if table is None and not profiles:
        raise UsageError("nothing to compare by", fix="give --data MANIFEST, or leave out --no-cost")
    if table is None:
        comparison = ModelComparison(tuple(named), {}, (), profiles, resamples)
    else:
        comparison = compare_tables(table, profiles=profiles, resamples=resamples)
    if out is not None:
        config = {"models": models, **options, "sizes": sides, "rounds": rounds, "resamples": resamples}
        _write(out, comparison, config=config, records=records, seconds=time.perf_counter() - start)
    typer.echo(comparison.to_markdown())


def _table(named: list[str], records: list[Path], options: dict[str, Any]) -> EvaluationTable | None:
    """The scores of models and records together, in that order; None where there are no scores."""
    from eorestore.experiments.compare import METRICS, join_tables, read_evaluations
    from eorestore.experiments.evaluate import evaluate

    tables = [read_evaluations(records)] if records else []
    if named and options["data"] is not None:
        tables.insert(0, evaluate(named, metrics=METRICS, **options))
    elif named and records:
        raise UsageError("models and records are compared, and the models have no scores", fix="add --data MANIFEST")
    return join_tables(tables) if tables else None


def _write(
    folder: Path, comparison: ModelComparison, *, config: dict[str, Any], records: list[Path], seconds: float
) -> None:
    from eorestore.experiments.record import hash_path, make_record, write_record
    from eorestore.reports.writing import write_complete

    hashes = {str(path): hash_path(path) for path in records}
    if config["data"] is not None:
        hashes |= _scene_hashes(Path(config["data"]), config["root"], config["split"])
    write_complete(folder / "comparison.md", comparison.to_markdown())
    record = make_record(
        "comparison",
        " ".join(comparison.models),
        config=config,
        scores=comparison.to_json(),
        seconds=seconds,
        data=hashes,
    )
    write_record(folder / "comparison.json", record)


def _scene_hashes(manifest: Path, root: str | None, split: str) -> dict[str, str]:
    from eorestore.data.manifest import read_manifest, select
    from eorestore.experiments.record import hash_paths

    folder = manifest.parent if root is None else Path(root)
    rows = select(read_manifest(manifest, root=folder), split)
    used = [path for row in rows for path in (row.optical, row.sar, row.reference) if path is not None]
    return hash_paths([manifest, *used], root=folder)
