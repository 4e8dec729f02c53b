"""Temperatures from GeoTIFFs: DN with a known factor stay DN, all else is float32 kelvin; QA files add gaps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterioWindow

from eorestore.errors import BandError, DataError
from eorestore.raster.encoding import Encoding
from eorestore.raster.files.sources import KELVIN, SourcedBand, named
from eorestore.raster.grid import Grid, Window
from eorestore.raster.landsat_metadata import level1_product, metadata_beside, quality_beside
from eorestore.raster.products import Declared, FileFacts
from eorestore.raster.thermal_products import LANDSAT_QUALITY, Conversion, Product, tiff_product


@dataclass
class TiffSource:
    """The first band of what GDAL opens under a name; `gap` is written over pixels without an observation.

    Without a gap it gives kelvin. quality: files of `LANDSAT_QUALITY` by layer.
    """

    path: Path | str
    conversion: Conversion
    gap: int | None
    quality: Mapping[str, Path]
    _datasets: dict[str, Any] = field(default_factory=dict)

    def read(self, window: Window) -> NDArray[Any]:
        """Raw values (1, y, x) of a window."""
        stored = self._window("", self.path, window)
        kelvin = self.conversion.kelvin(stored)
        for name, path in self.quality.items():
            kelvin[LANDSAT_QUALITY[name].is_missing(self._window(name, path, window))] = np.nan
        values: NDArray[Any] = (
            kelvin if self.gap is None else np.where(np.isnan(kelvin), stored.dtype.type(self.gap), stored)
        )
        return values[None]

    def _window(self, name: str, path: Path | str, window: Window) -> NDArray[Any]:
        if name not in self._datasets:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._datasets[name] = rasterio.open(path)
        place = RasterioWindow(window.column, window.row, window.width, window.height)
        stored: NDArray[Any] = self._datasets[name].read(1, window=place)
        return stored


def thermal_geotiff(facts: FileFacts, grid: Grid, declared: Declared) -> SourcedBand | None:
    """The temperature that a GeoTIFF holds by the rules of `raster.thermal_products`; None where it holds none.

    Raises BandError, and DataError for a damaged MTL file.
    """
    tags = dict(facts.tags)
    metadata = metadata_beside(facts.path) if np.dtype(facts.dtype).kind == "u" else None
    product = tiff_product(facts, declared)
    if product is None and metadata is not None and declared.unit is None:
        product, further = level1_product(facts.path, metadata)
        tags = further | tags
    if product is None:
        return None
    if declared.bands is not None and len(declared.bands) != 1:
        raise BandError(
            f"{facts.path.name} is a thermal scene of one band; {len(declared.bands)} names were given",
            fix="give one name, or none",
        )
    name = facts.path.name
    notes = product.notes(name)
    if facts.count > 1:
        notes.append(f"{name}: only the first of {facts.count} bands is read")
    quality, told = _usable(quality_beside(facts.path), grid, name)
    encoding, gap = _encoding(facts, product)
    return SourcedBand(
        facts.path, named(product, declared, by_variable=False), facts.descriptions[0] or product.band.name, encoding,
        grid, partial(TiffSource, facts.path, product.conversion, gap, quality), (*notes, *told), tags,
    )  # fmt: skip


def _encoding(facts: FileFacts, product: Product) -> tuple[Encoding, int | None]:
    """Unsigned DN with a linear factor as they are, with the product's fill as nodata; else float32 kelvin."""
    conversion = product.conversion
    if np.dtype(facts.dtype).kind != "u" or conversion.planck is not None:
        return KELVIN, None
    stored = np.array([*conversion.fills, 0.0])
    held = stored[(stored >= 0) & (stored <= np.iinfo(facts.dtype).max) & (stored == np.rint(stored))]
    gaps = held[np.isnan(conversion.kelvin(held.astype(facts.dtype)))]
    if not gaps.size:  # every number is a temperature
        return KELVIN, None
    gap = int(gaps[0])
    return Encoding(facts.dtype, conversion.scale, conversion.offset, float(gap)), gap


def _usable(beside: Mapping[str, Path], grid: Grid, name: str) -> tuple[dict[str, Path], list[str]]:
    """Quality files of the same size, and what the log says of all."""
    usable, told = {}, []
    for layer, path in beside.items():
        try:
            with rasterio.open(path) as source:
                same = (source.height, source.width) == grid.size
        except RasterioError as error:
            raise DataError(f"{path.name} cannot be opened: {error}", fix="fetch it again, or remove it") from None
        if same:
            usable[layer] = path
        told.append(f"{name}: {path.name} {'takes its fill pixels away' if same else 'has another size: not used'}")
    return usable, told


def in_memory(band: SourcedBand) -> Any:  # noqa: ANN401 - a dataset of rasterio
    """The whole band, encoded as its source gives it, as an open dataset in memory, for warping."""
    coded = band.encoding
    profile = {
        "driver": "GTiff", "count": 1, "height": band.grid.height, "width": band.grid.width, "dtype": coded.dtype,
        "nodata": coded.nodata, "crs": rasterio.crs.CRS.from_wkt(band.grid.crs),
        "transform": rasterio.Affine(*band.grid.transform),
    }  # fmt: skip
    memory = rasterio.MemoryFile()
    with memory.open(**profile) as target:
        target.write(band.opened().read(Window(0, 0, *band.grid.size)))
    return memory.open()
