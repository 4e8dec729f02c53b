"""`eorestore ablate`: run a study, or say what it would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eorestore.errors import EXIT_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eorestore.experiments.study import Study


def ablate(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A YAML file, or the name of a shipped study.")],
    *,
    settings: Annotated[
        list[str] | None, typer.Option("-s", "--set", metavar="KEY=VALUE", help="As in budget.train_flops=1e12.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of records; runs/study-NAME without it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study that stands there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and how long it takes.")] = False,
    only: Annotated[str | None, typer.Option(help="Names of rows, as in v0,v1; all without it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Runs to do at most.")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0, help="Begin no run after so many minutes.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train failed runs anew.")] = False,
) -> None:
    """Train and score the rows of a study at one budget: a record a run, study.json and study.md.

    Ends with exit code 4 when a run failed; a run that is skipped for lack of weights is no failure.
    """
    from eorestore.experiments.study import load_study

    chosen = load_study(study, settings or ())
    names = [name.strip() for name in only.split(",")] if only else []
    if dry_run:
        for line in _plan_lines(chosen, names):
            typer.echo(line)
        return
    from eorestore.experiments.ablation import ablate as run_study

    folder = out or Path("runs") / f"study-{chosen.name}"
    try:
        result = run_study(
            chosen,
            out=folder,
            resume=resume,
            only=names,
            limit=limit,
            max_minutes=max_minutes,
            retry_failed=retry_failed,
            report=_say,
        )
    except KeyboardInterrupt:
        typer.echo(f"interrupted; go on with: eorestore ablate {study} -o {folder} --resume", err=True)
        raise
    typer.echo((folder / "study.md").read_text(encoding="utf-8"))
    typer.echo(f"{folder}: {', '.join(f'{count} {status}' for status, count in result.counts.items())}")
    if result.counts["left"]:
        typer.echo(f"go on with: eorestore ablate {study} -o {folder} --resume")
    if result.failed:
        typer.echo(f"failed: {', '.join(result.failed)}", err=True)
        raise typer.Exit(EXIT_DATA)


def _plan_lines(study: Study, only: list[str]) -> Iterator[str]:
    from eorestore.experiments.study_plan import plan

    planned = plan(study, only=only)
    seeds = {row.name: seed + 1 for row, seed in study.runs()}
    share = study.budget.tune_share
    yield (
        f"study       {study.name}: {len(planned)} rows, {sum(seeds[item.row.name] for item in planned)} runs, "
        f"{study.budget.train_flops:.3g} FLOPs a training"
    )
    wanted = study.evaluate
    clouds = f", covers {', '.join(f'{cover:g}' for cover in wanted.covers)}, {len(wanted.seeds)} seeds of clouds"
    clouds = clouds if study.base.get("task") == "cloud-removal" else ""
    yield f"scored on   {' and '.join(wanted.splits)} places{clouds}; against {study.reference}"
    yield f"{'row':32}{'params':>10}{'GFLOPs/step':>13}{'steps':>8}{'trials':>8}{'seeds':>7}{'minutes':>9}"
    total = 0.0
    for item in planned:
        name = item.row.name
        if item.cost is None:
            reason = f"skipped: {item.skipped}" if item.skipped else f"scored as it is: {item.row.baseline}"
            yield f"{name:32}{reason}"
            continue
        seconds = item.seconds * (seeds[name] + share * item.trials)
        total += seconds
        yield (
            f"{name:32}{item.cost.parameters:>10,}{item.cost.flops / 1e9:>13.2f}{item.steps:>8}{item.trials:>8}"
            f"{seeds[name]:>7}{seconds / 60:>9.1f}"
        )
    yield f"about {total / 3600:.1f} h on this machine, from one timed step a row, without data, validation and scoring"


def _say(name: str, record: dict[str, Any]) -> None:
    """A line for a validation, and one for the end of a run."""
    if record["kind"] == "validation":
        typer.echo(f"{name}  step {record['step']}  loss {record['loss']:.5g}  {record['seconds']:.0f} s")
    elif record["kind"] != "train":
        typer.echo(f"{name}  {record['kind']}{': ' + record['reason'] if record.get('reason') else ''}")
