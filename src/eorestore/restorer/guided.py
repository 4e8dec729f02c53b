"""A guided enlargement from files to a file: open both scenes, sharpen in memory, write, say what was done."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from eorestore import __version__
from eorestore.errors import UsageError
from eorestore.raster import Raster, Unit
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import RasterFile, RasterWriter
from eorestore.raster.grid import Window
from eorestore.restorer.guide import Guide, check_size, read_guide
from eorestore.restorer.guided_scene import GuidedScene, guided_task, sharpen_scene
from eorestore.restorer.provenance import file_facts
from eorestore.restorer.request import Request, open_inputs, open_target
from eorestore.restorer.rows import Progress
from eorestore.restorer.run import Report
from eorestore.restorer.thumbnail import LONGEST
from eorestore.restorer.zero_shot_recipe import SceneTask

logger = logging.getLogger(__name__)

_ENCODING = Encoding("float32", nodata=float("nan"))
_TILE = 256


def restore_guided(request: Request, *, progress: Progress | None = None) -> Report:
    """Enlarge the scene of a request that has a guide; nothing stands under the output's name after an error.

    progress: of the network's learning, where there is one. Raises EorestoreError kinds, see `sharpen_scene`.
    """
    started = time.perf_counter()
    guide, asked = _asked(request)
    target = open_target(request)
    if target.is_folder:
        raise UsageError(f"{request.out} would be a folder", fix=f"name the result {request.out.name}.tif")
    inputs = open_inputs(request)
    optical = inputs.optical
    task = guided_task(asked.recipe, asked.scale, optical.grid.size)
    fine = optical.grid.scale(task.scale)
    check_size(fine)
    hints, file, warnings = read_guide(guide, fine, name=optical.path.name)
    for note in file.notes:
        logger.info(note)
    for warning in warnings:
        logger.warning(warning)
    done = sharpen_scene(
        optical.read(),
        hints,
        task,
        method=guide.method,
        regressors=guide.regressors,
        tile=request.tile or _TILE,
        progress=progress,
    )
    with RasterWriter(
        target.path,
        grid=fine,
        encoding=_ENCODING,
        descriptions=optical.descriptions,
        tags=_tags(optical, guide.path, task, done),
        units=(str(Unit.KELVIN),),
        cog=target.cog,
    ) as writer:
        raw = _ENCODING.encode(done.raster.values)
        raw[:, ~done.raster.valid] = float("nan")
        writer.write(Window(0, 0, *fine.size), raw)
    facts = {
        "eorestore": __version__,
        "model": done.method,
        "input": file_facts(optical),
        "guide": file_facts(file),
        "valid_share": float(done.raster.valid.mean()),
        "guide_share": float(hints.valid.mean()),
        "guided": {"scale": task.scale, **done.to_json(), "recipe": task.recipe.to_dict()},
        "notes": [*inputs.notes, *file.notes],
        "warnings": [*inputs.warnings, *warnings],
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Report(target, facts, _small(done.raster))


def _asked(request: Request) -> tuple[Guide, SceneTask]:
    """The guide and the task of a request. Raises UsageError for options that do not go with them."""
    if request.guide is None or request.zero_shot is None:
        raise UsageError("a guide is used by a zero-shot enlargement only", fix="eorestore zero-shot IN --guide FILE")
    if request.save or request.resume or "checkpoint" in request.beside:
        raise UsageError(
            "a guided enlargement is made in memory: it keeps no maps and no network, and is not resumed",
            fix="leave out --resume, and of --save sigma, source and checkpoint",
        )
    return request.guide, request.zero_shot


def _tags(optical: RasterFile, guide: Path, task: SceneTask, done: GuidedScene) -> dict[str, str]:
    tags = {key: value for key, value in optical.tags.items() if not key.startswith("STATISTICS")}
    return {
        **tags,
        "EORESTORE_MODEL": done.method,
        "EORESTORE_VERSION": __version__,
        "EORESTORE_GUIDE": guide.name,
        "EORESTORE_SCALE": str(task.scale),
        "EORESTORE_CONSISTENT": "yes",
        "EORESTORE_DEVIATION": f"{done.deviation:g} K",
    }


def _small(raster: Raster) -> Raster:
    """Every n-th pixel of every n-th row."""
    every = -(-max(raster.grid.size) // LONGEST)
    values, valid = raster.values[:, ::every, ::every], raster.valid[::every, ::every]
    return Raster(values, valid, raster.bands, raster.grid.resize(*valid.shape))
