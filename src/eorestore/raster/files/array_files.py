"""Which reader a file of arrays gets: HDF5, NetCDF, npz or npy, by its first bytes and its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eorestore.errors import DataError
from eorestore.raster.bands import Unit
from eorestore.raster.files.hdf_reading import open_hdf
from eorestore.raster.files.numpy_reading import open_npy, open_npz
from eorestore.raster.files.sources import SourcedBand
from eorestore.raster.files.subdatasets import open_subdatasets
from eorestore.raster.products import Declared

_HDF4 = b"\x0e\x03\x13\x01"
_HDF = (".h5", ".hdf5", ".he5", ".nc", ".nc4", ".cdf", ".hdf")
SLSTR = "LST_in.nc"  # the file of a Sentinel-3 folder that holds the temperature


def open_arrays(path: Path, declared: Declared, tags: Mapping[str, str], *, anywhere: bool) -> SourcedBand | None:
    """The temperature that a file of arrays holds; None for a file that GDAL shall read.

    A Sentinel-3 folder SL_2_LST is read through its LST_in.nc. Raises DataError and its kinds, MissingError for h5py.
    """
    if path.is_dir():
        path = path / SLSTR
        if not path.is_file():
            return None
    start = _first_bytes(path)
    if path.suffix.lower() == ".npz":
        return open_npz(path, declared, tags, anywhere=anywhere)
    if path.suffix.lower() == ".npy":
        return open_npy(path, declared, tags, anywhere=anywhere)
    if start.startswith(_HDF4):
        return open_subdatasets(path, declared, tags, anywhere=anywhere)
    if path.suffix.lower() not in _HDF or declared.unit not in (None, Unit.KELVIN):
        return None
    return open_hdf(path, declared, tags, anywhere=anywhere)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}", fix="check the path and its rights") from None
