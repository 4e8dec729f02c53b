"""Functions for Python: the type that is given is the type that is returned."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eorestore.config import RunConfig, load_config
from eorestore.errors import GridError, UsageError, WriteError
from eorestore.raster import Raster, Unit
from eorestore.restorer.output import Target
from eorestore.restorer.pictures import holds_pictures, restore_pictures
from eorestore.restorer.request import Request
from eorestore.restorer.run import Report, restore_file

if TYPE_CHECKING:
    from torch import nn

    from eorestore.codec.scene import Compressed
    from eorestore.experiments.evaluation_table import EvaluationTable
    from eorestore.experiments.training_run import TrainedRun
    from eorestore.raster.files import RasterFile

__all__ = [
    "compress", "decompress", "evaluate", "load_config", "load_model", "restore", "restore_with_pictures", "train",
]  # fmt: skip
PathLike = str | os.PathLike[str]
_OPTIONS = tuple(
    name for name in Request.__dataclass_fields__ if name not in {"optical", "out", "sar", "model", "mask", "save"}
)


def restore(
    optical: PathLike | Raster | Any,  # noqa: ANN401 - a DataArray, whose package is optional
    *,
    sar: PathLike | Raster | Any = None,  # noqa: ANN401
    model: str = "cloud",
    out: PathLike | None = None,
    mask: Any = "auto",  # noqa: ANN401
    save: str | Sequence[str] = (),
    reference: PathLike | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,  # noqa: ANN401 - the fields of Request, checked there
) -> Any:  # noqa: ANN401
    """Rebuild the clouded pixels of a scene.

    Args:
        optical: a file, a folder of band files, a Raster, or a DataArray (band, y, x) in reflectance with band names.
        sar: the same for Sentinel-1 VV and VH in dB.
        model: a shipped name, a run, a checkpoint folder, a baseline, or the alias `cloud`.
        out: where the result goes, for paths; `.tif`, `.cog.tif`, or a folder.
        mask: `auto`, `csmask`, `none` or None, a file (`SCL.tif:3,8,9,10` names classes), or a bool array (y, x)
            for a Raster.
        save: for paths, maps to keep beside the result: `source`, `consistency` (with SAR), and what the model gives,
            such as `sigma`; names, or one text with commas.
        reference: a file to score the result against; scores go into the sidecar.
        progress: called with (tiles done, tiles in all).
        **options: further fields of `restorer.request.Request`: bands, unit, s2_offset, bbox, tile, resume ...

    Returns:
        The output path for a path, a Raster for a Raster, a DataArray for a DataArray.

    Raises:
        EorestoreError: its kinds say what was found and what to do.
    """
    if isinstance(optical, str | os.PathLike):
        scene = Path(os.fspath(optical))
        if out is None:
            raise UsageError("no output is named", fix="give out=...")
        unknown = set(options) - set(_OPTIONS)
        if unknown:
            raise UsageError(
                f"restore takes no {', '.join(sorted(unknown))}", fix=f"it takes {', '.join(_OPTIONS)} for paths"
            )
        if sar is not None and not isinstance(sar, str | os.PathLike):
            raise UsageError("the scene is a path and the SAR is none", fix="give both as paths or both as rasters")
        if mask is not None and not isinstance(mask, str | os.PathLike):
            raise UsageError("an array is no mask for a file", fix="write it to a file, or give a Raster")
        request = Request(
            scene,
            Path(out),
            model=str(model),
            sar=None if sar is None else Path(os.fspath(sar)),
            mask="none" if mask is None else os.fspath(mask),
            save=tuple(save.split(",") if isinstance(save, str) else save),
            **options,
        )
        restore_with_pictures(request, reference=None if reference is None else Path(reference), progress=progress)
        return Path(out)
    known = ("adapt", "adapt_seed", "scale", "consistent")
    chosen = {name: options.pop(name) for name in known if name in options}
    if out is not None or reference is not None or options:
        raise UsageError("out, reference and file options go with paths", fix="save and score the returned raster")
    if save:
        raise UsageError(
            "maps beside a returned raster have no place",
            fix="call eorestore.restorer.restore_raster(model, rasters, save=...), whose result has them in `extras`",
        )
    from eorestore.restorer import restore_raster

    rasters = {"cloudy": _as_raster(optical, Unit.REFLECTANCE)}
    if sar is not None:
        rasters["sar"] = _as_raster(sar, Unit.DECIBEL)
    restored = restore_raster(model, rasters, mask=mask, **chosen).raster
    if isinstance(optical, Raster):
        return restored
    from eorestore.raster.arrays import dataarray_like

    return dataarray_like(optical, restored)


def compress(
    scene: PathLike | Raster | Any,  # noqa: ANN401 - a DataArray, whose package is optional
    out: PathLike,
    *,
    quality: float | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    max_error: float | None = None,
    lossless: bool = False,
    quicklook: bool = False,
    preset: str | None = None,
    overwrite: bool = False,
    **options: Any,  # noqa: ANN401 - the further fields of CompressRequest, checked there
) -> Compressed:
    """Write a SAR scene as an .eoz file; see `codec.modes.Wish` for what is promised.

    Args:
        scene: a file, a folder of band files, a Raster, or a DataArray (band, y, x) in decibel with band names.
        out: the .eoz file. Of a path a sidecar and a preview are written beside it.
        quality: 0 (smallest) to 10; 5 where nothing is said.
        bpp: bits per pixel per band that the file may take; searched.
        psnr: PSNR30 in dB to be reached; searched.
        max_error: bound in dB that every valid pixel keeps.
        lossless: integers as they are; of floats hundredths of a dB.
        quicklook: speckle may be lost.
        preset: archive, downlink, extreme or preview.
        overwrite: replace `out`.
        **options: further fields of `codec.files.CompressRequest`: bands, unit, nodata, tile, check ...

    Returns:
        What was done, with `bits_per_pixel` and `psnr`.

    Raises:
        EorestoreError: its kinds say what was found and what to do.
    """
    from eorestore.codec.files import CompressRequest, compress_file, compress_raster, request_options
    from eorestore.codec.modes import Wish

    unknown = set(options) - set(request_options())
    if unknown:
        raise UsageError(
            f"compress takes no {', '.join(sorted(unknown))}", fix=f"it takes {', '.join(request_options())}"
        )
    wish = Wish(quality, bpp, psnr, max_error, lossless, preset, quicklook)
    if isinstance(scene, str | os.PathLike):
        request = CompressRequest(Path(os.fspath(scene)), Path(out), wish, overwrite=overwrite, **options)
        report = compress_file(request)
        write_beside(Path(out), report.facts, report.small)
        return report.done
    if options:
        raise UsageError("file options go with paths", fix="give the Raster its bands, unit and valid mask")
    return compress_raster(_as_raster(scene, Unit.DECIBEL), Path(out), wish, overwrite=overwrite)


def decompress(
    scene: PathLike,
    out: PathLike | None = None,
    *,
    window: tuple[int, int, int, int] | None = None,
    keep_going: bool = False,
    overwrite: bool = False,
) -> Any:  # noqa: ANN401
    """The pixels of an .eoz file in the unit of what was compressed.

    Args:
        scene: the .eoz file.
        out: a GeoTIFF to write (`.cog.tif` a COG), with sidecar and preview; without it a Raster is returned.
        window: (column, row, width, height); only its tiles are read.
        keep_going: write damaged tiles as nodata instead of failing.
        overwrite: replace `out`.

    Returns:
        The output path, or a Raster.

    Raises:
        CodecError: the file is damaged, which names the tiles, or newer than this version.
        DataError: it is no .eoz file, or the window lies outside.
        WriteError: `out` stands there already or cannot be written.
    """
    from eorestore.codec.files import decompress_file, read_file

    if out is None:
        return read_file(Path(scene), window=window, keep_going=keep_going)
    report = decompress_file(Path(scene), Path(out), window=window, keep_going=keep_going, overwrite=overwrite)
    write_beside(Path(out), report.facts, report.small)
    return Path(out)


def load_model(name: PathLike) -> nn.Module:
    """The network of a shipped name, a run, a checkpoint folder or a baseline, in eval mode.

    Called with normalised tensors (batch, band, y, x) by keyword it returns Output(image, extras). Raises
    UnknownNameError, MissingError, CheckpointError, UsageError.
    """
    from eorestore.models.checkpoint import load_checkpoint
    from eorestore.models.table import build_model
    from eorestore.restorer.plan import model_facts

    resolved = model_facts(os.fspath(name)).resolved
    if resolved.path is None:
        return build_model(resolved.name, {}).eval()
    return load_checkpoint(resolved.path).model


def train(config: RunConfig, *, name: str | None = None, resume: bool = False) -> TrainedRun:
    """Train what `config` describes in runs/NAME; see `experiments.training_run.train`."""
    from eorestore.experiments.training_run import train as train_run

    return train_run(config, name=name, resume=resume)


def evaluate(
    model: str | Sequence[str],
    *,
    data: PathLike,
    split: str = "test",
    metrics: Sequence[str] | None = None,
    simulate: Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
) -> EvaluationTable:
    """Score models on the scenes of a manifest; see `experiments.evaluate.evaluate`, which has more settings."""
    from eorestore.experiments.evaluate import evaluate as evaluate_models

    return evaluate_models(model, data=Path(data), split=split, metrics=metrics, simulate=simulate, seeds=seeds)


def restore_with_pictures(
    request: Request,
    *,
    reference: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    adapting: Callable[[int, int], None] | None = None,
    command: Sequence[str] = (),
) -> Report:
    """`restore_file` or `restore_pictures`, then the sidecar and the preview beside the result."""
    if holds_pictures(request):
        if reference is not None:
            raise UsageError(
                "pictures are not scored here", fix="leave out --reference; `eorestore evaluate` scores them"
            )
        report = restore_pictures(request, progress=progress)
        report = replace(report, facts={"command": list(command), **report.facts, "metrics": None})
        write_beside(request.out, report.facts, report.small)
        return report
    truth = None if reference is None else _open_reference(request, reference)
    if request.guide is not None:
        from eorestore.restorer.guided import restore_guided

        report = restore_guided(request, progress=adapting)
    else:
        report = restore_file(request, progress=progress, adapting=adapting)
    scores = None if truth is None else _score(request, truth)
    report = replace(report, facts={"command": list(command), **report.facts, "metrics": scores})
    write_beside(request.out, report.facts, report.small)
    return report


def write_beside(out: Path, facts: Mapping[str, Any], small: Raster | None) -> None:
    """The sidecar OUT.json and, where there is one, the preview OUT.preview.png of a result. Raises WriteError."""
    from eorestore.reports.picture import preview
    from eorestore.reports.png import encode_png

    target = Target(out)
    _write_whole(target.sidecar, json.dumps(facts, indent=1).encode())
    if small is not None:
        _write_whole(target.preview, encode_png(preview(small)))


def _open_reference(request: Request, reference: Path) -> RasterFile:
    """The reference, cut as the result is; opened before the work begins. Raises DataError and its kinds."""
    from eorestore.raster.files import open_raster
    from eorestore.restorer.plan import model_facts

    scale = model_facts(request.model, scale=request.scale).rule.scale
    opened = (request.optical, reference)
    scene, truth = (open_raster(path, declared=request.declared, anywhere=scale > 1) for path in opened)
    if not truth.grid.same_as(scene.grid.scale(scale)):
        finer = "" if scale == 1 else f" enlarged {scale} times"
        raise GridError(
            f"{reference.name} lies on another grid than {scene.path.name}{finer}", fix="warp it onto that grid"
        )
    truth.bands.select(scene.bands.names)
    if request.bbox is None:
        return truth
    kept = scene.crop(scene.grid.window(request.bbox)).grid.scale(scale)
    return truth.crop(truth.grid.window(kept.bounds))


def _score(request: Request, reference: RasterFile) -> Mapping[str, float | None]:
    """PSNR, SSIM, MAE, RMSE and SAM of the result against a reference on the same grid."""
    import torch

    from eorestore.metrics.collection import score
    from eorestore.raster.files import open_raster

    result = open_raster(request.out, declared=replace(request.declared, bands=None), anywhere=True).read()
    truth = reference.read().select(result.bands.names)
    low, high = _ends(truth)
    values = [torch.from_numpy(np.clip((raster.values - low) / (high - low), 0, 1)) for raster in (result, truth)]
    valid = torch.from_numpy(result.valid & truth.valid)[None]
    nowhere = torch.zeros_like(valid)
    scores = score(*values, valid=valid, cloud=nowhere, shadow=nowhere)
    return {name: round(value, 4) for name, value in scores.items() if "_" not in name}


def _ends(raster: Raster) -> tuple[float, float]:
    """What scores take for 0 and 1: reflectance itself, levels of 0 and 255, of other units the ends of the values."""
    unit = raster.bands.bands[0].unit
    if unit in (Unit.REFLECTANCE, Unit.LEVEL):
        return 0.0, 1.0 if unit is Unit.REFLECTANCE else 255.0
    seen = raster.values[:, raster.valid]
    return (float(seen.min()), float(seen.max())) if seen.size and seen.min() < seen.max() else (0.0, 1.0)


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WriteError(f"{path} cannot be written: {error}", fix="check the folder and the free space") from None


def _as_raster(array: Any, unit: Unit) -> Raster:  # noqa: ANN401
    if isinstance(array, Raster):
        return array
    from eorestore.raster.arrays import raster_from_dataarray

    return raster_from_dataarray(array, unit)
