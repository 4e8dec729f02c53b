"""Where finished rows go: one GeoTIFF, a COG, or a folder of band files on their own grids; renamed when complete."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from eorestore.errors import BandError, UsageError, WriteError
from eorestore.models.catalogue import checkpoint_in
from eorestore.processing.units import RADAR
from eorestore.raster import Unit, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import RasterFile, RasterWriter, open_raster
from eorestore.raster.products import band_files
from eorestore.restorer.maps import NO_MAPS, SOURCE, MapStack
from eorestore.restorer.rows import Rows
from eorestore.tiling.compositing import Source

SOURCE_ENCODING = Encoding("uint8", nodata=float(Source.NODATA))
MAP_ENCODING = Encoding("float32", nodata=float("nan"))
CHECKPOINT = "checkpoint"
BESIDE: Mapping[str, str] = {
    "npy": "npy",
    "turbo": "turbo.png",
    "grey": "grey.png",
    "comparison": "comparison.png",
    CHECKPOINT: "checkpoint",
}
"""What may stand beside an enlarged scene that is no map, by name: how its file is called after the scene's name."""
_BAND_STRIP = 1024


@dataclass(frozen=True)
class Target:
    """A path and what it means: `.tif` and `.tiff` GeoTIFF, `.cog.tif` COG, no suffix a folder of band files."""

    path: Path
    cog: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether the result is a folder of band files."""
        return self.path.suffix == ""

    def map_path(self, name: str) -> Path:
        """The file of the map called `name`; the source layer is one."""
        return self._called(f"{name}.tif")

    def beside(self, name: str) -> Path:
        """The file of what `BESIDE` calls `name`."""
        return self._called(BESIDE[name])

    @property
    def sidecar(self) -> Path:
        """The JSON beside the result."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def preview(self) -> Path:
        """The picture beside the result."""
        return self.path.with_name(f"{self.path.name}.preview.png")

    @property
    def partial(self) -> Path:
        """The folder of an unfinished run."""
        return self.path.with_name(f"{self.path.name}.partial")

    def _called(self, ending: str) -> Path:
        return self.path.with_name(f"{self.path.name.removesuffix('.tif').removesuffix('.cog')}.{ending}")


def target_for(
    path: Path, *, cog: bool, overwrite: bool, save: Sequence[str] = (), beside: Sequence[str] = ()
) -> Target:
    """What `path` asks for, with the maps named `save` and the files that `BESIDE` calls `beside`.

    Raises UsageError for an unknown suffix, WriteError where something stands there.
    """
    if path.suffix.lower() not in {".tif", ".tiff", ""}:
        raise UsageError(
            f"{path.name}: no output format {path.suffix}", fix="use .tif, .cog.tif, or a name without suffix (folder)"
        )
    if not path.parent.is_dir():
        raise WriteError(f"there is no folder {path.parent}", fix="create it first")
    target = Target(path, cog or path.name.lower().endswith(".cog.tif"))
    for place in (path, *(target.map_path(name) for name in save), *map(target.beside, beside)):
        if place.exists() and not overwrite:
            raise WriteError(f"{place} exists already", fix="choose another name or add --overwrite")
    if CHECKPOINT in beside and (folder := target.beside(CHECKPOINT)).exists() and checkpoint_in(folder) is None:
        raise WriteError(f"{folder} stands there and is no checkpoint", fix="choose another name, or remove it")
    if not path.exists():
        return target
    if path.is_dir() != target.is_folder:
        raise WriteError(
            f"{path} is a {'folder' if path.is_dir() else 'file'}, the result would not be", fix="choose another name"
        )
    if target.is_folder and not _holds_bands_alone(path):
        raise WriteError(f"{path} holds more than band files", fix="choose another name; it is not replaced")
    return target


