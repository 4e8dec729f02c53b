"""One cloudy case restored by every main row of a study, side by side, and their maps; trains and scores nothing.

It needs what the records alone do not hold: the checkpoints in the study's folder and the scenes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eorestore.config import load_config
from eorestore.data.manifest import read_manifest, select
from eorestore.errors import UsageError
from eorestore.experiments.cases import Case, SimulatedSkies, read_cases
from eorestore.raster import Raster
from eorestore.reports.drawing import Drawing
from eorestore.reports.gallery import Picture, mosaic
from eorestore.reports.page import Section
from eorestore.reports.picture import Stretch, picture
from eorestore.reports.provenance import provenance
from eorestore.reports.score_cells import cover_name
from eorestore.reports.sources import StudySource

_SIGMA = "sigma"  # a number a band, not a map to look at


def version_sections(study: StudySource, *, scenes: int) -> list[Section]:
    """A section a scene, and one for its maps where a row has some.

    Scenes are the first of the split that the study is scored on, under the middle one of its covers.

    Raises:
        UsageError: the study has no checkpoint in its folder.
        DataError: a scene is absent.
    """
    runs = _checkpoints(study)
    if not runs:
        raise UsageError(
            f"{study.folder} holds no checkpoints of {study.name}", fix="leave out --pictures, or train the study there"
        )
    source = provenance(study.records)
    sections = []
    for number, case in enumerate(_cases(study, next(iter(runs.values())), scenes), start=1):
        title = f"{study.name}: versions on scene {number}"
        seen = f"{case.row.id} under {cover_name(case.cover)} simulated cloud, seed {case.seed}; first training seed."
        images, maps = _draw(case, _models(study, runs))
        sections.append(Section(title, figure=images, note=f"{seen} All share the stretch of the target. {source}"))
        if maps is not None:
            look = "Each map from black at its least to white at its greatest value, grey where nothing was restored."
            sections.append(Section(f"{title}, maps", figure=maps, note=f"{seen} {look} {source}"))
    return sections


def _checkpoints(study: StudySource) -> dict[str, Path]:
    """The folder of the first seed's run of every main row that has one with a checkpoint."""
    found = {}
    for row in study.scores["results"]:
        folders = sorted((study.folder / "runs").glob(f"{row['row']}-seed0-????????/best"))
        if folders and row["main"]:
            found[row["row"]] = folders[-1].parent
    return found


def _models(study: StudySource, runs: Mapping[str, Path]) -> dict[str, str]:
    """Model by row, in the order of the study: the best checkpoints, and the baselines."""
    rows = study.scores["results"]
    named = {row["row"]: row["baseline"] for row in rows if row["baseline"]}
    named |= {row: (run / "best").as_posix() for row, run in runs.items()}
    return {row["row"]: named[row["row"]] for row in rows if row["row"] in named}


def _cases(study: StudySource, run: Path, scenes: int) -> Iterator[Case]:
    """The scenes that the configuration of a run names, under clouds as the study's records say."""
    data = load_config(run / "config.yaml").data
    wanted = study.records[0].config["evaluate"]
    covers = sorted(wanted["covers"])
    size = (float(wanted["cloud_size_px"][0]), float(wanted["cloud_size_px"][1]))
    skies = SimulatedSkies((covers[len(covers) // 2],), (wanted["seeds"][0],), size)
    rows = read_manifest(Path(str(data.manifest)), root=None if data.root is None else Path(data.root))
    for row in select(rows, wanted["split"])[:scenes]:
        yield from read_cases(row, skies=skies, mask="manifest", crop=wanted["crop"])


def _draw(case: Case, models: Mapping[str, str]) -> tuple[Drawing, Drawing | None]:
    """The images of all rows between input and target, and the maps of those that have some."""
    from eorestore.restorer import load_restorer, restore_raster

    stretch = Stretch.of(case.target)
    images = [Picture("cloudy", picture(case.cloudy, stretch=stretch)), Picture("SAR", picture(case.sar))]
    maps = []
    for row, model in models.items():
        restorer = load_restorer(model, bands=case.cloudy.bands)
        names = [name for name in restorer.model.extras if name != _SIGMA]
        restored = restore_raster(restorer, {"cloudy": case.cloudy, "sar": case.sar}, mask=case.mask, save=names)
        images.append(Picture(row, picture(_like(restored.raster, case.target), stretch=stretch)))
        maps += [Picture(f"{row}: {name}", _grey(restored.extras[name][0])) for name in names]
    images.append(Picture("target", picture(case.target, stretch=stretch)))
    return mosaic(images), mosaic(maps) if maps else None


def _like(restored: Raster, target: Raster) -> Raster:
    return replace(restored.select(target.bands.names), valid=target.valid)


def _grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map (y, x) stretched to its own range, mid-grey where it has no value."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(values.shape, 128, dtype=np.uint8)
    low, high = float(values[known].min()), float(values[known].max())
    scaled = (np.where(known, values, low) - low) / max(high - low, 1e-9)
    return np.where(known, 255 * scaled, 128).astype(np.uint8)
