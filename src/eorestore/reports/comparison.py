"""Raster files side by side on a page, with their differences and scores; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from eorestore.errors import GridError
from eorestore.metrics.fidelity import mae, psnr, rmse, ssim
from eorestore.raster import Grid, Raster, Unit, Window
from eorestore.raster.files import RasterFile, open_raster
from eorestore.reports.histogram import Histogram, histogram_of
from eorestore.reports.page import Layer, write_page
from eorestore.reports.picture import (
    Stretch,
    average_blocks,
    block_for,
    error_key,
    error_picture,
    mean_absolute_error,
    picture,
)
from eorestore.reports.table import Table

LONGEST = 1600
_STRIP_PIXELS = 4_000_000
_SSIM_WINDOW = 11
_HISTOGRAM_BANDS = ("B02", "B04", "B08", "B11", "VV", "VH")


def compare_files(
    out: Path,
    *,
    before: Path,
    after: Path,
    reference: Path | None = None,
    bands: Sequence[str] | None = None,
    longest: int = LONGEST,
) -> None:
    """Write the page that compares two or three raster files of the same ground.

    Pictures have at most `longest` pixels a side, and what is scored is what is shown. Raises DataError,
    BandError, GridError, WriteError.
    """
    files = {"Before": open_raster(before), "After": open_raster(after)}
    if reference is not None:
        files["Reference"] = open_raster(reference)
    _check_ground(files)
    rasters = {name: overview(file, longest=longest) for name, file in files.items()}
    stretches = _stretches(rasters, bands)
    alike = len(set(stretches.values())) == 1
    layers = [
        Layer(name, picture(raster, bands=bands, stretch=stretches[name]), _caption(files[name], raster))
        for name, raster in rasters.items()
    ]
    layers += _differences(rasters)
    blocks = sorted({block_for(file.grid.size, longest=longest) for file in files.values()})
    note = "PSNR and SSIM: higher is better. MAE and RMSE, in the unit of the bands: lower is better."
    if blocks[-1] > 1:
        note += f" Pixels were averaged over up to {blocks[-1]} x {blocks[-1]} before pictures and scores were made."
    write_page(
        out,
        title=f"{before.name} and {after.name}",
        summary=_summary(files["After"], rasters["After"], alike=alike),
        layers=layers,
        metrics=_scores(rasters),
        note=note,
        facts={name: _describe(file) for name, file in files.items()},
        histograms=_histograms(rasters, bands),
    )


def overview(file: RasterFile, *, longest: int) -> Raster:
    """The whole file averaged over blocks until no side is longer than `longest`; read by strips."""
    height, width = file.grid.size
    block = block_for(file.grid.size, longest=longest)
    rows = max(_STRIP_PIXELS // (width * block), 1) * block
    windows = [Window(row, 0, min(rows, height - row), width) for row in range(0, height, rows)]
    strips = [average_blocks(file.read(window), block) for window in windows]
    first = strips[0].grid
    grid = Grid(first.crs, first.transform, sum(strip.grid.height for strip in strips), first.width)
    values = np.concatenate([strip.values for strip in strips], axis=1)
    return Raster(values, np.concatenate([strip.valid for strip in strips]), strips[0].bands, grid)


def _check_ground(files: dict[str, RasterFile]) -> None:
    (first_name, first), *others = files.items()
    for name, file in others:
        limit = 2 * max(*first.grid.pixel_size, *file.grid.pixel_size)
        apart = max(abs(a - b) for a, b in zip(first.grid.bounds, file.grid.bounds, strict=True))
        if first.grid.crs != file.grid.crs or apart > limit:
            raise GridError(
                f"{file.path.name} ({name}) does not cover the ground of {first.path.name} ({first_name})",
                fix="warp or crop one onto the other: gdalwarp -t_srs ... -te ...",
            )


def _stretches(rasters: dict[str, Raster], bands: Sequence[str] | None) -> dict[str, Stretch]:
    """The stretch of the reference, or of the restored scene, for every raster that is drawn alike."""
    model = rasters.get("Reference", rasters["After"])
    shared = Stretch.of(model, bands=bands)
    unit = {band.unit for band in model.bands}
    return {
        name: shared
        if bands or (raster.bands.names == model.bands.names and {band.unit for band in raster.bands} == unit)
        else Stretch.of(raster, bands=bands)
        for name, raster in rasters.items()
    }


def _differences(rasters: dict[str, Raster]) -> list[Layer]:
    """After against the reference, or against before where there is none; nothing where they do not compare."""
    after, other_name = rasters["After"], "Reference" if "Reference" in rasters else "Before"
    other = rasters[other_name]
    if not _comparable(after, other):
        return []
    image, limit = error_picture(mean_absolute_error(after, other))
    name = "Error" if other_name == "Reference" else "Difference"
    common = [band for band in after.bands.names if band in other.bands]
    caption = f"|after \N{MINUS SIGN} {other_name.lower()}|, mean over {_count(len(common), 'band')}"
    return [Layer(name, image, caption, error_key(limit))]


def _scores(rasters: dict[str, Raster]) -> Table | None:
    """Fidelity of each raster against the reference, or None without one."""
    reference = rasters.get("Reference")
    if reference is None:
        return None
    rows = [
        (name, *_fidelity(raster, reference))
        for name, raster in rasters.items()
        if name != "Reference" and _comparable(raster, reference)
    ]
    return Table(("Picture", "Valid pixels", "PSNR, dB", "SSIM", "MAE", "RMSE"), tuple(rows)) if rows else None


def _fidelity(raster: Raster, reference: Raster) -> tuple[int, float | None, float | None, float, float]:
    common = [band for band in raster.bands.names if band in reference.bands]
    valid = torch.from_numpy(raster.valid & reference.valid)[None]
    pair = [torch.from_numpy(np.ascontiguousarray(one.select(common).values)) for one in (raster, reference)]
    peaked = all(raster.bands[band].unit is Unit.REFLECTANCE for band in common)
    return (
        int(valid.sum()),
        float(psnr(*pair, valid=valid)) if peaked else None,
        _similarity(pair, valid) if peaked and min(valid.shape[1:]) >= _SSIM_WINDOW else None,
        float(mae(*pair, valid=valid)),
        float(rmse(*pair, valid=valid)),
    )


def _similarity(pair: list[torch.Tensor], valid: torch.Tensor) -> float:
    # Band by band: the windows of all bands at once would not fit into memory.
    bands = zip(*(torch.split(image, 1) for image in pair), strict=True)
    return float(torch.stack([ssim(one, other, valid=valid) for one, other in bands]).mean())


def _comparable(one: Raster, other: Raster) -> bool:
    common = [name for name in one.bands.names if name in other.bands]
    return (
        bool(common)
        and one.grid.size == other.grid.size
        and all(one.bands[name].unit is other.bands[name].unit for name in common)
    )


def _histograms(rasters: dict[str, Raster], bands: Sequence[str] | None) -> list[Histogram]:
    """Up to four bands that all rasters hold in one unit, those of the picture first."""
    after = rasters["After"]
    names = [*(bands or ()), *_HISTOGRAM_BANDS, *after.bands.names]
    common = [
        name
        for name in dict.fromkeys(names)
        if all(name in raster.bands and raster.bands[name].unit is _unit(after, name) for raster in rasters.values())
    ]
    return [histogram_of(name, rasters) for name in common[:4]]


def _unit(raster: Raster, name: str) -> Unit | None:
    return raster.bands[name].unit if name in raster.bands else None


def _summary(file: RasterFile, shown: Raster, *, alike: bool) -> str:
    invalid = 1.0 - float(shown.valid.mean())
    text = f"{_size(file.grid)} pixels in {_count(len(file.bands), 'band')}"
    text += f", {100 * invalid:.1f}\N{NO-BREAK SPACE}% without data. " if invalid > 0 else ". "
    return text + (
        "All are drawn with one stretch, so that equal colours are equal values."
        if alike
        else "Each is drawn with a stretch of its own, so colours do not compare."
    )


def _caption(file: RasterFile, raster: Raster) -> str:
    shown = "" if file.grid.size == raster.grid.size else f", shown at {_size(raster.grid)}"
    return f"{file.path.name}, {_size(file.grid)}{shown}"


def _describe(file: RasterFile) -> str:
    units = ", ".join(dict.fromkeys(str(band.unit) for band in file.bands))
    date = f", {file.date:%Y-%m-%d}" if file.date else ""
    return f"{file.path.name}: {', '.join(file.bands.names)} in {units}, stored as {file.encoding.dtype}{date}"


def _size(grid: Grid) -> str:
    return f"{grid.height} x {grid.width}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
