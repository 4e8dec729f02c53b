"""Functions for Python: the type that is given is the type that is returned."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eorestore.api.beside import restore_with_pictures, write_beside
from eorestore.api.given import PathLike, as_raster
from eorestore.api.thermal import zero_shot
from eorestore.config import RunConfig, load_config
from eorestore.errors import UsageError
from eorestore.raster import Raster, Unit
from eorestore.restorer.request import Request

if TYPE_CHECKING:
    from torch import nn

    from eorestore.codec.scene import Compressed
    from eorestore.experiments.evaluation_table import EvaluationTable
    from eorestore.experiments.training_run import TrainedRun

__all__ = [
    "compress", "decompress", "evaluate", "load_config", "load_model", "restore", "restore_with_pictures", "train",
    "write_beside", "zero_shot",
]  # fmt: skip
_OPTIONS = tuple(
    name
    for name in Request.__dataclass_fields__
    if name not in {"optical", "out", "sar", "model", "mask", "save", "beside", "zero_shot"}
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
    known = ("mask_margin", "adapt", "adapt_seed", "scale", "consistent")
    chosen = {name: options.pop(name) for name in known if name in options}
    if out is not None or reference is not None or options:
        raise UsageError("out, reference and file options go with paths", fix="save and score the returned raster")
    if save:
        raise UsageError(
            "maps beside a returned raster have no place",
            fix="call eorestore.restorer.restore_raster(model, rasters, save=...), whose result has them in `extras`",
        )
    from eorestore.restorer import restore_raster

    rasters = {"cloudy": as_raster(optical, Unit.REFLECTANCE)}
    if sar is not None:
        rasters["sar"] = as_raster(sar, Unit.DECIBEL)
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
    return compress_raster(as_raster(scene, Unit.DECIBEL), Path(out), wish, overwrite=overwrite)


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
