"""From one run's configuration to a run folder: builds every part by name, trains, writes the record."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eorestore.config import RunConfig, load_config
from eorestore.data.rows import rows_of
from eorestore.errors import ConfigError, TrainingError, UnknownNameError
from eorestore.experiments.record import Record, commit, hash_path, hash_paths, make_record, write_record
from eorestore.losses.feature_weights import check_features, feature_hashes
from eorestore.losses.weighted import WeightedSum
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.expert_facts import ExpertFacts
from eorestore.models.model import Model
from eorestore.models.table import build_model
from eorestore.models.warm_start import start_from, start_hash
from eorestore.plain_values import differences
from eorestore.processing.table import PROCESSORS
from eorestore.raster import RGB
from eorestore.tasks.table import TASKS
from eorestore.training.fit import FitResult, fit
from eorestore.training.pictures import draw_pictures
from eorestore.training.step import Losses, forward_names

if TYPE_CHECKING:
    from eorestore.processing import Processor
    from eorestore.tasks.task import Samples

_log = logging.getLogger(__name__)

RUNS_FOLDER = Path("runs")
CHANGEABLE = (
    "name",
    "gpu",
    "data.root",
    "data.workers",
    "training.steps",
    "training.checkpoint_every",
    "training.checkpoint_minutes",
    "training.log_every",
    "training.trackers",
    "training.pictures",
)
"""Keys that may differ between a run and its continuation."""
_EXAMPLE_SIDE = 64  # pixels: enough to notice a wrong result, small enough to ship


@dataclass(frozen=True)
class TrainedRun:
    """A run folder, how its training ended, and its record."""

    folder: Path
    result: FitResult
    record: Record


def train(
    config: RunConfig,
    *,
    name: str | None = None,
    out: Path = RUNS_FOLDER,
    resume: bool = False,
    smoke: bool = False,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> TrainedRun:
    """Train what `config` describes in out/name; see `training.fit`.

    Args:
        config: the run.
        name: of the run folder; the configuration's own without it.
        out: folder of runs.
        resume: go on with the run that stands there.
        smoke: a few small batches in out/name-smoke, which replaces an older one.
        report: is given every record of the log.

    Raises:
        ConfigError, UnknownNameError: a name or value that fits nothing.
        TrainingError: a loss that is not finite, or a run that was begun with another configuration.
        MissingError: a loss needs weights that are not here.
        DataError, WriteError: as the parts raise them.
    """
    config = replace(config, name=name or config.name)
    if config.task not in TASKS:
        raise UnknownNameError("task", config.task, TASKS)
    if config.processor not in PROCESSORS:
        raise UnknownNameError("processor", config.processor, PROCESSORS)
    task, processor = TASKS[config.task], PROCESSORS[config.processor]()
    losses = weighted_sum(config)
    check_features(config.loss_names)
    folder = out / (f"{config.name}-smoke" if smoke else config.name)
    if smoke and (folder / "metrics.jsonl").exists():
        shutil.rmtree(folder)
    if resume:
        check_continuation(folder, config)
    if config.gpu == "wanted" and not torch.cuda.is_available():
        _log.warning("the preset wants a GPU and there is none: training runs on the CPU")

    model = build_model(config.model.name, config.model.settings, seed=config.seed)
    _check_sizes(config, model)
    if config.start is not None and not resume:
        start_from(model, config.start)
    samples, validation = task.datasets(config, processor, model)
    data = data_hashes(config)
    experts: tuple[ExpertFacts, ...] = getattr(validation, "experts", ())
    data |= {f"expert {one.name}": one.sha256 for one in experts}
    result = fit(
        folder,
        model=model,
        train=samples,
        validation=validation,
        losses=losses,
        settings=config.training,
        seed=config.seed,
        metrics=task.metrics,
        adversary=config.adversary,
        save_checkpoint=_checkpoint_writer(config, processor, validation, data, experts=experts),
        config=config.to_dict(),
        resume=resume,
        smoke=smoke,
        workers=config.data.workers,
        together=config.data.crops_per_scene,
        rgb=_natural_colour(processor),
        report=report,
    )
    best = [{"step": kept.step, config.training.best_by: kept.score} for kept in result.best]
    record = make_record(
        "training",
        config.name,
        config=config.to_dict(),
        scores={"last": dict(result.scores), "best": best, "steps": result.steps},
        seconds=result.seconds,
        data=data,
    )
    write_record(folder / "record.json", record)
    return TrainedRun(folder, result, record)


def check_continuation(folder: Path, config: RunConfig) -> None:
    """Whether `config` may continue the run in `folder`. Raises ConfigError and TrainingError naming the keys."""
    stored = load_config(folder / "config.yaml")
    changed = differences(stored.to_dict(), config.to_dict())
    forbidden = [f"{key} was {old}, now {new}" for key, (old, new) in changed.items() if key not in CHANGEABLE]
    if forbidden:
        raise TrainingError(
            f"{folder} was begun with another configuration: {'; '.join(forbidden)}",
            fix="resume with --name alone, or begin another run under another --name",
        )
    for key, (old, new) in changed.items():
        _log.info("%s: %s was %s, now %s", folder, key, old, new)


def data_hashes(config: RunConfig) -> dict[str, str]:
    """SHA-256 of the manifest, of what it names, of the masks, of the losses' networks, and of weights begun with."""
    hashes = feature_hashes(config.loss_names)
    if config.data.manifest is not None:
        manifest = Path(config.data.manifest)
        root = manifest.parent if config.data.root is None else Path(config.data.root)
        paths = [path for row in rows_of(config.task, config.data) for path in row.files]
        hashes |= {manifest.name: hash_path(manifest)} | hash_paths(paths, root=root)
    if config.start is not None:
        hashes[f"start {config.start}"] = start_hash(config.start)
    if config.data.masks is not None:
        hashes[Path(config.data.masks).name] = hash_path(Path(config.data.masks))
    return hashes


