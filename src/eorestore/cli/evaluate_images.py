"""The part of `eorestore evaluate` that scores super-resolution on whole images, and writes the record."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from eorestore.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from eorestore.experiments.image_pictures import ImagePicture
    from eorestore.experiments.image_scores import Example
    from eorestore.experiments.image_table import ImageRow, ImageTable


def is_of_images(models: Sequence[str], data: Sequence[Path]) -> bool:
    """Whether images are to be enlarged: a folder or a manifest of images is named, or models that do nothing else."""
    from eorestore.experiments.image_models import is_image_model
    from eorestore.experiments.image_sets import is_image_data

    return any(map(is_image_data, data)) or (bool(models) and all(map(is_image_model, models)))


def refuse(options: Mapping[str, bool], *, task: str) -> None:
    """Raise UsageError for options, by name, that were given and mean nothing for a task."""
    given = [name for name, is_given in options.items() if is_given]
    if given:
        raise UsageError(f"{task} has no {', '.join(given)}", fix="leave out what is of the other task")


def evaluate_and_write(
    models: Sequence[str],
    *,
    options: dict[str, Any],
    perceptual: bool,
    as_json: bool,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Score models on images, print the table, and write evaluation.json, evaluation.md and images/ into `out`."""
    from eorestore.experiments.image_perceptual import PROTOCOL, PerceptualScores
    from eorestore.experiments.image_pictures import ImagePictures
    from eorestore.experiments.image_scores import evaluate_images
    from eorestore.reports.writing import refuse_existing

    if perceptual and options["protocol"] not in (None, PROTOCOL):
        raise UsageError("--perceptual is for the protocol rgb", fix="leave --protocol out")
    if out is not None:
        for name in ("evaluation.json", "evaluation.md"):
            refuse_existing(out / name, overwrite=overwrite)
    start = time.perf_counter()
    pictures, terms = ImagePictures(), PerceptualScores() if perceptual else None

    def watch(example: Example, row: ImageRow, image: Tensor) -> None:
        if out is not None:
            pictures.add(example, row, image)
        if terms is not None:
            terms.add(example, row, image)

    table = evaluate_images(models, watch=watch, **options)
    if terms is not None:
        table = terms.added_to(table)
    text = table.to_markdown()
    if out is not None:
        drawn = pictures.drawn()
        text += "\n".join(pictures.to_markdown(drawn)) + "\n" if drawn else ""
        config = {"models": list(models), **options, "perceptual": perceptual}
        _write(out, table, text, drawn, config=config, seconds=time.perf_counter() - start)
    typer.echo(json.dumps(table.to_json(), indent=2) if as_json else text)


def _write(
    folder: Path,
    table: ImageTable,
    text: str,
    pictures: Sequence[ImagePicture],
    *,
    config: dict[str, Any],
    seconds: float,
) -> None:
    from eorestore.experiments.image_pictures import FOLDER
    from eorestore.experiments.record import make_record, write_record
    from eorestore.reports.writing import write_complete

    for old in (folder / FOLDER).glob("*.png"):
        if old.name.startswith(("worst-", "median-")):
            old.unlink()
    for picture in pictures:
        write_complete(folder / picture.path, picture.png)
    write_complete(folder / "evaluation.md", text)
    shown = [
        {"name": picture.name, "path": picture.path, "value": picture.value, "scene": picture.scene}
        for picture in pictures
    ]
    record = make_record(
        "evaluation",
        " ".join(config["models"]) or "experts",
        config=config,
        scores={**table.to_json(), "pictures": shown},
        seconds=seconds,
        data=table.data,
    )
    write_record(folder / "evaluation.json", record)
