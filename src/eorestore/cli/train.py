"""`eorestore train` and `eorestore watch`: begin, continue and look at a training."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eorestore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from eorestore.config import RunConfig

Record = dict[str, Any]
RUNS = Path("runs")
_BARS = "▁▂▃▄▅▆▇█"


def train(
    *,
    config: Annotated[str | None, typer.Option("-c", "--config", help="A preset: its name or a YAML file.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("-s", "--set", help="key=value laid over the preset, as in training.steps=100.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; the preset's own without it.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")] = RUNS,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run NAME.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few small batches, a validation and a checkpoint.")] = False,
) -> None:
    """Train a model into runs/NAME: checkpoints best/ and last/, state, log, pictures, record."""
    chosen = _choose(config, override or [], name=name, out=out, resume=resume)
    if dry_run:
        for line in plan_lines(chosen, out / chosen.name):
            typer.echo(line)
        return
    from eorestore.experiments.training_run import train as train_run

    steps = 3 if smoke else chosen.training.steps
    try:
        run = train_run(
            chosen,
            out=out,
            resume=resume,
            smoke=smoke,
            report=lambda record: typer.echo(record_line(record, steps=steps, best_by=chosen.training.best_by)),
        )
    except KeyboardInterrupt:
        typer.echo(f"interrupted; go on with: eorestore train --name {chosen.name} -o {out} --resume", err=True)
        raise
    typer.echo(f"{run.folder}: {run.result.steps} steps in {_duration(run.result.seconds)}")
    for kept in run.result.best[:1]:
        typer.echo(f"best at step {kept.step}: {chosen.training.best_by} {kept.score:.5g}")


def watch(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run in runs/.")],
    *,
    once: Annotated[bool, typer.Option("--once", help="Show it once, even on a terminal.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 2.0,
) -> None:
    """Show a training: step, losses, speed, time left, best score; refreshed on a terminal until it ends."""
    from rich.console import Console
    from rich.live import Live

    folder = find_run(run)
    console = Console()
    if once or not console.is_terminal:
        console.print(_panel(folder))
        return
    with Live(_panel(folder), console=console) as live:
        while not _summary(folder)["finished"]:
            time.sleep(every)
            live.update(_panel(folder))


def find_run(run: str) -> Path:
    """The folder of a run given by path or by name. Raises UnknownNameError."""
    from eorestore.errors import UnknownNameError

    for folder in (Path(run), RUNS / run):
        if (folder / "config.yaml").is_file():
            return folder
    known = [path.parent.name for path in RUNS.glob("*/config.yaml")]
    raise UnknownNameError("run", run, known or ["none yet"])


def plan_lines(config: RunConfig, folder: Path) -> list[str]:
    """What a training would do, from its configuration alone."""
    from eorestore.data.rows import rows_of
    from eorestore.training.schedule import learning_rate

    settings, data = config.training, config.data
    seen = settings.steps * settings.batch * settings.accumulate
    lines = [
        f"run         {folder}{' (exists)' if folder.exists() else ''}",
        f"task        {config.task}, processor {config.processor}",
        f"model       {config.model.name} {config.model.settings}",
    ]
    if data.manifest is not None:
        splits = [row.split for row in rows_of(config.task, data)]
        counts = ", ".join(f"{splits.count(split)} {split}" for split in sorted(set(splits)))
        lines.append(f"scenes      {data.manifest}: {counts}")
    if data.synthetic:
        lines.append(f"synthetic   {data.synthetic} scenes of {data.synthetic_size} pixels a side")
    rates = [learning_rate(settings, step) for step in (0, settings.warmup, settings.steps // 2, settings.steps - 1)]
    lines += [
        f"losses      {_weights(config.losses)}",
        *(f"  from {stage.start:<7.0%}{_weights(stage.losses)}" for stage in config.stages),
        f"training    {settings.steps} steps of {settings.batch} x {settings.accumulate} crops of {data.crop} pixels, "
        f"{seen / data.items_per_epoch:.1f} epochs, {settings.precision}",
        f"rate        {' -> '.join(f'{rate:.3g}' for rate in rates)} (first, warm, middle, last)",
        f"validation  {data.validation_items} items every {settings.validate_every} steps, "
        f"{settings.keep_best} kept by the {settings.best_is} {settings.best_by}",
        f"hash        {config.hash}",
    ]
    return lines


def _weights(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{weight:g} {name}" for name, weight in losses.items())


def record_line(record: Record, *, steps: int, best_by: str) -> str:
    """One record of the log as a line; of the scores by region only `best_by`."""
    shown = "  ".join(f"{name} {_number(record[name])}" for name in _shown(record, best_by))
    return f"{record['kind']:10} {record['step']:>{len(str(steps))}}/{steps}  {shown}"


def _shown(record: Record, best_by: str) -> list[str]:
    names = [name for name in record if name not in ("kind", "step", "seconds", "seconds_per_step")]
    by_region = record["kind"] == "validation"
    return [name for name in names if not by_region or "_" not in name or name == best_by]


def read_preset(config: str, override: list[str]) -> RunConfig:
    """A preset by its name or file, with `key=value` laid over it. Raises UnknownNameError and ConfigError."""
    from eorestore.config import load_config
    from eorestore.models.catalogue import find_preset

    path = Path(config)
    return load_config(path if path.suffix in (".yaml", ".yml") else find_preset(config), override)


def _choose(config: str | None, override: list[str], *, name: str | None, out: Path, resume: bool) -> RunConfig:
    from dataclasses import replace

    if config is not None:
        chosen = read_preset(config, override)
    elif resume and name is not None:
        path = out / name / "config.yaml"
        if not path.is_file():
            raise UsageError(f"no run at {path.parent}", fix="name a run that was begun, or begin one with -c PRESET")
        chosen = read_preset(str(path), override)
    else:
        raise UsageError("no preset is given", fix="add -c PRESET, or --name RUN --resume")
    return replace(chosen, name=name or chosen.name)


def _summary(folder: Path) -> Record:
    from eorestore.config import load_config
    from eorestore.training.log import read_log

    config = load_config(folder / "config.yaml")
    records = list(read_log(folder / "metrics.jsonl"))
    training = [record for record in records if record["kind"] == "train"]
    validation = [record for record in records if record["kind"] == "validation"]
    scored = [record for record in validation if record.get(config.training.best_by) is not None]
    pick = min if config.training.best_is == "lowest" else max
    step = training[-1]["step"] if training else 0
    steps = config.training.steps
    return {
        "config": config,
        "training": training,
        "validation": validation,
        "best": pick(scored, key=lambda record: record[config.training.best_by]) if scored else None,
        "step": step,
        "left": _seconds_left(training[-50:], steps),
        "silent": time.time() - (folder / "metrics.jsonl").stat().st_mtime if records else math.nan,
        "finished": step >= steps or (folder / "record.json").exists(),
    }


def _panel(folder: Path) -> RenderableType:
    from rich.table import Table

    now = _summary(folder)
    config: RunConfig = now["config"]
    steps = config.training.steps
    table = Table(show_header=False, box=None, title=str(folder), title_justify="left", pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    state = "finished" if now["finished"] else f"time left {_duration(now['left'])}"
    table.add_row("step", f"{now['step']} of {steps} ({now['step'] / steps:.0%}), {state}")
    if not now["finished"] and not math.isnan(now["silent"]):
        table.add_row("last word", f"{_duration(now['silent'])} ago")
    if now["training"]:
        newest = now["training"][-1]
        for name in (key for key in newest if key.startswith("loss")):
            curve = [record[name] for record in now["training"] if record.get(name) is not None]
            table.add_row(name, f"{_number(newest[name]):12} {_sparkline(curve)}")
        for name in ("lr", "grad_norm", "images_per_s"):
            table.add_row(name, _number(newest[name]))
    best_by = config.training.best_by
    if now["validation"]:
        newest = now["validation"][-1]
        scores = ", ".join(f"{name} {_number(newest[name])}" for name in _shown(newest, best_by))
        table.add_row("validation", f"at step {newest['step']}: {scores}")
        curve = [record[best_by] for record in now["validation"] if record.get(best_by) is not None]
        table.add_row(best_by, f"{_number(newest[best_by]):12} {_sparkline(curve)}")
    if now["best"]:
        table.add_row("best", f"{best_by} {_number(now['best'][best_by])} at step {now['best']['step']}")
    return table


def _seconds_left(records: list[Record], steps: int) -> float:
    if not records:
        return math.nan
    first, last = records[0], records[-1]
    if len(records) == 1:
        return float(last["seconds"] / last["step"] * (steps - last["step"]))
    pace = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
    return float(pace * (steps - last["step"]))


def _sparkline(values: list[float], *, width: int = 40) -> str:
    if len(values) < 2:
        return ""
    size = max(1, math.ceil(len(values) / width))
    means = [sum(part) / len(part) for part in (values[at : at + size] for at in range(0, len(values), size))]
    low, high = min(means), max(means)
    return "".join(_BARS[int((value - low) / max(high - low, 1e-12) * (len(_BARS) - 1))] for value in means)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "unknown"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