def weighted_sum(config: RunConfig) -> Losses:
    """The losses of a run and their stages. Raises UnknownNameError for a task or a loss, and ConfigError."""
    if config.task not in TASKS:
        raise UnknownNameError("task", config.task, TASKS)
    later = tuple((stage.start, stage.losses) for stage in config.stages)
    return WeightedSum(TASKS[config.task].losses, config.losses, later=later)


def _check_sizes(config: RunConfig, model: Model) -> None:
    for key, value in (("data.crop", config.data.crop), ("tile", config.tile)):
        if value % model.multiple_of:
            raise ConfigError(
                f"{key} {value} does not divide by {model.multiple_of}, as {config.model.name} needs",
                fix=f"use {max(1, round(value / model.multiple_of)) * model.multiple_of}",
            )


def _checkpoint_writer(
    config: RunConfig,
    processor: Processor,
    validation: Samples,
    data: Mapping[str, str],
    *,
    experts: tuple[ExpertFacts, ...],
) -> Callable[[Path, Model, Mapping[str, float]], None]:
    provenance = {
        "commit": commit(),
        "preset": config.name,
        "config_hash": config.hash,
        "seed": config.seed,
        "data": dict(data),
    }

    def write(folder: Path, model: Model, scores: Mapping[str, float]) -> None:
        save_checkpoint(
            folder,
            model,
            processor,
            task=config.task,
            provenance=provenance,
            tile=config.tile,
            overlap=config.overlap,
            example=_example(model, validation, config.data.crop),
            metrics={name: round(value, 6) for name, value in scores.items() if value == value},
            preview=_preview(model, validation, _natural_colour(processor)),
            experts=experts,
        )

    return write


def _example(model: Model, validation: Samples, crop: int) -> dict[str, Tensor]:
    """A corner of the first validation item, as the model's keywords want it."""
    validation.set_epoch(0)
    item = validation[0]
    side = min(crop, -(-_EXAMPLE_SIDE // model.multiple_of) * model.multiple_of)
    inputs = {name: item[name] for name in forward_names(model, item) if name in item}
    corner = {}
    for name, value in inputs.items():
        times = value.shape[-1] // crop if value.ndim > 2 and value.shape[-1] % crop == 0 else 0
        corner[name] = (value[..., : times * side, : times * side] if times else value)[None]
    return corner


def _preview(model: Model, validation: Samples, rgb: tuple[int, ...]) -> bytes:
    """The PNG of the first validation item: input, SAR, prediction, target."""
    validation.set_epoch(0)
    item = validation[0]
    device = next(model.parameters()).device
    batch = {name: value[None].to(device) for name, value in item.items()}
    with torch.inference_mode():
        image = model(**{name: batch[name] for name in forward_names(model, item) if name in batch}).image
    return draw_pictures(image, batch, rgb=rgb)


def _natural_colour(processor: Processor) -> tuple[int, ...]:
    names = processor.output.names
    for wanted in (("B04", "B03", "B02"), RGB.names):
        if set(wanted) <= set(names):
            return tuple(names.index(name) for name in wanted)
    return (0, 0, 0)