class Output:
    """Open writers for the image, its maps and, if asked for, the source layer; `write` takes finished rows in order.

    map_tags: further tags of a map, by its name. scale: rows and columns of the result per one of the scene.
    """

    def __init__(
        self,
        target: Target,
        optical: RasterFile,
        *,
        tags: Mapping[str, str],
        save_source: bool,
        maps: MapStack = NO_MAPS,
        map_tags: Mapping[str, Mapping[str, str]] | None = None,
        scale: int = 1,
    ) -> None:
        self.target, self.optical, self.tags, self.maps = target, optical, tags, maps
        self.scale = scale
        grid = optical.grid.scale(scale)
        self._keep_source = save_source
        self._map_paths = [target.map_path(name) for name in maps.names]
        self._image_path = target.path.with_name(f".{target.path.name}.whole.tif") if target.is_folder else target.path
        self._source_path = (
            target.map_path(SOURCE) if save_source else target.path.with_name(f".{target.path.name}.src.tif")
        )
        _remove_stale(self._image_path, self._source_path, *self._map_paths)
        self._source: RasterWriter | None = None
        self._maps: dict[str, RasterWriter] = {}
        with ExitStack() as stack:
            self._image = stack.enter_context(
                RasterWriter(
                    self._image_path,
                    grid=grid,
                    encoding=optical.encoding_to_write,
                    descriptions=optical.descriptions,
                    units=_certain_units(optical) if scale == 1 else _units(optical),
                    tags=tags,
                    scaled=optical.declares_scale,
                    cog=target.cog and not target.is_folder,
                )
            )
            if save_source or target.is_folder:
                self._source = stack.enter_context(
                    RasterWriter(
                        self._source_path,
                        grid=grid,
                        encoding=SOURCE_ENCODING,
                        descriptions=("source",),
                        units=("class",),
                        tags=tags,
                    )
                )
            for layer, path in zip(maps.layers, self._map_paths, strict=True):
                self._maps[layer.name] = stack.enter_context(
                    RasterWriter(
                        path,
                        grid=grid,
                        encoding=MAP_ENCODING,
                        descriptions=layer.bands,
                        units=(str(layer.unit),) * len(layer.bands),
                        tags={**tags, **(map_tags or {}).get(layer.name, {})},
                    )
                )
            self._stack = stack.pop_all()

    def write(self, rows: Rows) -> None:
        """Finished rows with the bands of all maps."""
        window = Window(rows.first, 0, *rows.source.shape)
        self._image.write(window, rows.raw)
        if self._source is not None:
            self._source.write(window, rows.source[None])
        for name, values in self.maps.split(rows.maps).items():
            self._maps[name].write(window, values)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Further tags of the image, which are known once it is done."""
        self.tags = {**self.tags, **tags}
        self._image.tag(tags)

    def __enter__(self) -> Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: Any) -> None:  # noqa: ANN401
        try:
            self._stack.__exit__(kind, value, trace)
            if kind is None and self.target.is_folder:
                self._split()
        except WriteError:
            # Maps and source layer take their names first; without the image they would be half a result.
            for path in (self._source_path, *self._map_paths):
                path.unlink(missing_ok=True)
            raise
        finally:
            if self.target.is_folder:
                self._image_path.unlink(missing_ok=True)
                if not self._keep_source:
                    self._source_path.unlink(missing_ok=True)

    def _split(self) -> None:
        """One file a band on its own grid: untouched pixels as they were, restored ones averaged."""
        folder = self.target.path.with_name(f".{self.target.path.name}.folder.partial")
        shutil.rmtree(folder, ignore_errors=True)
        whole, source = open_raster(self._image_path), open_raster(self._source_path)
        try:
            folder.mkdir()
            for row, member in enumerate(self.optical.members):
                path = folder / f"{member.path.stem}.tif"
                if self.scale > 1:
                    self._write_enlarged(path, whole.only(row))
                else:
                    self._write_member(path, row, whole, source)
            if self.target.path.exists():
                shutil.rmtree(self.target.path)
            folder.replace(self.target.path)
        except OSError as error:
            raise WriteError(f"{self.target.path} cannot be written: {error}", fix="check the folder") from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _write_enlarged(self, path: Path, band: RasterFile) -> None:
        """A band as it is in the whole: all are on one grid, since the finest decides what is enlarged."""
        with RasterWriter(
            path,
            grid=band.grid,
            encoding=self.optical.encoding_to_write,
            descriptions=band.descriptions,
            tags=self.tags,
        ) as writer:
            for first in range(0, band.grid.height, _BAND_STRIP):
                window = Window(first, 0, min(_BAND_STRIP, band.grid.height - first), band.grid.width)
                writer.write(window, band.read_raw(window))

    def _write_member(self, path: Path, row: int, whole: RasterFile, source: RasterFile) -> None:
        member = self.optical.members[row]
        native = self.optical.member_file(row)
        grid = native.grid
        same = member.grid.same_as(self.optical.base)
        band = whole.only(row)
        restored = band if same else band.aligned(grid, name=path.name)
        touched = source if same else source.aligned(grid, name=path.name, method="most")
        with RasterWriter(
            path, grid=grid, encoding=native.encoding_to_write, descriptions=native.descriptions, tags=self.tags
        ) as writer:
            for first in range(0, grid.height, _BAND_STRIP):
                window = Window(first, 0, min(_BAND_STRIP, grid.height - first), grid.width)
                raw = native.read_raw(window)
                new = restored.read_raw(window)
                changed = (touched.read_raw(window) == Source.RESTORED) & np.isfinite(new)
                limits = np.iinfo(raw.dtype) if raw.dtype.kind in "ui" else None
                rounded = new if limits is None else np.clip(np.rint(np.nan_to_num(new)), limits.min, limits.max)
                writer.write(window, np.where(changed, rounded, raw).astype(raw.dtype))


def _certain_units(file: RasterFile) -> tuple[str, ...]:
    """Units to write: of radar and temperature those of its bands, so that the result says them; of reflectance none.

    Numbers of Sentinel-2 may be DN without a declared scale, which `reflectance` would deny.
    """
    units = tuple(band.unit for band in file.bands)
    return tuple(map(str, units)) if set(units) <= RADAR | {Unit.KELVIN} else ()


def _units(file: RasterFile) -> tuple[str, ...]:
    """Units to write of an enlarged scene: as the file states them, and those that DN could not deny."""
    said = () if file.facts is None else file.facts.units
    if said and all(said):
        return tuple(str(unit) for unit in said)
    units = tuple(band.unit for band in file.bands)
    return tuple(map(str, units)) if not {Unit.REFLECTANCE, Unit.COUNT} & set(units) else ()


def _holds_bands_alone(folder: Path) -> bool:
    entries = set(folder.iterdir())
    try:
        return entries == set(band_files(folder).values())
    except BandError:
        return not entries


def _remove_stale(*paths: Path) -> None:
    """Delete what a killed run was writing under a temporary name."""
    for path in paths:
        for stale in path.parent.glob(f".{escape(path.name)}.*.partial.tif"):
            stale.unlink()
