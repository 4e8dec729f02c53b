"""The training loop, on Accelerate; knows no task, no file format of checkpoints and no preset.

```
run_dir/  config.yaml  metrics.jsonl  state/  best/  best-2/  last/  pictures/
```
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from eorestore.config import AdversaryConfig, TrainingSettings
from eorestore.errors import UnknownNameError, WriteError
from eorestore.models.model import Model
from eorestore.plain_values import write_yaml
from eorestore.tasks.task import Metric, Samples
from eorestore.training.adversary import smoke_adversary
from eorestore.training.batches import BatchPlan, Loaded, in_order, stream
from eorestore.training.best import keep
from eorestore.training.engine import Engine
from eorestore.training.log import MetricsLog, Record, check_trackers
from eorestore.training.pictures import write_pictures
from eorestore.training.schedule import learning_rate
from eorestore.training.state import Progress, Ranked, remove_folder, replace_folder
from eorestore.training.step import (
    Losses,
    Step,
    answers_of,
    check_answers,
    check_finite,
    check_gradient,
    default_step,
)

_log = logging.getLogger(__name__)


class SaveCheckpoint(Protocol):
    """Writes a model as a checkpoint folder."""

    def __call__(self, folder: Path, model: Model, scores: Mapping[str, float], /) -> None:
        """Write `model`, with its validation scores, to a folder that does not exist yet."""
        ...


@dataclass(frozen=True)
class FitResult:
    """How a training ended: updates done, seconds spent, last validation scores, kept checkpoints, best first."""

    steps: int
    seconds: float
    scores: Mapping[str, float]
    best: tuple[Ranked, ...]


def fit(
    run_dir: Path,
    *,
    model: Model,
    train: Samples,
    validation: Samples,
    losses: Losses,
    settings: TrainingSettings,
    seed: int,
    metrics: Mapping[str, Metric],
    save_checkpoint: SaveCheckpoint,
    config: Mapping[str, Any],
    step: Step = default_step,
    adversary: AdversaryConfig | None = None,
    resume: bool = False,
    smoke: bool = False,
    workers: int = 0,
    together: int = 1,
    rgb: tuple[int, ...] = (0, 0, 0),
    report: Callable[[Record], None] | None = None,
) -> FitResult:
    """Train `model` and leave checkpoints, state, log and pictures in `run_dir`.

    Resuming is exact: n updates equal k, a stop, and n - k more, bit by bit in float32 in one process.

    Args:
        run_dir: created; must hold no training state unless `resume`.
        model: on any device; it is trained in place.
        train: samples by (epoch, index), see Samples.
        validation: scored in order, epoch 0 always; the first ones are drawn.
        losses: named losses and weights. A stage of them begins with the update before which its share of
            `settings.steps` is done; the log says so, and validation goes by the losses of the last update.
        settings: see TrainingSettings.
        seed: of the order of items and of dropout.
        metrics: per-item scores by name, averaged over the items that have one.
        save_checkpoint: writes best/ and last/; it gets the averaged weights where there are any.
        config: plain values, kept as config.yaml.
        step: what a batch teaches; the sum of the losses by default.
        adversary: a discriminator to train against the model, whose loss then has one term more. Validation and the
            kept checkpoints know nothing of it.
        resume: go on from the newest state; begin anew where there is none.
        smoke: three small steps with a validation and a checkpoint, to see that all parts fit.
        workers: loader processes.
        together: training items in a row that stay neighbours in the shuffle.
        rgb: the bands of the target that pictures show.
        report: is given every record of the log.

    Raises:
        TrainingError: a loss or gradient is not finite, the output turns constant, or the state is of another run.
        DataError: fewer items than a batch.
        WriteError: run_dir holds a run already, or the disk is full.
    """
    settings = smoke_settings(settings) if smoke else settings
    adversary = smoke_adversary(adversary) if smoke else adversary
    if settings.best_by not in ("loss", *metrics):
        raise UnknownNameError("validation score", settings.best_by, ("loss", *metrics))
    check_trackers(settings.trackers)
    engine = Engine(model, settings, sample=train[0], project_dir=run_dir, seed=seed, adversary=adversary)
    main = engine.accelerator.is_main_process
    rank, world = engine.accelerator.process_index, engine.accelerator.num_processes
    if main:
        _prepare_folder(run_dir, config, resume=resume)
    engine.accelerator.wait_for_everyone()
    plan = BatchPlan(len(train), settings.batch, seed, rank=rank, processes=world, together=together)
    identity = {
        "seed": seed,
        "items": plan.items,
        "together": together,
        "batch": plan.size,
        "processes": world,
        "accumulate": settings.accumulate,
        "precision": settings.precision,
        "adversary": None if adversary is None else asdict(adversary),
    }
    progress = engine.load(run_dir / "state", identity) or Progress(0, (), 0.0, identity)
    engine.accelerator.init_trackers("trackers")
    log = MetricsLog(run_dir / "metrics.jsonl", step=progress.step, main=main, track=engine.accelerator.log)
    batches = stream(train, plan, start=progress.step * settings.accumulate, workers=workers)
    checked = range(min(len(validation), 2 * settings.batch) if smoke else len(validation))
    scores = log.last_scores()
    clock = _Clock(progress.seconds)

    def say(kind: str, done: int, values: Mapping[str, float]) -> None:
        if main:
            record = log.write(kind, done, values)
            if report is not None:
                report(record)

    def save(folder: Path) -> None:
        remove_folder(folder)
        engine.final.eval()
        save_checkpoint(folder, engine.final, scores)
        engine.model.train()

    engine.model.train()
    # the caller's random state is left as it was
    with torch.random.fork_rng(devices=[engine.device] if engine.device.type == "cuda" else []):
        for number in range(progress.step, settings.steps):
            done = number + 1
            share = number / settings.steps
            if losses.later and (number == 0 or losses.stage(share) > losses.stage((number - 1) / settings.steps)):
                say("stage", done, _stage(losses, share))
            now = losses.at(share)
            log.add(_update(engine, batches, number, losses=now, settings=settings, seed=seed, step=step))
            last = done == settings.steps
            if last or done % settings.log_every == 0:
                means = log.means()
                means["images_per_s"] = settings.batch * settings.accumulate * world / means["seconds_per_step"]
                say("train", done, means | {"seconds": clock.seconds})
            best = progress.best
            if last or done % settings.validate_every == 0:
                scores = _validate(
                    engine,
                    validation,
                    checked[rank::world],
                    done=done,
                    losses=now,
                    metrics=metrics,
                    settings=settings,
                    workers=workers,
                )
                say("validation", done, scores | {"seconds": clock.seconds})
                if main:
                    best = keep(run_dir, Ranked(done, scores[settings.best_by]), best, settings, save=save)
                    _draw(engine, validation, run_dir / "pictures" / f"step-{done:08d}.png", settings, rgb)
            progress = Progress(done, best, clock.seconds, identity)
            if main and (last or done % settings.checkpoint_every == 0 or clock.due(settings.checkpoint_minutes)):
                engine.save(run_dir / "state", progress)
                save(run_dir / ".last.partial")
                replace_folder(run_dir / ".last.partial", run_dir / "last")
                clock.saved()
    engine.accelerator.end_training()
    return FitResult(progress.step, progress.seconds, scores, progress.best)


def smoke_settings(settings: TrainingSettings) -> TrainingSettings:
    """The same training in three small steps, which still validate, save and draw."""
    return replace(
        settings,
        steps=3,
        batch=min(settings.batch, 2),
        accumulate=min(settings.accumulate, 2),
        warmup=min(settings.warmup, 1),
        checkpoint_every=2,
        validate_every=2,
        log_every=1,
        pictures=min(settings.pictures, 2),
    )


def _stage(losses: Losses, share: float) -> dict[str, float]:
    """What the log says of a stage, counted from 1: the weights that hold from its first update on."""
    weights = {f"weight_{name}": weight for name, weight in losses.at(share).weights.items()}
    return {"stage": losses.stage(share) + 1, **weights}


def _update(
    engine: Engine,
    batches: Iterator[Loaded],
    number: int,
    *,
    losses: Losses,
    settings: TrainingSettings,
    seed: int,
    step: Step,
) -> dict[str, float]:
    """Update `number`, counted from 0, of the weights; what is to be logged of it."""
    began = time.monotonic()
    values: dict[str, float] = {}
    adversary = engine.adversary if engine.adversary is not None and engine.adversary.joins(number) else None
    losses = losses if adversary is None else adversary.added_to(losses)
    for part in range(settings.accumulate):
        position = number * settings.accumulate + part
        epoch, items, loaded = next(batches)
        batch = engine.place(loaded)
        # dropout depends on the position alone, so a resumed run draws what an unbroken one would
        torch.manual_seed(
            int(np.random.SeedSequence((seed, position, engine.accelerator.process_index)).generate_state(1)[0])
        )
        with engine.accumulating():
            total, terms = step(engine.predict, batch, losses)
            check_finite(total, terms, batch, step=number, epoch=epoch, items=items)
            engine.accelerator.backward(total)
        if adversary is not None:
            terms["discriminator"] = adversary.learn()
            check_finite(terms["discriminator"], terms, batch, step=number, epoch=epoch, items=items)
        for name, value in {"loss": total, **{f"loss_{name}": term for name, term in terms.items()}}.items():
            values[name] = values.get(name, 0.0) + value.item() / settings.accumulate
    norm = engine.clip()
    check_gradient(norm, step=number, epoch=epoch, items=items)
    if adversary is not None:
        check_gradient(adversary.clip(), step=number, epoch=epoch, items=items)
    rate = learning_rate(settings, number)
    engine.update(rate)
    if adversary is not None:
        adversary.update(rate / settings.learning_rate)
    return values | {"lr": rate, "grad_norm": norm.item(), "seconds_per_step": time.monotonic() - began}


def _validate(
    engine: Engine,
    validation: Samples,
    indices: range,
    *,
    done: int,
    losses: Losses,
    metrics: Mapping[str, Metric],
    settings: TrainingSettings,
    workers: int,
) -> dict[str, float]:
    """The mean loss and the mean of every metric over the items that have one, after `done` updates.

    Raises TrainingError where the output no longer depends on the input.
    """
    names = ("loss", *metrics)
    sums = torch.zeros(2, len(names), dtype=torch.float64, device=engine.device)
    answers = torch.zeros(2, dtype=torch.float64, device=engine.device)
    engine.final.eval()
    with torch.no_grad():
        for loaded in in_order(validation, indices, size=settings.batch, workers=workers):
            batch = engine.place(loaded)
            output = engine.predict_final(batch)
            total, _ = losses(output, batch)
            answers += answers_of(output.image, batch)
            columns = [total.expand(output.image.shape[0])]
            columns += [metric(output.image, batch) for metric in metrics.values()]
            table = torch.stack([column.to(sums) for column in columns])
            known = ~table.isnan()
            sums += torch.stack([table.where(known, 0.0).sum(1), known.sum(1)])
    engine.model.train()
    check_answers(engine.total(answers), step=done)
    total_sums, counts = engine.total(sums)
    return dict(zip(names, (total_sums / counts).tolist(), strict=True))


def _draw(engine: Engine, validation: Samples, path: Path, settings: TrainingSettings, rgb: tuple[int, ...]) -> None:
    count = min(settings.pictures, len(validation))
    engine.final.eval()
    with torch.no_grad():
        for loaded in in_order(validation, range(count), size=max(1, count), workers=0):
            write_pictures(path, engine.predict_final(engine.place(loaded)).image, loaded, rgb=rgb)
    engine.model.train()


def _prepare_folder(run_dir: Path, config: Mapping[str, Any], *, resume: bool) -> None:
    if (run_dir / "metrics.jsonl").exists() and not resume:
        raise WriteError(f"{run_dir} holds a run already", fix="go on with --resume, or choose another --name")
    try:
        (run_dir / "state").mkdir(parents=True, exist_ok=True)
        (run_dir / "config.yaml").write_text(write_yaml(config), encoding="utf-8")
    except OSError as error:
        raise WriteError(
            f"{run_dir} cannot be written: {error.strerror or error}", fix="choose another folder with -o"
        ) from error


class _Clock:
    """Seconds of training, over all resumptions, and since the last save."""

    def __init__(self, before: float) -> None:
        self._began = time.monotonic() - before
        self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def due(self, minutes: float) -> bool:
        return minutes > 0 and time.monotonic() - self._saved > 60 * minutes

    def saved(self) -> None:
        self._saved = time.monotonic()
