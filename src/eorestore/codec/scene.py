"""A scene to an .eoz file: header, tiles strip by strip, each decoded again and checked; knows no command line."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.container import ContainerWriter, pack_front
from eorestore.codec.decibel import RADAR, observe_decibel
from eorestore.codec.fallback import as_jpeg2000
from eorestore.codec.header import DTYPES, Header
from eorestore.codec.modes import CENTIBEL, CODERS_OF_MODES, Mode, Wish, default_windows, pack_parameters, step_of
from eorestore.codec.search import Found, search_step
from eorestore.codec.source import Source
from eorestore.codec.tile import Score, TilePipe
from eorestore.codec.tile_coder import coder_entry, model_stamp
from eorestore.errors import DataError, UsageError
from eorestore.processing.normalize import WINDOW_SPAN
from eorestore.raster import Window
from eorestore.raster.files.crs import epsg_of

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

THREADS = 2  # tiles that are coded at a time
SAMPLE_PIXELS = 1 << 21  # a search looks at as many, spread over the scene
_SURVEY_TILES = 9
_OFTEN_OUTSIDE = 0.2  # a share of pixels outside the windows that calibrated backscatter does not reach


@dataclass(frozen=True)
class Compressed:
    """What a compression did.

    file_bytes: all of the file; header_bytes: those before the first tile. values: pixels times bands.
    score: errors measured by decoding; of integers kept as they are its sums are 0. searched: the step that a search
    found, and sampled: the share of the scene that it looked at.
    """

    path: Path
    header: Header
    mode: Mode
    step: float
    file_bytes: int
    header_bytes: int
    values: int
    score: Score
    seconds: float
    searched: Found | None = None
    sampled: float = 1.0

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the file a pixel of a band, header, masks and index included."""
        return 8 * self.file_bytes / self.values

    @property
    def psnr(self) -> float:
        """PSNR30 in dB; infinite where nothing was lost."""
        return self.score.psnr

    @property
    def facts(self) -> dict[str, Any]:
        """The same as plain values for a sidecar."""
        header, stored = self.header, np.dtype(self.header.encoding.dtype)
        facts: dict[str, Any] = {
            "mode": self.mode.name.lower().replace("_", "-"),
            "coder": coder_entry(header.coder).name,
            "model": header.stamp.hex() or None,
            "step_db": self.step or None,
            "tile": header.tile or None,
            "bytes": self.file_bytes,
            "header_bytes": self.header_bytes,
            "bits_per_pixel": round(self.bits_per_pixel, 4),
            "stored_type": str(stored),
            "ratio_to_stored_type": round(8 * stored.itemsize / self.bits_per_pixel, 2),
            "valid_share": round(self.score.count / self.values, 6),
            "seconds": round(self.seconds, 3),
        }
        if self.step:
            facts |= {
                "rmse_db": round(self.score.rmse, 4),
                "psnr30_db": round(self.psnr, 3) if math.isfinite(self.psnr) else None,
                "largest_error_db": round(self.score.largest, 4),
                "mean_bias_db": round(self.score.bias, 4),
            }
        if self.searched is not None:
            facts |= {"search_tries": self.searched.tries, "search_saw_share": round(self.sampled, 4)}
        return facts


def compress_scene(
    source: Source,
    path: Path,
    wish: Wish,
    *,
    tile: int = 512,
    progress: Progress | None = None,
    keep_rows: Callable[[int, NDArray[Any]], None] | None = None,
) -> Compressed:
    """Write `source` as an .eoz file. progress: called with (pixels done, pixels in all) of the last pass.

    keep_rows: is given the first row and the stored values of every strip as it is read, for a preview.
    Every tile is decoded again and held against the promise of the mode. Raises DataError, UnitError, UsageError,
    CodecError, WriteError; nothing stands under `path` then.
    """
    started = time.perf_counter()
    wish = wish.checked()
    header = plan_header(source, wish, tile=tile)
    searched, sampled = None, 1.0
    if wish.bits is not None or wish.psnr is not None:
        searched, sampled = _search(source, header, wish)
        header = with_step(header, searched.step)
    pipe = TilePipe(header, decoding=False)
    header = replace(header, stamp=model_stamp(pipe.coder))
    pixels = header.size[0] * header.size[1]
    score, done = Score(), 0
    if progress is not None:
        progress(0, pixels)
    with ContainerWriter(path, header) as writer, ThreadPoolExecutor(THREADS, "eorestore-tiles") as pool:
        for row, strip in strips(source, header):
            if keep_rows is not None:
                keep_rows(header.tile_window(row, 0).row, strip)
            for content, tile_score in pool.map(partial(code, pipe), tiles_of(strip, header)):
                writer.add(content)
                score += tile_score
            done += strip.shape[1] * strip.shape[2]
            if progress is not None:
                progress(done, pixels)
        if not score.count:
            raise DataError("the scene has no valid pixel", fix="check its nodata value and unit (--nodata, --unit)")
        if pipe.mode is Mode.FIDELITY:
            whole = as_jpeg2000(source, header, size=writer.size, psnr=score.psnr)
            if whole is not None:
                header, score = whole.header, whole.score
                writer.restart(header)
                writer.add(whole.content)
        before = writer.finish()
    seconds = time.perf_counter() - started
    return Compressed(
        path, header, pipe.mode, pipe.step, path.stat().st_size, before, pixels * len(header.bands), score, seconds,
        searched, sampled,
    )  # fmt: skip


def code(pipe: TilePipe, raw: NDArray[Any]) -> tuple[bytes, Score]:
    """A tile's bytes, and what decoding them gives."""
    observed = pipe.observe(raw)
    content = pipe.pack(observed)
    return content, pipe.verify(observed, content)


