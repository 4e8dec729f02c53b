"""Functions for Python: the type that is given is the type that is returned."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eorestore.errors import UsageError
from eorestore.raster import Raster, Unit
from eorestore.restorer.run import Report, Request, check_request, restore_file

PathLike = str | os.PathLike[str]


def restore(
    optical: PathLike | Raster | Any,  # noqa: ANN401 - a DataArray, whose package is optional
    *,
    sar: PathLike | Raster | Any = None,  # noqa: ANN401
    model: str = "cloud",
    out: PathLike | None = None,
    mask: Any = "auto",  # noqa: ANN401
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
        mask: `auto`, `csmask`, `none`, a file (`SCL.tif:3,8,9,10` names classes), or a bool array for a Raster.
        reference: a file to score the result against; scores go into the sidecar.
        progress: called with (tiles done, tiles in all).
        **options: further fields of `restorer.run.Request`: bands, unit, s2_offset, bbox, tile, overwrite, resume ...

    Returns:
        The output path for a path, a Raster for a Raster, a DataArray for a DataArray.

    Raises:
        EorestoreError: its kinds say what was found and what to do.
    """
    if isinstance(optical, str | os.PathLike):
        if out is None:
            raise UsageError("no output is named", fix="give out=...")
        unknown = set(options) - set(Request.__dataclass_fields__)
        if unknown:
            raise UsageError(f"restore takes no {', '.join(sorted(unknown))}", fix=f"it takes {_option_names()}")
        radar = None if sar is None else Path(sar)
        request = Request(Path(optical), Path(out), model=model, sar=radar, mask=mask, **options)
        restore_with_pictures(request, reference=None if reference is None else Path(reference), progress=progress)
        return Path(out)
    if out is not None or options:
        raise UsageError("out and file options go with paths", fix="save the returned raster yourself")
    from eorestore.restorer import restore_raster

    rasters = {"cloudy": _as_raster(optical, Unit.REFLECTANCE)}
    if sar is not None:
        rasters["sar"] = _as_raster(sar, Unit.DECIBEL)
    restored = restore_raster(model, rasters, mask=mask).raster
    return restored if isinstance(optical, Raster) else _like(optical, restored)


def restore_with_pictures(
    request: Request,
    *,
    reference: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    command: Sequence[str] = (),
) -> Report:
    """`restore_file`, then the sidecar and the preview beside the result."""
    check_request(request)
    report = restore_file(request, progress=progress)
    scores = score_files(request, reference) if reference is not None else None
    report = replace(report, facts={"command": list(command), **report.facts, "metrics": scores})
    _write_whole(report.target.sidecar, json.dumps(report.facts, indent=1).encode())
    _write_preview(report)
    return report


def score_files(request: Request, reference: Path) -> Mapping[str, float | None]:
    """PSNR, SSIM, MAE, RMSE and SAM of the result against a reference file on the same grid."""
    import torch

    from eorestore.metrics.collection import score
    from eorestore.raster.files import open_raster
    from eorestore.raster.products import Declared

    declared = Declared(request.bands, request.unit, request.s2_offset)
    result = open_raster(request.out, declared=declared).read()
    truth = open_raster(reference, declared=declared).read().select(result.bands.names)
    values = [torch.from_numpy(np.clip(raster.values, 0, 1)) for raster in (result, truth)]
    valid = torch.from_numpy(result.valid & truth.valid)[None]
    nowhere = torch.zeros_like(valid)
    scores = score(*values, valid=valid, cloud=nowhere, shadow=nowhere)
    return {name: round(value, 4) for name, value in scores.items() if "_" not in name}


def _write_preview(report: Report) -> None:
    from eorestore.reports.picture import preview
    from eorestore.reports.png import encode_png

    _write_whole(report.target.preview, encode_png(preview(report.small)))


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)


def _as_raster(array: Any, unit: Unit) -> Raster:  # noqa: ANN401
    if isinstance(array, Raster):
        return array
    from eorestore.raster.arrays import raster_from_dataarray

    return raster_from_dataarray(array, unit)


def _like(array: Any, raster: Raster) -> Any:  # noqa: ANN401
    values = np.where(raster.valid, raster.values, np.float32(np.nan)).astype(array.dtype)
    return array.copy(data=values)


def _option_names() -> str:
    return ", ".join(name for name in Request.__dataclass_fields__ if name not in {"optical", "out", "sar"})
