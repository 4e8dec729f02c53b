"""A result on disk scored against a reference on its grid; knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from eorestore.errors import GridError
from eorestore.raster import Raster, Unit
from eorestore.raster.files import RasterFile, open_raster
from eorestore.restorer.plan import model_facts
from eorestore.restorer.request import Request


def open_reference(request: Request, reference: Path) -> RasterFile:
    """The reference, cut as the result is; opened before the work begins. Raises DataError and its kinds."""
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


def score_result(request: Request, reference: RasterFile) -> Mapping[str, float | None]:
    """PSNR, SSIM, MAE, RMSE and SAM of the result against a reference on the same grid."""
    import torch

    from eorestore.metrics.collection import score

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
