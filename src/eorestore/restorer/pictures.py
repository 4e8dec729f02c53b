"""Pictures enlarged, one or a folder of them: those without a place on Earth stay pictures; imports no torch.

A picture is held in memory, unlike a scene. Rasters that lie in a folder among pictures and have a place on Earth go
the way of every scene.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eorestore import __version__
from eorestore.data.image_files import image_paths, image_size
from eorestore.data.pictures import SUFFIXES, Picture, picture_mode, read_picture, write_picture
from eorestore.errors import BandError, DataError, GridError, UnitError, UsageError, WriteError
from eorestore.processing.resize import enlarge
from eorestore.raster import RGB, BandSet, Grid, Raster, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import open_raster
from eorestore.raster.files.array_files import SLSTR
from eorestore.raster.products import band_files
from eorestore.restorer.deviation import Deviation, DeviationSample, Observe
from eorestore.restorer.output import Target
from eorestore.restorer.plan import ModelFacts, enlarging, model_facts
from eorestore.restorer.provenance import file_hash
from eorestore.restorer.request import Request, settled_mask
from eorestore.restorer.rows import Progress, Rows
from eorestore.restorer.run import Report, restore_file

if TYPE_CHECKING:
    from eorestore.restorer.restore import Restorer

_TIFF = (".tif", ".tiff")
_EIGHT_BIT, _SIXTEEN_BIT = Encoding("uint8"), Encoding("uint16", scale=1 / 257)


def holds_pictures(request: Request) -> bool:
    """Whether what is to be restored is a picture or a folder of them, and the model enlarges."""
    if request.zero_shot is not None or model_facts(request.model, scale=request.scale).rule.scale == 1:
        return False
    path = request.optical
    if path.is_dir():
        return not _holds_scene(path) and any(file.suffix.lower() in (*SUFFIXES, *_TIFF) for file in path.rglob("*"))
    declared = request.bands is not None or request.unit is not None
    return path.is_file() and not declared and _is_picture(path)


def restore_pictures(request: Request, *, progress: Progress | None = None) -> Report:
    """Enlarge a picture, or all of a folder. Raises EorestoreError kinds; nothing stands under the output's name then.

    A folder gives a folder of the same names, where pictures end on .png.
    """
    from eorestore.restorer.inference import Execution
    from eorestore.restorer.restore import load_restorer

    started = time.perf_counter()
    _check_options(request)
    work = _work(request)
    execution = Execution(request.batch, request.device, request.precision, request.tta)
    restorer = load_restorer(
        request.model, bands=RGB, tile=request.tile, overlap=request.overlap, scale=request.scale, execution=execution
    )
    facts = enlarging(restorer.facts, request.consistent)
    told: dict[str, dict[str, Any]] = {}
    partial = request.out.with_name(f".{request.out.stem}.partial{request.out.suffix}")
    small: Raster | None = None
    _remove(partial)
    try:
        for number, (path, name) in enumerate(work.items()):
            place = partial / name if request.optical.is_dir() else partial
            place.parent.mkdir(parents=True, exist_ok=True)
            if _is_picture(path):
                told[path.name], small = _restore_picture(path, place, restorer, consistent=request.consistent)
            else:
                one = replace(request, optical=path, out=place, journal=False, overwrite=False)
                told[path.name] = restore_file(one).facts["enlargement"]["deviation"]
            if progress is not None:
                progress(number + 1, len(work))
        _put_in_place(partial, request.out)
    except OSError as error:
        raise WriteError(f"{request.out} cannot be written: {error}", fix="check the folder") from None
    finally:
        _remove(partial)
    report = _facts(request, facts, restorer.sha256, told) | {"seconds": round(time.perf_counter() - started, 3)}
    return Report(Target(request.out), report, small if request.optical.is_file() else None)


def estimate_pictures(request: Request) -> dict[str, Any]:
    """What a run would give, from the headers of the pictures. Raises EorestoreError kinds."""
    _check_options(request)
    work = _work(request)
    facts = model_facts(request.model, tile=request.tile, overlap=request.overlap, scale=request.scale)
    facts = enlarging(facts, request.consistent)
    sizes = [image_size(path) for path in work]
    pixels = [height * width * facts.rule.scale**2 for height, width in sizes]
    height, width = sizes[int(np.argmax(pixels))]
    return {
        "input": str(request.optical),
        "pictures": len(work),
        "largest_size": [height, width],
        "largest_output_size": [height * facts.rule.scale, width * facts.rule.scale],
        "model": facts.resolved.name,
        "tile": facts.tile,
        "output_mb_at_most": math.ceil(sum(pixels) * len(RGB) / 1e6),
    }


def _restore_picture(
    path: Path, place: Path, restorer: Restorer, *, consistent: bool | None
) -> tuple[dict[str, Any], Raster]:
    """How far the result is off, and the result."""
    from eorestore.restorer.memory import restore_raster

    picture = read_picture(path)
    low = picture.raster
    done = restore_raster(restorer, {"low": low}, mask=None, consistent=consistent).raster
    scale = done.grid.height // low.grid.height
    alpha = None if picture.alpha is None else enlarge(picture.alpha, factor=scale)
    write_picture(place, Picture(done, picture.mode, alpha, picture.kept))
    return picture_deviation(low, done, picture.mode, scale).to_json(), done


def picture_deviation(low: Raster, done: Raster, mode: str, scale: int, *, observe: Observe | None = None) -> Deviation:
    """Of a picture as it is written, rounded to its levels; unknown where some of it is transparent.

    observe: see `restorer.deviation.DeviationSample`.
    """
    if not low.valid.all():
        return Deviation(None, {}, 0.0, 0.0, 0)
    stored = _Stored(low, _SIXTEEN_BIT if mode == "I;16" else _EIGHT_BIT)
    sample = DeviationSample(stored, scale, observe=observe)
    nothing = np.empty((0, *done.grid.size), np.float32)
    sample.add(Rows(0, stored.encoding.encode(done.values), np.ones(done.grid.size, np.uint8), nothing))
    return sample.result()


@dataclass(frozen=True)
class _Stored:
    """A picture in the form of a file: levels as integers."""

    raster: Raster
    encoding: Encoding

    @property
    def bands(self) -> BandSet:
        return self.raster.bands

    @property
    def grid(self) -> Grid:
        return self.raster.grid

    def read_raw(self, window: Window | None = None) -> NDArray[Any]:
        piece = self.raster if window is None else self.raster.crop(window)
        return self.encoding.encode(piece.values)


def _work(request: Request) -> dict[Path, Path]:
    """Every input with the name of its result. Raises WriteError, UsageError, and DataError where two would be one."""
    out = request.out
    if not out.parent.is_dir():
        raise WriteError(f"there is no folder {out.parent}", fix="create it first")
    if out.exists() and not request.overwrite:
        raise WriteError(f"{out} exists already", fix="choose another name or add --overwrite")
    if request.optical.is_file():
        if out.suffix.lower() not in (".png", *_TIFF):
            raise UsageError(f"{out.name}: no format {out.suffix} for a picture", fix="use .png or .tif")
        if out.resolve() == request.optical.resolve():
            raise UsageError(f"{out} is an input", fix="write the result to another name")
        return {request.optical: Path(out.name)}
    if out.suffix:
        raise UsageError(f"{out.name} would hold one picture", fix="name a folder, without suffix")
    if out.exists() and (out.is_file() or not all(_is_result(path) for path in out.rglob("*"))):
        raise WriteError(f"{out} holds more than pictures", fix="choose another name; it is not replaced")
    work: dict[Path, Path] = {}
    for path in image_paths(request.optical):
        name = path.relative_to(request.optical)
        work[path] = name.with_suffix(".png") if _is_picture(path) else name
    twice = {str(name) for name in work.values() if list(work.values()).count(name) > 1}
    if twice:
        raise DataError(f"several pictures would become {', '.join(sorted(twice))}", fix="rename all but one")
    return work


def _check_options(request: Request) -> None:
    """Refuse what has no meaning for pictures. Raises UsageError."""
    given = {
        "--save": bool(request.save), "--bbox": request.bbox is not None, "--cog": request.cog,
        "--resume": request.resume, "--sar": request.sar is not None, "--adapt": bool(request.adapt),
        "--budget": request.budget is not None or request.share is not None,
    }  # fmt: skip
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong:
        raise UsageError(f"pictures take no {', '.join(wrong)}", fix="leave it out, or give a GeoTIFF")
    settled_mask(request.mask, primary="low", scale=2)


def _facts(
    request: Request, facts: ModelFacts, sha256: str | None, told: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    largest = [one["largest_of_range"] for one in told.values() if one["largest_of_range"] is not None]
    deviation = {"largest_of_range": max(largest, default=None), "pictures": dict(told)}
    files = [request.optical] if request.optical.is_file() else image_paths(request.optical)
    return {
        "eorestore": __version__,
        "model": facts.resolved.name,
        "weights_sha256": sha256,
        "input": {"path": str(request.optical), "files": {path.name: file_hash(path) for path in files}},
        "mask": "none",
        "enlargement": {"scale": facts.rule.scale, "consistent": facts.consistent, "deviation": deviation},
        "tiles": {"tile": facts.tile, "precision": request.precision, "self_ensemble": request.tta},
    }


def _is_picture(path: Path) -> bool:
    """Whether a file is a picture without a place on Earth."""
    if path.suffix.lower() in SUFFIXES:
        return True
    return path.suffix.lower() in _TIFF and not _has_place(path) and picture_mode(path) is not None


def _has_place(path: Path) -> bool:
    try:
        open_raster(path)
    except GridError:
        return False
    except (BandError, UnitError):
        return True
    return True


def _holds_scene(folder: Path) -> bool:
    """Whether a folder holds one scene: band files, or a thermal product in files of arrays."""
    if (folder / SLSTR).is_file():
        return True
    try:
        return bool(band_files(folder))
    except BandError:
        return False


def _is_result(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in (".png", *_TIFF)


def _put_in_place(partial: Path, out: Path) -> None:
    if out.is_dir():
        shutil.rmtree(out)
    partial.replace(out)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