def plan_header(source: Source, wish: Wish, *, tile: int = 512) -> Header:
    """The header of a scene to be coded; with a step to be searched it holds a first guess.

    Raises UsageError for a tile that the format does not know, and where the mode does not go with the unit.
    """
    if tile not in (256, 512):
        raise UsageError(f"tiles of {tile} pixels are not possible", fix="give --tile 256 or 512")
    encoding, units = source.encoding, {band.unit for band in source.bands}
    if encoding.dtype not in DTYPES:
        raise DataError(f"values of type {encoding.dtype} cannot be compressed", fix="store them as int32 or float32")
    as_they_are = wish.mode is Mode.LOSSLESS and encoding.is_integer
    if not as_they_are and (len(units) > 1 or not units <= set(RADAR)):
        raise UsageError(
            f"bands in {', '.join(sorted(units))} have no decibel",
            fix="declare --unit decibel, power or amplitude; integers of any unit can be compressed with --lossless",
        )
    code_of = None if not source.grid.crs else epsg_of(source.grid.crs)
    header = Header(
        mode=int(wish.mode),
        coder=CODERS_OF_MODES[wish.mode],
        size=source.grid.size,
        bands=source.bands,
        encoding=encoding,
        crs=source.grid.crs if code_of is None else code_of,
        transform=source.grid.transform,
        tile=tile,
        tags=dict(source.tags),
    )
    if as_they_are:
        return header
    return replace(header, parameters=pack_parameters(_step(wish), _windows(source, header), source.bands))


def with_step(header: Header, step: float) -> Header:
    """The same with another step."""
    return replace(header, parameters=(step, *header.parameters[1:]))


def strips(source: Source, header: Header) -> Iterator[tuple[int, NDArray[Any]]]:
    """Every row of tiles, full width, as stored."""
    for row in range(header.tile_grid[0]):
        window = header.tile_window(row, 0)
        yield row, source.read_raw(Window(window.row, 0, window.height, header.size[1]))


def tiles_of(strip: NDArray[Any], header: Header) -> Iterator[NDArray[Any]]:
    """The tiles of a strip from left to right."""
    for column in range(header.tile_grid[1]):
        yield np.ascontiguousarray(strip[:, :, header.tile_window(0, column).columns])


def _step(wish: Wish) -> float:
    if wish.mode is Mode.LOSSLESS:
        return CENTIBEL
    if wish.max_error is not None:
        return 2 * wish.max_error
    return step_of(5.0 if wish.quality is None else wish.quality)


def _windows(source: Source, header: Header) -> tuple[float, ...]:
    """The fixed windows; for a band that lies outside of its own, such as counts, one around its median."""
    windows = list(default_windows(header.bands))
    if coder_entry(header.coder).integers:
        return tuple(windows)
    unit = header.bands.bands[0].unit
    parts = [observe_decibel(source.read_raw(window), header.encoding, unit) for window in _spread(header)]
    for index, low in enumerate(windows):
        seen = np.concatenate([part.values[index][part.valid[index]] for part in parts])
        if seen.size and ((seen < low) | (seen > low + WINDOW_SPAN)).mean() > _OFTEN_OUTSIDE:
            windows[index] = float(np.rint(np.median(seen) - WINDOW_SPAN / 2))
            name = header.bands.bands[index].name
            logger.info("band %s lies outside its usual window; coded from %g dB up", name, windows[index])
    return tuple(windows)


def _spread(header: Header, count: int = _SURVEY_TILES) -> list[Window]:
    """Windows of some tiles, evenly spread over the scene."""
    rows, columns = header.tile_grid
    if count >= rows * columns:
        return [header.tile_window(row, column) for row in range(rows) for column in range(columns)]
    places = np.unique(np.linspace(0, rows * columns - 1, count).round().astype(int))
    return [header.tile_window(int(place) // columns, int(place) % columns) for place in places]


def _search(source: Source, header: Header, wish: Wish) -> tuple[Found, float]:
    """The step that meets the wish on the whole scene, or on a sample of tiles of a big one."""
    pixels = header.size[0] * header.size[1]
    windows = _spread(header, max(SAMPLE_PIXELS // header.tile**2, 1))
    parts = [source.read_raw(window) for window in windows]
    seen = sum(part.shape[1] * part.shape[2] for part in parts)
    if seen < pixels:
        logger.info("the search looks at %d of %d tiles", len(parts), math.prod(header.tile_grid))
    values = pixels * len(header.bands)

    def measure(step: float) -> tuple[float, float]:
        pipe = TilePipe(with_step(header, step), decoding=False)
        stamped = replace(pipe.header, stamp=model_stamp(pipe.coder))
        with ThreadPoolExecutor(THREADS, "eorestore-tiles") as pool:
            if wish.psnr is None:
                size, psnr = sum(len(content) for content in pool.map(pipe.encode, parts)), math.nan
            else:
                tiles = list(pool.map(partial(code, pipe), parts))
                size, psnr = sum(len(content) for content, _ in tiles), sum((one for _, one in tiles), Score()).psnr
        return size * pixels / seen + bytes_besides_tiles(stamped), psnr

    size = None if wish.bits is None else wish.bits * values / 8
    return search_step(measure, size=size, psnr=wish.psnr), seen / pixels


def bytes_besides_tiles(header: Header) -> int:
    """Bytes of the front of a file with this header, to within a few for the lengths of its tiles."""
    count = math.prod(header.tile_grid)
    return len(pack_front(header, [(1 << 14, 0)] * count))
