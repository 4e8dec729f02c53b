"""The worst, median and best cases of evaluations as grids, from the pictures that their records name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.experiments.case_pictures import ERROR_SCALE, PANELS
from eorestore.experiments.score_text import format_score
from eorestore.reports.gallery import Picture, strips
from eorestore.reports.page import Section
from eorestore.reports.provenance import provenance
from eorestore.reports.score_cells import cover_name, heading, number
from eorestore.reports.sources import RecordSource

_log = logging.getLogger(__name__)

_HEADINGS = {"worst": "Failure cases", "median": "Median cases", "best": "Best cases"}
_TITLES = ("cloudy", "SAR", "restored", "target", "error")


def case_sections(evaluations: Sequence[RecordSource]) -> list[Section]:
    """A section of the worst, of the median and of the best case of every evaluation that has pictures.

    A picture that is no longer there is left out, with a warning.
    """
    sections = []
    for name, title in _HEADINGS.items():
        kept = [
            (source, Picture(_title(source, case), pixels))
            for source in evaluations
            for case in source.record.scores.get("cases", ())
            if case["name"] == name and (pixels := _read(source.folder / case["path"])) is not None
        ]
        if kept:
            note = f"From left to right: {PANELS}, white from {ERROR_SCALE:g} reflectance. "
            source = provenance(source.record for source, _ in kept)
            figure = strips([picture for _, picture in kept], panels=_TITLES)
            sections.append(Section(title, figure=figure, note=note + source))
    return sections


def _title(source: RecordSource, case: Mapping[str, Any]) -> str:
    scores = source.record.scores
    model, score = scores["aggregates"][0]["model"], f"{scores['metrics'][0]}_cloud"
    sky = "" if case["cover"] is None else f", {cover_name(case['cover'])} cover, seed {case['seed']}"
    value = format_score(number(case["value"]), score)
    return f"{source.name}: {model} on {case['scene']}{sky}; {heading(score)}: {value}"


def _read(path: Path) -> NDArray[np.uint8] | None:
    """An RGB picture (y, x, 3); None where there is no file."""
    from matplotlib.image import imread

    if not path.is_file():
        _log.warning("%s is not there, and is left out", path)
        return None
    pixels: NDArray[np.uint8] = (255 * np.asarray(imread(path))[..., :3]).round().astype(np.uint8)
    return pixels
