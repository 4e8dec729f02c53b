"""Temperatures from HDF5 and NetCDF files: which variable, on which grid, read by windows; h5py is imported late."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eorestore.errors import BandError, DataError, MissingError
from eorestore.raster.array_grids import LONGITUDE_LATITUDE, Axis, eos_grid, even_transform, mapped_grid
from eorestore.raster.files.crs import wkt_from
from eorestore.raster.files.sources import KELVIN, ArraySource, SourcedBand, named, placeless, range_note
from eorestore.raster.grid import Grid, Transform
from eorestore.raster.products import Declared
from eorestore.raster.thermal_products import Product, choose_variable, declared_product, hdf_product, short_name

_UNREADABLE = (OSError, RuntimeError, LookupError, ValueError, TypeError)  # what h5py and scipy raise at damaged files


@dataclass(frozen=True)
class _Variable:
    """A stored array. values: sliced on demand; attributes: plain numbers and text.

    unsigned: a signed type that its attribute _Unsigned makes unsigned.
    """

    path: str
    values: Any
    attributes: Mapping[str, Any]
    unsigned: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype = np.dtype(self.values.dtype)
        real: np.dtype[Any] = np.dtype(dtype.str.replace("i", "u")) if self.unsigned else dtype
        return real

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of numbers in two dimensions; None for anything else."""
        shape = self.values.shape
        plane = len(shape) >= 2 and all(length == 1 for length in shape[:-2]) and min(shape[-2:]) > 1
        return (int(shape[-2]), int(shape[-1])) if plane and self.dtype.kind in "uif" else None

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass
class _ArrayFile:
    """An open file of variables by path. handle: what keeps it open."""

    handle: Any
    variables: dict[str, _Variable] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def beside(self, variable: _Variable, name: str) -> _Variable | None:
        """The variable of that name in the same group, or at the top."""
        inside = f"{variable.folder}/{name}".lstrip("/")
        return self.variables.get(inside) or self.variables.get(name)


def open_hdf(path: Path, declared: Declared, tags: Mapping[str, str], *, anywhere: bool) -> SourcedBand | None:
    """The temperature of an HDF5 or NetCDF file; of several the one that --bands names; None without any plane.

    Raises DataError for a damaged file, BandError, UnitError and GridError by the rules of `thermal_products`,
    MissingError without h5py.
    """
    file = _opened(path)
    planes = {key: variable for key, variable in file.variables.items() if variable.size is not None}
    if not planes:
        _refuse_stacks(file, path.name)
        return None
    found = {key: hdf_product(key, plane.dtype, plane.attributes) for key, plane in planes.items()}
    chosen = choose_variable(path.name, found, declared)
    variable = planes[chosen]
    size = variable.size or (0, 0)
    try:
        product = found[chosen] or declared_product(variable.dtype, variable.attributes)
        placed = _grid(file, variable, size)
        source = _source(file, variable, product)
        outside = range_note(source, size, file=path.name)
    except _UNREADABLE as error:
        raise _damaged(path, error) from None
    layer = source.quality
    notes = [*product.notes(f"{path.name}: {short_name(chosen)}"), *outside]
    if layer is not None:
        notes.append(f"{path.name}: {layer.layer} takes pixels away")
    grid, told = (placed, []) if placed is not None else placeless(size, file=path.name, anywhere=anywhere)
    started = file.attributes.get("time_coverage_start") or file.attributes.get("start_time")
    dated = {} if started is None else {"DATETIME": str(started)}
    return SourcedBand(
        path, named(product, declared, by_variable=True), short_name(chosen), KELVIN, grid,
        partial(_reopened, path, chosen, product), (*notes, *told), dated | dict(tags),
    )  # fmt: skip


def _refuse_stacks(file: _ArrayFile, name: str) -> None:
    """Raise BandError for temperatures in more than two dimensions, which GDAL would give as bands without names."""
    stacks = [
        f"{short_name(key)} {variable.values.shape}"
        for key, variable in file.variables.items()
        if len(variable.values.shape) > 2 and hdf_product(key, variable.dtype, variable.attributes) is not None
    ]
    if stacks:
        raise BandError(
            f"{name} holds temperatures in more than two dimensions: {', '.join(stacks)}",
            fix="take one time or level out of it first",
        )


def _reopened(path: Path, chosen: str, product: Product) -> ArraySource:
    file = _opened(path)
    return _source(file, file.variables[chosen], product)


def _source(file: _ArrayFile, variable: _Variable, product: Product) -> ArraySource:
    source = ArraySource(variable.values, product.conversion, unsigned=variable.unsigned)
    if product.quality is None:
        return source
    flags = file.beside(variable, product.quality.layer)
    if flags is None or flags.size != variable.size or flags.dtype.kind not in "ui":
        return source
    return replace(source, flags=flags.values, quality=product.quality)


def _opened(path: Path) -> _ArrayFile:
    try:
        with path.open("rb") as start:
            classic = start.read(3) == b"CDF"
        return _classic(path) if classic else _hdf5(path)
    except _UNREADABLE as error:
        raise _damaged(path, error) from None


