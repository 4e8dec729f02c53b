"""Windows out to a GeoTIFF or COG under a temporary name that becomes the real one when complete."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from eorestore.errors import WriteError
from eorestore.raster.encoding import Encoding
from eorestore.raster.grid import Grid, Window
from eorestore.raster.raster import Raster

BLOCK = 256


class RasterWriter:
    """Writes a GeoTIFF by windows under a temporary name; it takes its own name on a clean exit only.

    cog: leave a Cloud-Optimized GeoTIFF. Raises WriteError; nothing stands under `path` then.
    """

    def __init__(
        self,
        path: Path,
        *,
        grid: Grid,
        encoding: Encoding,
        descriptions: tuple[str, ...],
        tags: Mapping[str, str] | None = None,
        units: tuple[str, ...] = (),
        scaled: bool = False,
        cog: bool = False,
    ) -> None:
        self.path, self.cog = path, cog
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.partial.tif")
        profile = {
            "driver": "GTiff", "height": grid.height, "width": grid.width, "count": len(descriptions),
            "dtype": encoding.dtype, "nodata": encoding.nodata, **_place(grid),
            **creation_options(encoding, grid.size),
        }  # fmt: skip
        self._errors = _ErrorLog()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._dataset = rasterio.open(self.temporary, "w", **profile)
            self._dataset.descriptions = descriptions
            if units:
                self._dataset.units = units
            if scaled:
                self._dataset.scales = [encoding.scale] * len(descriptions)
                self._dataset.offsets = [encoding.offset] * len(descriptions)
            self._dataset.update_tags(**{key: value for key, value in (tags or {}).items() if key != "AREA_OR_POINT"})
        except (RasterioError, OSError) as error:
            self._give_up(error)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Further tags, which are known only now."""
        try:
            self._dataset.update_tags(**tags)
        except (RasterioError, OSError) as error:
            self._give_up(error)

    def write(self, window: Window, raw: NDArray[Any]) -> None:
        """Store a (band, y, x) block at its window."""
        place = RasterioWindow(window.column, window.row, window.width, window.height)
        try:
            self._dataset.write(raw, window=place)
        except (RasterioError, OSError) as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._errors:
                self._dataset.close()
            if kind is None:
                self._finish()
        except (RasterioError, OSError) as error:
            if kind is None:
                self._give_up(error)
        finally:
            self.temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._errors.lines:
            raise OSError(self._errors.lines[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(self.temporary) as written:
                written.read(window=RasterioWindow(written.width - 1, written.height - 1, 1, 1))
        source = self.temporary
        if self.cog:
            source = self.temporary.with_suffix(".cog")
            try:
                rasterio.shutil.copy(self.temporary, source, driver="COG", compress="deflate", num_threads="2")
                source.replace(self.path)
            finally:
                source.unlink(missing_ok=True)
        else:
            source.replace(self.path)

    def _give_up(self, error: Exception) -> None:
        with contextlib.suppress(NotADirectoryError):
            self.temporary.unlink(missing_ok=True)
        raise WriteError(
            f"{self.path} cannot be written: {_first_line(error)}",
            fix="check the folder, its rights and the free space (eorestore restore --dry-run prints the size)",
        ) from None


def creation_options(encoding: Encoding, size: tuple[int, int]) -> dict[str, Any]:
    """How we store GeoTIFFs: deflated blocks, a predictor for the dtype, sparse, big where needed."""
    options: dict[str, Any] = {
        "compress": "deflate", "zlevel": 1, "predictor": 2 if encoding.is_integer else 3,
        "num_threads": 2, "sparse_ok": True, "bigtiff": "if_safer", "interleave": "band",
    }  # fmt: skip
    if min(size) >= BLOCK:
        options |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    return options


def _place(grid: Grid) -> dict[str, Any]:
    """CRS and transform; nothing for a picture, whose pixels are counted from its corner and lie nowhere."""
    if not grid.crs and (grid.transform[2], grid.transform[5]) == (0.0, 0.0):
        return {}
    crs = rasterio.crs.CRS.from_wkt(grid.crs) if grid.crs else None
    return {"crs": crs, "transform": rasterio.Affine(*grid.transform)}


def write_raster(path: Path, raster: Raster, *, encoding: Encoding, tags: Mapping[str, str] | None = None) -> None:
    """A whole Raster as a GeoTIFF in the given encoding; invalid pixels become nodata. Raises WriteError."""
    raw = encoding.encode(raster.values)
    if encoding.nodata is not None:
        raw[:, ~raster.valid] = encoding.nodata
    units = tuple(str(band.unit) for band in raster.bands)
    with RasterWriter(
        path, grid=raster.grid, encoding=encoding, descriptions=raster.bands.names, tags=tags, units=units,
        scaled=encoding.scale != 1.0,
    ) as writer:  # fmt: skip
        writer.write(Window(0, 0, *raster.grid.size), raw)


class _ErrorLog(logging.Handler):
    """Collects what GDAL says while a dataset closes; rasterio only logs those errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("rasterio").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("rasterio").removeHandler(self)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
