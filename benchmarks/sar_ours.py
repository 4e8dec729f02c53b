"""Our codec as rows of sar_rivals' tables: whole files with CRS and transform, read back from their bytes."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sar_rivals import BOUNDS, CENTIBEL, Band, Codec

from eorestore.codec.modes import Wish
from eorestore.codec.scene import compress_scene
from eorestore.codec.source import RasterSource
from eorestore.codec.stored_scene import StoredScene
from eorestore.raster import Band as RasterBand
from eorestore.raster import BandSet, Grid, Raster, Unit
from eorestore.raster.files.crs import wkt_of

EPSG = 32630
TRANSFORM = (10.0, 0.0, 499980.0, 0.0, -10.0, 4600020.0)
QUALITIES = tuple(float(value) for value in np.arange(0.0, 10.01, 0.5))


def _file(bands: Sequence[Band], wish: Wish) -> bytes:
    values = np.stack([band.values for band in bands]).astype(np.float32)
    valid = np.logical_and.reduce([band.valid for band in bands])
    names = BandSet(tuple(RasterBand(band.polarisation, Unit.DECIBEL) for band in bands))
    raster = Raster(values, valid, names, Grid(wkt_of(EPSG), TRANSFORM, *values.shape[1:]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.eoz"
        compress_scene(RasterSource(raster), path, wish)
        return path.read_bytes()


def _decoded(data: bytes, bands: Sequence[Band], _: float) -> list[NDArray[np.float64]]:
    with StoredScene(io.BytesIO(data)) as scene:
        raster = scene.read()
    return [
        np.clip(np.nan_to_num(plane.astype(np.float64)), band.low, band.low + 40)
        for plane, band in zip(raster.values, bands, strict=True)
    ]


def ours(settings: Sequence[float], kind: str, *, joint: bool = False) -> Codec:
    """`kind` is the field of `Wish` that a setting is for; lossless has none."""

    def encode(bands: Sequence[Band], setting: float) -> bytes:
        return _file(bands, Wish(lossless=True) if kind == "lossless" else Wish(**{kind: setting}))

    return Codec(tuple(settings), encode, _decoded, joint=joint, masked=True)


LOSSY_OURS = {"eorestore": ours(QUALITIES, "quality"), "eorestore VV+VH": ours(QUALITIES, "quality", joint=True)}
BOUNDED_OURS = {"eorestore": ours(BOUNDS, "max_error")}
LOSSLESS_OURS = {"eorestore": ours([CENTIBEL], "lossless")}
