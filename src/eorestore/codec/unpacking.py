"""An .eoz file to a GeoTIFF, strip by strip, or to a COG that others read; knows no command line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from eorestore.codec.modes import Mode
from eorestore.codec.stored_scene import DamagedTile, StoredScene
from eorestore.raster import Window
from eorestore.raster.files import RasterWriter
from eorestore.raster.files.lerc import copy_to_lerc_cog

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Decompressed:
    """What was written: path, window of the scene, damaged tiles (gaps in the result), seconds."""

    path: Path
    window: Window
    damaged: tuple[DamagedTile, ...]
    seconds: float

    @property
    def facts(self) -> dict[str, Any]:
        """The same as plain values for a sidecar."""
        window = self.window
        return {
            "window": {"column": window.column, "row": window.row, "width": window.width, "height": window.height},
            "damaged_tiles": [str(tile) for tile in self.damaged],
            "seconds": round(self.seconds, 3),
        }


def decompress_scene(
    scene: StoredScene,
    path: Path,
    *,
    window: Window | None = None,
    cog: bool = False,
    progress: Progress | None = None,
    keep_rows: Callable[[int, NDArray[Any]], None] | None = None,
) -> Decompressed:
    """Write a window of `scene` (all of it by default) as a GeoTIFF, in the unit of what was compressed.

    progress: called with (pixels done, pixels in all). keep_rows: is given the first row and the values of every
    strip. Raises CodecError that names damaged tiles unless the scene keeps going; WriteError.
    """
    started = time.perf_counter()
    window = window or scene.whole
    encoding = scene.encoding
    if progress is not None:
        progress(0, window.height * window.width)
    with RasterWriter(
        path,
        grid=scene.grid.crop(window),
        encoding=encoding,
        descriptions=scene.bands.names,
        units=tuple(str(band.unit) for band in scene.bands),
        tags={**scene.tags, **_tags(scene)},
        scaled=(encoding.scale, encoding.offset) != (1.0, 0.0),
        cog=cog,
    ) as writer:
        for strip, raw in scene.strips(window):
            place = strip.relative_to(window)
            writer.write(place, raw)
            if keep_rows is not None:
                keep_rows(place.row, raw)
            if progress is not None:
                progress((place.row + place.height) * window.width, window.height * window.width)
    damaged = tuple(scene.damaged[place] for place in sorted(scene.damaged))
    for tile in damaged:
        logger.warning("damaged, written as nodata: %s", tile)
    return Decompressed(path, window, damaged, time.perf_counter() - started)


def export_scene(
    scene: StoredScene, path: Path, *, max_error: float = 0.0, progress: Progress | None = None
) -> Decompressed:
    """Write `scene` as a Cloud-Optimized GeoTIFF with LERC_ZSTD, which GDAL reads without this package.

    max_error: what LERC may change a value by, in its unit; 0 keeps every bit. Raises as `decompress_scene`, and
    MissingError where GDAL lacks LERC_ZSTD.
    """
    plain = path.with_name(f".{path.name}.plain.tif")
    try:
        written = decompress_scene(scene, plain, progress=progress)
        copy_to_lerc_cog(plain, path, max_error=max_error)
    finally:
        plain.unlink(missing_ok=True)
    return Decompressed(path, written.window, written.damaged, written.seconds)


def _tags(scene: StoredScene) -> Mapping[str, str]:
    """How the values were coded."""
    mode, step = scene.pipe.mode, scene.pipe.step
    tags = {"EORESTORE_CODEC": mode.name.lower().replace("_", "-")}
    if mode is Mode.MAX_ERROR:
        tags["EORESTORE_MAX_ERROR_DB"] = f"{step / 2:g}"
    elif step:
        tags["EORESTORE_STEP_DB"] = f"{step:g}"
    return tags
