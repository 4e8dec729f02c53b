"""From raster files to .eoz files and back: open, check, code, and the facts of a sidecar; knows no command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eorestore import __version__
from eorestore.codec.check import check_scene
from eorestore.codec.modes import Wish
from eorestore.codec.scene import Compressed, compress_scene
from eorestore.codec.small_picture import SmallPicture
from eorestore.codec.source import FileSource, RasterSource, Source
from eorestore.codec.stored_scene import StoredScene
from eorestore.codec.unpacking import decompress_scene, export_scene
from eorestore.errors import UsageError, WriteError
from eorestore.raster import Raster, Unit, Window
from eorestore.raster.files import open_raster
from eorestore.raster.products import Declared
from eorestore.restorer.provenance import file_facts, file_hash

Progress = Callable[[int, int], None]
SUFFIX = ".eoz"


@dataclass(frozen=True)
class CompressRequest:
    """A scene on disk and how it is to be compressed.

    bands, unit, nodata: what the file does not say. tile: 256 or 512. check: decode the file again and score it.
    """

    scene: Path
    out: Path
    wish: Wish
    bands: Sequence[str] | None = None
    unit: Unit | str | None = None
    nodata: float | None = None
    tile: int = 512
    check: bool = False
    overwrite: bool = False
    progress: Progress | None = None


@dataclass(frozen=True)
class CompressReport:
    """What was done, as a sidecar tells it, and a small picture of the scene."""

    done: Compressed
    facts: Mapping[str, Any]
    small: Raster


@dataclass(frozen=True)
class DecompressReport:
    """The same of a decompression."""

    facts: Mapping[str, Any]
    small: Raster


def request_options() -> tuple[str, ...]:
    """Fields of a request that a caller may name beside scene, output and wish."""
    return tuple(name for name in CompressRequest.__dataclass_fields__ if name not in {"scene", "out", "wish"})


def compress_file(request: CompressRequest) -> CompressReport:
    """Compress a file or a folder of band files. Raises EorestoreError kinds; nothing stands under `out` then."""
    _check_out(request.out, SUFFIX, overwrite=request.overwrite)
    wish = request.wish.checked()
    unit = None if request.unit is None else Unit.parse(str(request.unit))
    bands = None if request.bands is None else tuple(request.bands)
    file = open_raster(request.scene, declared=Declared(bands, unit))
    source = FileSource(file, request.nodata)
    small = SmallPicture(source.grid, source.bands, source.encoding)
    done = compress_scene(
        source, request.out, wish, tile=request.tile, progress=request.progress, keep_rows=small.add
    )  # fmt: skip
    facts = {"eorestore": __version__, **done.facts, "input": file_facts(file), "notes": list(file.notes)}
    if request.check:
        facts["check"] = _check(source, request.out)
    return CompressReport(done, facts, small.raster())


def compress_raster(raster: Raster, out: Path, wish: Wish, *, overwrite: bool = False) -> Compressed:
    """Compress a Raster. Raises EorestoreError kinds."""
    _check_out(out, SUFFIX, overwrite=overwrite)
    return compress_scene(RasterSource(raster), out, wish.checked())


def read_file(path: Path, *, window: tuple[int, int, int, int] | None = None, keep_going: bool = False) -> Raster:
    """A window (column, row, width, height) of an .eoz file as a Raster. Raises CodecError and DataError."""
    with StoredScene(path, keep_going=keep_going) as scene:
        return scene.read(_window(window))


def decompress_file(
    path: Path,
    out: Path,
    *,
    window: tuple[int, int, int, int] | None = None,
    keep_going: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DecompressReport:
    """Write a window of an .eoz file as a GeoTIFF. Raises CodecError, DataError and WriteError."""
    _check_out(out, ".tif", ".tiff", overwrite=overwrite)
    with StoredScene(path, keep_going=keep_going) as scene:
        chosen = _window(window) or scene.whole
        small = SmallPicture(scene.grid.crop(chosen), scene.bands, scene.encoding)
        done = decompress_scene(
            scene, out, window=chosen, cog=out.name.lower().endswith(".cog.tif"), progress=progress, keep_rows=small.add
        )
        facts = {"eorestore": __version__, **done.facts, "input": stored_facts(path, scene)}
    return DecompressReport(facts, small.raster())


def export_file(
    path: Path, out: Path, *, max_error: float | None = None, overwrite: bool = False, progress: Progress | None = None
) -> Mapping[str, Any]:
    """Write an .eoz file as a COG with LERC_ZSTD and return the facts.

    max_error: what LERC may change, in the unit of the values; by default 0.005 dB of decibel, and nothing of others.
    Raises CodecError, DataError, MissingError and WriteError.
    """
    _check_out(out, ".tif", ".tiff", overwrite=overwrite)
    with StoredScene(path) as scene:
        decibel = scene.encoding.dtype == "float32" and all(band.unit is Unit.DECIBEL for band in scene.bands)
        bound = (0.005 if decibel else 0.0) if max_error is None else max_error
        done = export_scene(scene, out, max_error=bound, progress=progress)
        facts = {"eorestore": __version__, **done.facts, "lerc_max_error": bound, "bytes": out.stat().st_size}
        return {**facts, "input": stored_facts(path, scene)}


def stored_facts(path: Path, scene: StoredScene) -> dict[str, Any]:
    """What `info` and sidecars say of an .eoz file."""
    header, grid = scene.header, scene.grid
    values = header.size[0] * header.size[1] * len(header.bands)
    size = path.stat().st_size
    bound = {"max_error_db": scene.pipe.step / 2} if scene.pipe.integers and scene.pipe.step else {}
    return {
        "path": str(path),
        "sha256": file_hash(path),
        "size": list(header.size),
        "pixel": list(grid.pixel_size),
        "bounds": list(grid.bounds),
        "crs": f"EPSG:{header.crs}" if isinstance(header.crs, int) else grid.crs,
        "bands": [f"{band.name} ({band.unit})" for band in header.bands],
        "dtype": scene.encoding.dtype,
        "nodata": scene.encoding.nodata,
        "mode": scene.pipe.mode.name.lower().replace("_", "-"),
        "coder": scene.coder_name,
        "model": header.stamp.hex() or None,
        "step_db": scene.pipe.step or None,
        **bound,
        "tile": header.tile or None,
        "tiles": list(header.tile_grid),
        "bytes": size,
        "header_bytes": scene.header_bytes,
        "bits_per_pixel": round(8 * size / values, 4),
        "tags": dict(header.tags),
    }


def _check(source: Source, path: Path) -> dict[str, Any]:
    with StoredScene(path) as scene:
        return check_scene(source, scene)


def _window(window: tuple[int, int, int, int] | None) -> Window | None:
    if window is None:
        return None
    column, row, width, height = window
    return Window(row, column, height, width)


def _check_out(path: Path, *suffixes: str, overwrite: bool) -> None:
    """Raises UsageError for an unknown suffix, WriteError where something stands there."""
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{path.name}: no output format {path.suffix}", fix=f"use {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise WriteError(f"there is no folder {path.parent}", fix="create it first")
    if path.is_dir() or (path.exists() and not overwrite):
        raise WriteError(f"{path} exists already", fix="choose another name or add --overwrite")
