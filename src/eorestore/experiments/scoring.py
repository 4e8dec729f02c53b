"""How the rows of a study are scored, by task; the only table of it. Trains nothing and draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eorestore.config import DataSettings, RunConfig
from eorestore.data.image_samples import read_image_rows
from eorestore.data.manifest import read_manifest, select
from eorestore.data.sar_bands import SarBandRow
from eorestore.data.sar_patches import read_rows
from eorestore.errors import ConfigError, DataError, UnknownNameError
from eorestore.experiments.evaluate import evaluate
from eorestore.experiments.image_scores import SCORES as IMAGE_SCORES
from eorestore.experiments.image_scores import evaluate_images
from eorestore.experiments.latent_scores import FACTS, LEAD, STORED, SUFFIXES, score_autoencoder
from eorestore.experiments.study import StudyEvaluation
from eorestore.metrics.sar_scores import SCORES

MEAN_OF_EXPERTS = "mean-of-experts"
"""A baseline of studies whose data has a cache of experts."""


@dataclass(frozen=True)
class Scoring:
    """What a task's study needs besides training.

    score: (model, data, what is wanted) -> plain values with `rows`, each a scene, cover and seed with its `scores`,
        and `conditions`. Raises DataError where the model cannot be scored.
    check: whether the scenes of the evaluation are there and its metrics known, before anything is trained.
    ends: of the names of the scores that the summary has of every metric; the first one leads its tables.
    leads: what the first one means, for the tables' heads.
    cases: what the rows are, one of each. limits: what an interval over them says and what it does not.
    facts: further scores that are columns of the summary's tables, with their heads.
    settings: names of the fields of StudyEvaluation that only this task has.
    """

    score: Callable[[str, DataSettings, StudyEvaluation], dict[str, Any]]
    check: Callable[[DataSettings, StudyEvaluation], None]
    ends: tuple[str, ...]
    leads: str
    cases: str
    limits: str
    facts: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()


def scoring_of(config: RunConfig | Mapping[str, Any]) -> Scoring:
    """The scoring of a run's task. Raises UnknownNameError."""
    task = config.task if isinstance(config, RunConfig) else str(config.get("task"))
    if task not in SCORING:
        raise UnknownNameError("task with a scoring", task, SCORING)
    return SCORING[task]


def _score_clouds(model: str, data: DataSettings, wanted: StudyEvaluation) -> dict[str, Any]:
    table = evaluate(
        model,
        data=str(data.manifest),
        root=data.root,
        split=wanted.split,
        metrics=wanted.metrics,
        simulate=wanted.covers,
        seeds=wanted.seeds,
        cloud_size_px=(float(wanted.cloud_size_px[0]), float(wanted.cloud_size_px[1])),
        crop=wanted.crop,
        strata=wanted.strata,
    )
    return table.to_json()


def _check_clouds(data: DataSettings, wanted: StudyEvaluation) -> None:
    root = None if data.root is None else Path(data.root)
    select(read_manifest(Path(str(data.manifest)), root=root), wanted.split)


def _score_bands(model: str, data: DataSettings, wanted: StudyEvaluation) -> dict[str, Any]:
    return score_autoencoder(model, _bands(data, wanted), metrics=wanted.metrics)


def _check_bands(data: DataSettings, wanted: StudyEvaluation) -> None:
    for name in wanted.metrics:
        if name not in SCORES:
            raise UnknownNameError("score", name, SCORES)
    _bands(data, wanted)


def _bands(data: DataSettings, wanted: StudyEvaluation) -> list[SarBandRow]:
    rows = [row for row in read_rows(data) if row.split == wanted.split]
    if not rows:
        raise DataError(f"the manifest has no {wanted.split} band", fix=f"mark a band as {wanted.split}")
    return rows


def _score_images(model: str, data: DataSettings, wanted: StudyEvaluation) -> dict[str, Any]:
    table = evaluate_images(
        () if model == MEAN_OF_EXPERTS else model,
        data=str(data.manifest),
        root=data.root,
        split=wanted.split,
        metrics=wanted.metrics,
        levels=data.low_levels,
        expert_outputs=data.cache,
    )
    # the experts of a cache have rows of their own in the table
    name = MEAN_OF_EXPERTS.replace("-", " ") if model == MEAN_OF_EXPERTS else model
    found = table.to_json()
    rows = [row for row in found["rows"] if row["model"] == name]
    return {**{key: found[key] for key in ("task", "protocol", "metrics", "conditions")}, "rows": rows}


def _check_images(data: DataSettings, wanted: StudyEvaluation) -> None:
    for name in wanted.metrics:
        if name not in IMAGE_SCORES:
            raise UnknownNameError("score of images", name, IMAGE_SCORES)
    if wanted.strata or wanted.crop is not None:
        raise ConfigError("evaluate.strata and evaluate.crop are for clouds", fix="leave them out")
    if not any(row.split == wanted.split for row in read_image_rows(data)):
        raise DataError(f"the manifest has no {wanted.split} image", fix=f"mark an image as {wanted.split}")


SCORING: Mapping[str, Scoring] = {
    "cloud-removal": Scoring(
        _score_clouds,
        _check_clouds,
        ("_cloud", ""),
        "in cloud",
        "scenes, covers and seeds of clouds",
        "it speaks of other clouds over these scenes, not of other places",
        settings=("covers", "seeds", "cloud_size_px"),
    ),
    "sar-compression": Scoring(
        _score_bands,
        _check_bands,
        (LEAD, *(end for end in (*SUFFIXES, *STORED) if end != LEAD)),
        "at 0.2 bits per pixel",
        "bands",
        "bands of one scene are not independent, so other scenes may differ more than it says",
        facts=FACTS,
    ),
    "super-resolution": Scoring(
        _score_images,
        _check_images,
        ("",),
        "of whole images",
        "images",
        "images of one set or place are alike, so other sets may differ more than it says",
    ),
}
