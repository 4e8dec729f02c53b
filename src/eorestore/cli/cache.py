"""`eorestore cache`: what frozen experts make of every picture, once, so that training need not run them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eorestore.errors import ConfigError, UsageError


def cache(
    *,
    config: Annotated[str, typer.Option("-c", "--config", help="A preset with experts: its name or a YAML file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the cache; one that is there is added to.")],
    override: Annotated[
        list[str] | None, typer.Option("-s", "--set", help="key=value laid over the preset, as in data.root=FOLDER.")
    ] = None,
    splits: Annotated[str, typer.Option(help="Splits of the manifest, with commas.")] = "train,validation",
    precision: Annotated[str, typer.Option(help="fp16 or fp32.")] = "fp16",
    turns: Annotated[int, typer.Option(help="1, or 8 for every flip and turn of a picture.")] = 1,
    features: Annotated[bool, typer.Option("--features", help="Keep the experts' features too.")] = False,
) -> None:
    """Run the experts of a preset over its whole pictures; training with data.cache=OUT reads that instead."""
    if precision not in ("fp16", "fp32"):
        raise UsageError(f"precision {precision} is not known", fix="use fp16 or fp32")
    if turns not in (1, 8):
        raise UsageError(f"turns {turns} is neither 1 nor 8", fix="use 1, or 8 for all flips and turns")
    from eorestore.cli.progress import Progress
    from eorestore.cli.train import read_preset
    from eorestore.data.degradation import Degradation
    from eorestore.data.expert_cache import CacheForm, fill_cache
    from eorestore.data.image_pairs import pairs_of
    from eorestore.data.image_samples import PairReader, read_image_rows
    from eorestore.errors import UnknownNameError
    from eorestore.processing.table import PROCESSORS

    chosen = read_preset(config, override or [])
    if not chosen.experts:
        raise ConfigError(f"{chosen.name} names no experts", fix="choose a preset with experts, such as sr-x4")
    if chosen.processor not in PROCESSORS:
        raise UnknownNameError("processor", chosen.processor, PROCESSORS)
    processor = PROCESSORS[chosen.processor]()
    rows = read_image_rows(chosen.data)
    wanted = [name.strip() for name in splits.split(",") if name.strip()]
    pairs = [pair for split in wanted for pair in pairs_of(rows, split, scale=processor.scale)]
    if not pairs:
        raise UsageError(f"no picture is marked {' or '.join(wanted)}", fix="name another split with --splits")
    form = CacheForm("fp16" if precision == "fp16" else "fp32", 8 if turns == 8 else 1, features)
    read = PairReader(processor, Degradation(processor.scale, levels=chosen.data.low_levels))
    made = fill_cache(out, chosen.experts, pairs, read=read, form=form, progress=Progress("pictures"))
    size = sum(path.stat().st_size for path in out.rglob("*.bin"))
    typer.echo(f"{out}: {len(pairs)} pictures by {len(made.experts)} experts, {size / 2**20:.0f} MiB")
    for facts in made.experts:
        typer.echo(f"  {facts.name}: {facts.parameters:,} parameters, sha256 {facts.sha256[:16]}")
