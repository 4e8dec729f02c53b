"""`eorestore model`: list the models, say what one is made of, check a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eorestore.errors import UsageError

if TYPE_CHECKING:
    from eorestore.experiments.calibration import Calibration
    from eorestore.models.catalogue import Resolved
    from eorestore.models.model import Model

_COST_SIDES = (128, 256)  # pixels at which the cost is told, where the model's size rule allows

app = typer.Typer(help="List the models, say what one is made of, check a checkpoint.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """Print the names that `-m` understands."""
    from eorestore.models import catalogue

    shipped = catalogue.shipped_names()
    rows = [(name, "shipped") for name in shipped]
    rows += [
        (alias, f"alias of {name}" + ("" if name in shipped else " (weights not installed)"))
        for alias, name in catalogue.ALIASES.items()
    ]
    rows += [(name, "baseline, no weights") for name in catalogue.BASELINES]
    rows += [(name, f"preset {path}") for name, path in catalogue.preset_names().items()]
    for name, meaning in rows:
        typer.echo(f"{name:24} {meaning}")


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A shipped name, alias, baseline, run, checkpoint folder or preset.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a model's cost, and its parameters by part: trainable, frozen, and reached by no gradient."""
    from eorestore.models import catalogue

    facts = _facts(catalogue.resolve(name))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    typer.echo(f"{facts['name']}: {facts['kind']} of {facts['model']}, {facts['parameters']:,} parameters")
    for key in ("scale", "multiple_of", "phase", "reach", "tiling", "needs_scene", "sha256"):
        if key in facts:
            typer.echo(f"  {key:12} {facts[key]}")
    for size, gmacs in facts["gmacs"].items():
        typer.echo(f"  {f'GMACs {size}':12} {gmacs:.2f} at {size} x {size}: convolutions, linear maps, attention")
    if facts["parts"]:
        typer.echo(f"{'part':24}{'total':>12}{'trainable':>12}{'frozen':>12}{'without gradient':>18}")
    for part, counts in facts["parts"].items():
        typer.echo(
            f"{part:24}{counts['total']:12,}{counts['trainable']:12,}{counts['frozen']:12,}"
            f"{counts['without_gradient']:18,}"
        )


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A shipped name, a checkpoint folder or a run.")],
) -> None:
    """Verify the hash of a checkpoint and compute its stored example again."""
    from eorestore.models.catalogue import checkpoint_in, known_names, resolve
    from eorestore.models.checkpoint import TOLERANCE, check_checkpoint

    if not folder.exists() and str(folder) in known_names():
        found = resolve(str(folder))
        if found.kind != "checkpoint" or found.path is None:
            raise UsageError(f"{folder} is a {found.kind} and has no weights to check", fix="name a checkpoint")
        folder = found.path
    report = check_checkpoint(checkpoint_in(folder) or folder)
    typer.echo(f"{report.folder}: {report.parameters:,} parameters, sha256 {report.sha256}")
    if report.example_error is None:
        typer.echo("hash right; the folder holds no example")
    else:
        typer.echo(f"hash right; example reproduced within {report.example_error:.2g} (limit {TOLERANCE:g})")


@app.command()
def calibrate(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A run or a checkpoint folder that gives sigma.")],
    *,
    data: Annotated[Path, typer.Option(help="Manifest of scenes, or of pictures for a fusion, with place and split.")],
    root: Annotated[Path | None, typer.Option(help="Folder that its paths start from; its own by default.")] = None,
    split: Annotated[str, typer.Option(help="validation or train; test scenes are refused.")] = "validation",
    simulate: Annotated[str, typer.Option(help="Covers of simulated clouds.")] = "0.2,0.4,0.7",
    seeds: Annotated[str, typer.Option(help="Seeds of the simulated clouds.")] = "1,2,3",
    cloud_size: Annotated[str, typer.Option(help="Least and largest simulated cloud in pixels.")] = "20,150",
    cache: Annotated[Path | None, typer.Option(help="Cache of a fusion's experts, in place of running them.")] = None,
    record: Annotated[Path | None, typer.Option(help="JSON file for a record of it.")] = None,
) -> None:
    """Scale a model's sigma so that its 90 % intervals hold, and write the factors into the checkpoint."""
    import time

    from eorestore.experiments.calibration import calibration_record
    from eorestore.experiments.image_models import is_image_model
    from eorestore.experiments.record import write_record
    from eorestore.models.catalogue import resolve
    from eorestore.models.checkpoint import write_calibration

    found = resolve(name)
    if found.kind != "checkpoint" or found.path is None:
        raise UsageError(f"{name} is a {found.kind} and has no checkpoint to write to", fix="name a run or a folder")
    started = time.perf_counter()
    result, hashes, config = (
        _on_images(name, data=data, root=root, split=split, cache=cache)
        if is_image_model(name)
        else _under_clouds(
            name, data=data, root=root, split=split, simulate=simulate, seeds=seeds, cloud_size=cloud_size
        )
    )
    seconds = time.perf_counter() - started
    made = calibration_record(name, result, config=config, hashes=hashes, seconds=seconds)
    write_calibration(found.path, result.to_json())
    if record is not None:
        write_record(record, made)
    factors = " ".join(f"{band} {scale:.2f}" for band, scale in zip(result.bands, result.scale, strict=True))
    typer.echo(f"{found.path}: calibrated on {result.pixels:,} pixels of {', '.join(result.places)}")
    typer.echo(f"factors on sigma: {factors}")
    for place, share in result.before.items():
        after = f", {result.held_out[place]:.1%} with factors of the other places" if result.held_out else ""
        typer.echo(f"{place}: {share:.1%} inside the {result.level:.0%} interval before{after}")


