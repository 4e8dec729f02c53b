"""Pictures of an enlarged thermal scene, from its files, strip by strip: colours, greys, and a comparison in kelvin."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eorestore.processing.filling import fill_near
from eorestore.raster import Grid, Raster, Unit, Window
from eorestore.raster.files import RasterFile
from eorestore.reports.drawing import INK
from eorestore.reports.picture import average_blocks, block_for
from eorestore.reports.png import write_png_strips
from eorestore.reports.writing import write_complete

log = logging.getLogger(__name__)

LARGEST = 8192  # pixels a side of a picture; a larger raster is averaged over blocks
PERCENTILES = (1.0, 99.0)
Palette = Literal["turbo", "grey"]
Limits = tuple[float, float]

_STRIP = 1 << 22  # pixels of a raster in memory
_SEEN = 1024  # pixels a side that percentiles are taken from
_PANEL_PX = 600  # pixels a side of the result in a comparison
_PANEL, _HEAD, _DPI = 4.2, 0.9, 150
_GAP = "#c8cdca"


def limits_of(file: RasterFile) -> Limits:
    """The 1st and 99th percentile of the first band, of means over blocks where the raster is large.

    Without a valid pixel they are 0 and 1; of a constant they are 1 apart.
    """
    small = _small(file, _SEEN)
    if not small.valid.any():
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(small.values[0][small.valid], PERCENTILES))
    return (low, high) if high > low else (low, low + 1.0)


def write_picture(path: Path, file: RasterFile, *, limits: Limits, palette: Palette, largest: int = LARGEST) -> int:
    """Write the first band as a PNG, one pixel a pixel, gaps transparent; returns the side of a picture's pixel.

    Args:
        path: of the PNG, which appears when it is complete.
        file: the raster; one strip of it is in memory at a time.
        limits: values drawn first and last in the palette, in the raster's unit; what is beyond is drawn like them.
        palette: `turbo` (Mikhailov 2019) or `grey`, black to white.
        largest: side up to which a raster pixel is a picture pixel. Beyond, one is the mean of a block of pixels,
            whose side is returned and said in the log.

    Raises:
        WriteError: it cannot be written.
        DataError: the raster cannot be read.
    """
    block = block_for(file.grid.size, longest=largest)
    if block > 1:
        log.info("%s: a pixel is the mean of %d x %d pixels of %s", path.name, block, block, file.path.name)
    size = (-(-file.grid.height // block), -(-file.grid.width // block))
    strips = (_coloured(strip, limits, palette) for strip in _strips(file, block))
    write_png_strips(path, strips, size=size)
    return block


def write_comparison(
    path: Path, scene: RasterFile, result: RasterFile, *, limits: Limits, sigma: RasterFile | None = None
) -> Window:
    """Write input, bicubic enlargement and result side by side as a PNG; returns the window of the input it shows.

    All three share one colour bar from and to `limits`, in kelvin. `sigma`, if given, stands beside them in greys of
    its own, which its title explains. Of a scene whose result is larger than a panel the busiest window is shown.

    Raises:
        WriteError: it cannot be written.
        DataError: a raster cannot be read.
    """
    scale = result.grid.width // scene.grid.width
    window = _busiest(scene, max(_PANEL_PX // scale, 8))
    finer = Window(*(scale * value for value in (window.row, window.column, window.height, window.width)))
    measured, made = _first(scene, window), _first(result, finer)
    panels = [
        (f"input, {_pixel(scene.grid)}", _shown(measured)),
        ("bicubic", _shown(_bicubic(measured, scale))),
        (f"result, {_pixel(result.grid)}", _shown(made)),
    ]
    uncertain = None if sigma is None else _shown(_first(sigma, finer))
    _draw(path, panels, uncertain, unit=_unit(result), limits=limits, where=_where(window, scene.grid.size))
    return window


def _strips(file: RasterFile, block: int) -> Iterator[Raster]:
    """The first band from the top, averaged over blocks."""
    height, width = file.grid.size
    rows = max(_STRIP // (width * block), 1) * block
    for first in range(0, height, rows):
        yield average_blocks(_first(file, Window(first, 0, min(rows, height - first), width)), block)


def _first(file: RasterFile, window: Window) -> Raster:
    return file.read(window).select(file.bands.names[:1])


def _small(file: RasterFile, longest: int) -> Raster:
    block = block_for(file.grid.size, longest=longest)
    strips = list(_strips(file, block))
    values, valid = (
        np.concatenate([getattr(strip, name) for strip in strips], axis=-2) for name in ("values", "valid")
    )
    return Raster(values, valid, strips[0].bands, file.grid.resize(*valid.shape))


def _coloured(raster: Raster, limits: Limits, palette: Palette) -> NDArray[np.uint8]:
    """(y, x, channel): the colours, and an alpha of 0 where nothing is valid."""
    low, high = limits
    share = (np.where(raster.valid, raster.values[0], np.float32(low)) - low) / (high - low)
    levels = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    colours = levels[..., None] if palette == "grey" else _turbo()[levels]
    colours = np.where(raster.valid[..., None], colours, np.uint8(0))
    return np.concatenate([colours, 255 * raster.valid[..., None].astype(np.uint8)], axis=-1)


def _turbo() -> NDArray[np.uint8]:
    from matplotlib import colormaps

    table: NDArray[np.uint8] = colormaps["turbo"](np.arange(256), bytes=True)[:, :3]
    return table


def _busiest(scene: RasterFile, side: int) -> Window:
    """The whole, or the window of that side in which neighbours differ most; found on means over blocks."""
    from scipy.ndimage import uniform_filter

    height, width = (min(side, whole) for whole in scene.grid.size)
    if (height, width) == scene.grid.size:
        return Window(0, 0, height, width)
    small = _small(scene, _SEEN)
    block = block_for(scene.grid.size, longest=_SEEN)
    values = np.where(small.valid, small.values[0], np.nan)
    steps = np.abs(np.diff(values, axis=0, prepend=np.nan)) + np.abs(np.diff(values, axis=1, prepend=np.nan))
    high, wide = (
        min(max(part // block, 1), whole) for part, whole in zip((height, width), small.valid.shape, strict=True)
    )
    busy = uniform_filter(np.nan_to_num(steps), (high, wide), mode="constant")
    busy = busy[high // 2 : busy.shape[0] - (high - 1) // 2, wide // 2 : busy.shape[1] - (wide - 1) // 2]
    row, column = (int(place) for place in np.unravel_index(int(busy.argmax()), busy.shape))
    return Window(
        min(row * block, scene.grid.height - height), min(column * block, scene.grid.width - width), height, width
    )


def _bicubic(raster: Raster, scale: int) -> Raster:
    """Enlarged by bicubic interpolation, gaps as blocks of gaps."""
    import torch

    from eorestore.layers.resampling import enlarge

    middle = raster.values[0][raster.valid].mean() if raster.valid.any() else 0.0
    filled = fill_near(raster, otherwise=np.array([middle], np.float32))
    values = enlarge(torch.from_numpy(filled.values).double(), factor=scale).float().numpy()
    valid = raster.valid.repeat(scale, axis=0).repeat(scale, axis=1)
    return Raster(values, valid, raster.bands, raster.grid.scale(scale))


def _shown(raster: Raster) -> NDArray[np.float32]:
    return np.where(raster.valid, raster.values[0], np.float32(np.nan))


def _draw(
    path: Path,
    panels: list[tuple[str, NDArray[np.float32]]],
    sigma: NDArray[np.float32] | None,
    *,
    unit: str,
    limits: Limits,
    where: str,
) -> None:
    from matplotlib.figure import Figure

    height, width = panels[0][1].shape
    count = len(panels) + (sigma is not None)
    size = (count * _PANEL + 1.0, min(_PANEL * height / width, 3 * _PANEL) + _HEAD)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained", facecolor="white")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for place, (title, values) in zip(axes[: len(panels)], panels, strict=True):
        image = place.imshow(values, cmap="turbo", vmin=limits[0], vmax=limits[1], interpolation="nearest")
        place.set_title(title, color=INK, fontsize=10)
    bar = figure.colorbar(image, ax=list(axes[: len(panels)]), extend="both", shrink=0.85, aspect=30, pad=0.01)
    bar.set_label(unit, color=INK)
    if sigma is not None:
        seen = sigma[np.isfinite(sigma)]
        highest = max(float(np.percentile(seen, PERCENTILES[1])) if seen.size else 0.0, 1e-6)
        axes[-1].imshow(sigma, cmap="gray_r", vmin=0, vmax=highest, interpolation="nearest")
        axes[-1].set_title(f"sigma: white 0, black {highest:.2g} {unit}", color=INK, fontsize=10)
    for place in axes:
        place.set(xticks=[], yticks=[], facecolor=_GAP)
    if where:
        figure.suptitle(where, color=INK, fontsize=10)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    write_complete(path, png.getvalue())


def _pixel(grid: Grid) -> str:
    """How large a pixel is, or how many there are where the grid lies nowhere."""
    if not grid.crs:
        return f"{grid.width} x {grid.height} pixels"
    unit = "°" if grid.crs.startswith("GEOG") else " m" if "metre" in grid.crs.lower() else " units"
    return f"pixels of {max(grid.pixel_size):.4g}{unit}"


def _where(window: Window, size: tuple[int, int]) -> str:
    if window.size == size:
        return ""
    last = (window.row + window.height - 1, window.column + window.width - 1)
    return f"rows {window.row} to {last[0]}, columns {window.column} to {last[1]} of the input"


def _unit(file: RasterFile) -> str:
    unit = file.bands.bands[0].unit
    return "K" if unit is Unit.KELVIN else str(unit)
