"""Further files beside an enlarged scene: the pixels as npy, pictures; made from its files, not from its network."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eorestore.errors import UsageError
from eorestore.raster import Window
from eorestore.raster.files import RasterFile, open_raster
from eorestore.reports.thermal_pictures import Limits, limits_of, write_comparison, write_picture
from eorestore.reports.writing import write_in_parts
from eorestore.restorer.maps import SIGMA
from eorestore.restorer.output import Target
from eorestore.restorer.request import Request

_STRIP = 1 << 22  # pixels


def write_scene_files(request: Request, target: Target, *, limits: Limits | None = None) -> dict[str, Any]:
    """Write what `request.beside` names beside a finished result, and return what the sidecar is to say of it.

    Args:
        request: of the run that made the result; names its input, and whether there is a map of sigma.
        target: the result.
        limits: values that pictures begin and end their colours at; None takes the 1st and 99th percentile of the
            input, so that pictures of one input at any scale compare.

    Raises:
        UsageError: limits that are no range.
        DataError: a raster cannot be read.
        WriteError: a file cannot be written; nothing half-written stands then.
    """
    check_limits(limits)
    wanted = request.beside
    if not wanted:
        return {}
    facts: dict[str, Any] = {}
    scene = open_raster(request.optical, declared=request.declared, anywhere=True)
    if request.bbox is not None:
        scene = scene.crop(scene.grid.window(request.bbox))
    result = open_raster(target.path, declared=replace(request.declared, bands=None), anywhere=True)
    if "npy" in wanted:
        write_npy(target.beside("npy"), result)
    if {"turbo", "grey", "comparison"} & set(wanted):
        limits = limits or limits_of(scene)
        facts["pictures"] = {
            "band": result.bands.names[0],
            "limits": list(limits),
            **_pictures(request, target, scene, result, limits),
        }
    written = {name: target.beside(name) for name in wanted}
    return {"outputs": {name: path.name for name, path in written.items() if path.exists()}, **facts}


def check_limits(limits: Limits | None) -> None:
    """Raise UsageError where they are no range."""
    if limits is not None and not (np.isfinite(limits).all() and limits[0] < limits[1]):
        raise UsageError(f"limits from {limits[0]:g} to {limits[1]:g}", fix="give the lower one first, as 280,320")


def write_npy(path: Path, file: RasterFile) -> None:
    """The raster as float32 in its physical unit, NaN in gaps: (y, x) of one band, else (band, y, x).

    Raises WriteError, DataError.
    """
    write_in_parts(path, _npy(file))


def _npy(file: RasterFile) -> Iterator[bytes]:
    count, (height, width) = len(file.bands), file.grid.size
    shape = (height, width) if count == 1 else (count, height, width)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    yield header.getvalue()
    rows = max(_STRIP // (width * count), 1)
    for band in range(count):
        for first in range(0, height, rows):
            strip = file.read(Window(first, 0, min(rows, height - first), width))
            yield np.where(strip.valid, strip.values[band], np.float32(np.nan)).astype("<f4").tobytes()


def _pictures(
    request: Request, target: Target, scene: RasterFile, result: RasterFile, limits: Limits
) -> Mapping[str, Any]:
    facts: dict[str, Any] = {}
    for palette in ("turbo", "grey"):
        if palette in request.beside:
            block = write_picture(target.beside(palette), result, limits=limits, palette=palette)
            facts["pixels_per_picture_pixel"] = block
    if "comparison" in request.beside:
        sigma = open_raster(target.map_path(SIGMA), anywhere=True) if SIGMA in request.save else None
        window = write_comparison(target.beside("comparison"), scene, result, limits=limits, sigma=sigma)
        facts["comparison_window"] = [window.row, window.column, window.height, window.width]
    return facts
