"""A picture enlarged by a network that learns it: a picture in, a picture out; held in memory."""

from __future__ import annotations

import time

from eorestore import __version__
from eorestore.data.pictures import SUFFIXES, Picture, read_picture, write_picture
from eorestore.errors import DataError, UsageError, WriteError
from eorestore.processing.resize import enlarge
from eorestore.restorer.enlarged_raster import enlarge_raster
from eorestore.restorer.inference import Execution
from eorestore.restorer.output import Target
from eorestore.restorer.pictures import picture_deviation
from eorestore.restorer.provenance import file_hash
from eorestore.restorer.request import Request
from eorestore.restorer.rows import Progress
from eorestore.restorer.run import Report
from eorestore.restorer.zero_shot import observation

PICTURE = ".png"


def gives_picture(request: Request) -> bool:
    """Whether a picture is to be enlarged by a network that learns it, into a picture."""
    is_picture = request.optical.suffix.lower() in SUFFIXES and request.out.suffix.lower() == PICTURE
    return request.zero_shot is not None and is_picture


def enlarge_picture(request: Request, *, progress: Progress | None = None, learning: Progress | None = None) -> Report:
    """Enlarge a picture, each band by itself, in its own mode; rounded to its levels.

    Raises UsageError for options that have no meaning for pictures, WriteError, DataError, and what `enlarge_raster`
    does; nothing stands under the output's name then.
    """
    started = time.perf_counter()
    task = request.zero_shot
    if task is None:
        raise UsageError("no zero-shot enlargement is asked for", fix="eorestore zero-shot IN -o OUT.png")
    _check(request)
    picture = read_picture(request.optical)
    execution = Execution(request.batch, request.device, request.precision)
    found = enlarge_raster(
        picture.raster, task, execution=execution, tile=request.tile, progress=progress, learning=learning
    )
    alpha = None if picture.alpha is None else enlarge(picture.alpha, factor=task.scale)
    partial = request.out.with_name(f".{request.out.stem}.partial{PICTURE}")
    try:
        write_picture(partial, Picture(found.raster, picture.mode, alpha, picture.kept))
        partial.replace(request.out)
    except OSError as error:
        raise WriteError(f"{request.out} cannot be written: {error}", fix="check the folder") from None
    finally:
        partial.unlink(missing_ok=True)
    # what matters is the picture as it stands on disk, rounded to its levels
    apart = picture_deviation(picture.raster, found.raster, picture.mode, task.scale, observe=observation(task))
    facts = {
        "eorestore": __version__,
        "model": request.model,
        "input": {"path": str(request.optical), "files": {request.optical.name: file_hash(request.optical)}},
        **found.facts,
        "enlargement": {**found.facts["enlargement"], "deviation": apart.to_json()},
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Report(Target(request.out), facts, found.raster)


def _check(request: Request) -> None:
    given = {
        "--save": bool(request.save or request.beside), "--bbox": request.bbox is not None, "--resume": request.resume,
        "--guide": request.guide is not None, "--bands": request.bands is not None, "--unit": request.unit is not None,
    }  # fmt: skip
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong:
        raise UsageError(f"pictures take no {', '.join(wrong)}", fix="leave it out, or name the result OUT.tif")
    out = request.out
    if not request.optical.is_file():
        raise DataError(f"{request.optical} does not exist", fix="check the path")
    if not out.parent.is_dir():
        raise WriteError(f"there is no folder {out.parent}", fix="create it first")
    if out.resolve() == request.optical.resolve():
        raise UsageError(f"{out} is an input", fix="write the result to another name")
    if out.exists() and not request.overwrite:
        raise WriteError(f"{out} exists already", fix="choose another name or add --overwrite")
