"""The perceptual score of every model of an evaluation, over the images that it saw; runs no model of ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import torch
from torch import Tensor

from eorestore.errors import UsageError
from eorestore.experiments.image_scores import Example
from eorestore.experiments.image_table import POOLED, ImageRow, ImageTable, pooled_terms
from eorestore.metrics.perceptual import PerceptualTerms, absent, perceptual_terms
from eorestore.raster import RGB

PROTOCOL = "rgb"


class PerceptualScores:
    """Watches an evaluation, keeps its images in 8 bits, and scores them when all are there.

    Keeps nothing where this machine has no term at all.
    """

    def __init__(self) -> None:
        names = (item.name for item in fields(PerceptualTerms))
        self.absent = {name: reason for name in names if (reason := absent(name)) is not None}
        self._wanted = len(self.absent) < len(fields(PerceptualTerms))
        self._high: dict[str, Tensor] = {}
        self._made: dict[tuple[str, str], list[tuple[str, Tensor]]] = {}

    def add(self, example: Example, row: ImageRow, image: Tensor) -> None:
        """Keep what a model made, if it was not shown the answer. Raises UsageError for other bands than colours."""
        if example.high.shape[0] != len(RGB):
            raise UsageError(
                f"the perceptual score is of red, green and blue; {example.scene} has {example.high.shape[0]} bands",
                fix="leave --perceptual out, or choose --protocol rgb",
            )
        if self._wanted and not row.oracle:
            self._high.setdefault(example.scene, _bytes(example.high))
            self._made.setdefault((row.set, row.model), []).append((example.scene, _bytes(image)))

    def added_to(self, table: ImageTable) -> ImageTable:
        """The table with the terms of every set and model."""
        models = [name for name in table.models if not any(row.oracle for row in table.rows if row.model == name)]
        sets = [name for name in table.sets if name != POOLED]
        terms = {(one, model): self._terms(one, model) for one in sets for model in models}
        if len(sets) > 1:
            for model in models:
                counts = [sum((row.set, row.model) == (one, model) for row in table.rows) for one in sets]
                terms[POOLED, model] = pooled_terms([terms[one, model] for one in sets], counts)
        return replace(table, perceptual=terms, absent=self.absent)

    def _terms(self, set_name: str, model: str) -> PerceptualTerms:
        return perceptual_terms(self._pairs(set_name, model), device="cuda" if torch.cuda.is_available() else "cpu")

    def _pairs(self, set_name: str, model: str) -> Iterator[tuple[Tensor, Tensor]]:
        for scene, image in self._made.get((set_name, model), ()):
            yield image.float() / 255, self._high[scene].float() / 255


def _bytes(image: Tensor) -> Tensor:
    return (255 * image.double()).round().clamp(0, 255).to(torch.uint8)