def _under_clouds(
    name: str, *, data: Path, root: Path | None, split: str, simulate: str, seeds: str, cloud_size: str
) -> tuple[Calibration, dict[str, str], dict[str, Any]]:
    from eorestore.cli.evaluate import read_numbers, read_pair
    from eorestore.experiments.calibration import calibrate as fit
    from eorestore.experiments.calibration import scene_hashes
    from eorestore.models.catalogue import read_config, resolve

    path = resolve(name).path
    result = fit(
        name,
        bands=[band["name"] for band in read_config(str(path))["processor"]["output"]],
        data=data,
        root=root,
        split=split,
        covers=read_numbers(simulate, float, "--simulate"),
        seeds=read_numbers(seeds, int, "--seeds"),
        cloud_size_px=read_pair(cloud_size),
    )
    config = {"split": split, "simulate": simulate, "seeds": seeds, "cloud_size": cloud_size}
    return result, scene_hashes(data, root=root, split=split), config


def _on_images(
    name: str, *, data: Path, root: Path | None, split: str, cache: Path | None
) -> tuple[Calibration, dict[str, str], dict[str, Any]]:
    from eorestore.experiments.image_calibration import calibrate_images
    from eorestore.experiments.image_sets import read_image_sets, set_hashes
    from eorestore.models.catalogue import read_config, resolve

    result = calibrate_images(name, data=data, root=root, split=split, cache=cache)
    scale = read_config(str(resolve(name).path))["scale"]
    return result, set_hashes(read_image_sets([data], root=root, split=split, scale=scale)), {"split": split}


def _facts(resolved: Resolved) -> dict[str, Any]:
    from eorestore.models.catalogue import SizeRule
    from eorestore.models.parts import multiply_adds, parameters_by_part
    from eorestore.models.settings import settings_to_dict
    from eorestore.models.table import model_name

    model, sha256 = _model(resolved)
    parts = {
        part.name: {
            "total": part.total,
            "trainable": part.trainable,
            "frozen": part.frozen,
            "without_gradient": part.without_gradient,
        }
        for part in parameters_by_part(model)
    }
    return {
        "name": resolved.name,
        "kind": resolved.kind,
        "model": model_name(model),
        "parameters": sum(counts["total"] for counts in parts.values()),
        "parts": parts,
        "gmacs": {
            str(side): multiply_adds(model, height=side, width=side) / 1e9
            for side in _COST_SIDES
            if parts and side % model.multiple_of == 0
        },
        "settings": settings_to_dict(model.settings),
        **{name: getattr(model, name) for name in SizeRule.__dataclass_fields__},
        **({"sha256": sha256} if sha256 else {}),
    }


def _model(resolved: Resolved) -> tuple[Model, str | None]:
    if resolved.path is None:
        from eorestore.models.table import build_model

        return build_model(resolved.name, {}), None
    if resolved.kind == "preset":
        from eorestore.config import load_config
        from eorestore.models.table import build_model

        config = load_config(resolved.path)
        return build_model(config.model.name, config.model.settings, seed=config.seed), None
    from eorestore.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(resolved.path)
    return checkpoint.model, checkpoint.sha256