def _hdf5(path: Path) -> _ArrayFile:
    try:
        import h5py
    except ImportError:
        raise MissingError.package("h5py", "hdf") from None
    handle = h5py.File(path, "r")
    file = _ArrayFile(handle, attributes=_plain(handle.attrs.items()))

    def visit(name: str, node: Any) -> None:  # noqa: ANN401 - see h5py
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "uifSO":
            file.variables[name] = _variable(name, node, _plain(_readable(node.attrs)))

    handle.visititems(visit)
    return file


def _classic(path: Path) -> _ArrayFile:
    from scipy.io import netcdf_file

    handle = netcdf_file(path, "r", mmap=False)
    attributes = _plain(handle._attributes.items())
    variables = {
        name: _variable(name, stored.data, _plain(stored._attributes.items()))
        for name, stored in handle.variables.items()
    }
    return _ArrayFile(handle, variables, attributes)


def _variable(path: str, values: Any, attributes: dict[str, Any]) -> _Variable:  # noqa: ANN401
    unsigned = str(attributes.get("_Unsigned", "")).lower() == "true" and np.dtype(values.dtype).kind == "i"
    if unsigned:
        bits = 8 * np.dtype(values.dtype).itemsize
        for key in ("_FillValue", "missing_value"):
            if key in attributes and attributes[key] < 0:
                attributes[key] += 1 << bits
    return _Variable(path, values, attributes, unsigned)


def _readable(attributes: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - see h5py
    """Attributes one by one, without those of types that h5py does not know."""
    for key in attributes:
        try:
            yield key, attributes[key]
        except (OSError, TypeError):
            continue


def _plain(items: Any) -> dict[str, Any]:  # noqa: ANN401 - pairs of whatever the library gives
    """Attributes as text, int and float; arrays of one element as that element, longer ones left out."""
    plain: dict[str, Any] = {}
    for key, value in items:
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "uifSUO":
            continue
        single = array.reshape(-1)[0]
        if isinstance(single, bytes):
            single = single.decode("utf-8", errors="replace")
        plain[str(key)] = single.item() if isinstance(single, np.generic) else single
    return {key: value for key, value in plain.items() if isinstance(value, str | int | float)}


def _grid(file: _ArrayFile, variable: _Variable, size: tuple[int, int]) -> Grid | None:
    """Where the product says that its pixels lie; None for a swath."""
    found = _eos(file, variable, size) or _mapped(file, variable, size)
    if found is None:
        return None
    transform, crs = found
    return Grid(wkt_from(crs), transform, *size)


def _eos(file: _ArrayFile, variable: _Variable, size: tuple[int, int]) -> tuple[Transform, str] | None:
    inside = re.search(r"(?:^|/)GRIDS/([^/]+)/", variable.path)
    texts = [stored for key, stored in file.variables.items() if re.search(r"(?:^|/)StructMetadata\.\d+$", key)]
    if inside is None or not texts:
        return None
    parts = [np.asarray(stored.values[()]).reshape(-1)[0] for stored in texts]
    text = "".join(part.decode("utf-8", errors="replace") if isinstance(part, bytes) else str(part) for part in parts)
    return eos_grid(text, inside[1], size)


def _mapped(file: _ArrayFile, variable: _Variable, size: tuple[int, int]) -> tuple[Transform, str] | None:
    lines = [
        axis
        for candidate in file.variables.values()
        if candidate.folder in (variable.folder, "") and (axis := _axis(candidate)) is not None
    ]
    height, width = size
    x = _first(lines, width, "x", "projection_x_coordinate")
    y = _first(lines, height, "y", "projection_y_coordinate")
    longitude = _first(lines, width, "lon", "longitude")
    latitude = _first(lines, height, "lat", "latitude")
    mapping = file.beside(variable, str(variable.attributes.get("grid_mapping", "")).partition(":")[0].strip())
    if mapping is not None:
        found = mapped_grid(mapping.attributes, x or longitude, y or latitude)
        if found is not None:
            return found
    if longitude is None or latitude is None:
        return None
    transform = even_transform(longitude.values, latitude.values)
    return None if transform is None else (transform, LONGITUDE_LATITUDE)


def _first(axes: list[Axis], length: int, *names: str) -> Axis | None:
    return next((axis for axis in axes if len(axis.values) == length and axis.is_called(*names)), None)


def _axis(variable: _Variable) -> Axis | None:
    """A coordinate, read whole; None for anything else."""
    axis = Axis(variable.name, np.empty(0), variable.attributes)
    names = ("x", "y", "lon", "lat", "longitude", "latitude", "projection_x_coordinate", "projection_y_coordinate")
    if len(variable.values.shape) != 1 or variable.dtype.kind not in "uif" or not axis.is_called(*names):
        return None
    stored = np.asarray(variable.values[:])
    physical = (stored.view(variable.dtype) if variable.unsigned else stored).astype(np.float64)
    scale, offset = (
        float(variable.attributes.get(key, plain)) for key, plain in (("scale_factor", 1), ("add_offset", 0))
    )
    return replace(axis, values=physical * scale + offset)


def _damaged(path: Path, error: Exception) -> DataError:
    line = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"{path.name} cannot be read: {line}", fix="fetch the file again; it may be truncated")
