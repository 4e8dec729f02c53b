"""Small radar scenes and stand-in coders for the tests of the codec; scenes are written by rasterio, not by us."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from eorestore.codec import chunk, fallback, tile_coder
from eorestore.errors import CodecError
from eorestore.raster import SENTINEL1, BandSet, Grid, Raster
from small_scenes import write_tif

CRS = (
    'PROJCS["WGS 84 / UTM zone 30N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",-3],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",0],'
    'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH],AUTHORITY["EPSG","32630"]]'
)


class ZlibCoder:
    """Integers through zlib: exact, and slow to shrink."""

    def encode(self, values, valid):
        return zlib.compress(np.where(valid, values, 0).astype("<i4").tobytes(), 1)

    def decode(self, payload, valid):
        try:
            plain = zlib.decompressobj().decompress(payload, valid.size * 4 + 1)
        except zlib.error as error:
            raise CodecError(f"not zlib: {error}", fix="take another copy") from None
        if len(plain) != valid.size * 4:
            raise CodecError("too short", fix="take another copy")
        return np.frombuffer(plain, "<i4").reshape(valid.shape).astype(np.int32)


class RoundingCoder:
    """Decibel rounded to the step: a stand-in for a transform coder."""

    def __init__(self, step):
        self.step = step

    def encode(self, values, valid):
        return ZlibCoder().encode(np.rint(values / self.step).astype(np.int32), valid)

    def decode(self, payload, valid):
        return (ZlibCoder().decode(payload, valid) * self.step).astype(np.float32)


def use_plain_coders(monkeypatch) -> None:
    """Let the codec work with the stand-ins, so that its tests are quick and none depends on a trained model."""
    entries = dict(tile_coder.CODERS)
    entries[0] = replace(entries[0], module="small_sar", kind="ZlibCoder")
    entries[1] = replace(entries[1], module="small_sar", kind="RoundingCoder")
    entries[3] = replace(entries[3], module="small_sar", kind="RoundingCoder")
    monkeypatch.setattr(tile_coder, "CODERS", entries)
    monkeypatch.setattr(fallback, "MOST_VALUES", 0)
    chunk._pipe.cache_clear()


def sar_values(size=(96, 80), *, bands=2, seed=0) -> np.ndarray:
    """Speckled backscatter in dB, float32 (band, y, x), neighbours alike as in 10 m Sentinel-1 products."""
    generator = np.random.default_rng(seed)
    land = gaussian_filter(generator.normal(size=size), 8, mode="wrap")
    land *= 4 / max(land.std(), 1e-9)
    planes = []
    for band in range(bands):
        speckle = gaussian_filter(generator.normal(size=size), 0.8, mode="wrap")
        planes.append(land - 11 - 7 * band + 2 * speckle / max(speckle.std(), 1e-9))
    return np.stack(planes).astype(np.float32)


def sar_grid(size=(96, 80)) -> Grid:
    return Grid(CRS, (10.0, 0.0, 399960.0, 0.0, -10.0, 4500000.0), *size)


def sar_raster(size=(96, 80), *, names=("VV", "VH"), seed=0, hole: bool = False) -> Raster:
    values = sar_values(size, bands=len(names), seed=seed)
    valid = np.ones(size, bool)
    if hole:
        valid[: size[0] // 3, : size[1] // 4] = False
    return Raster(values, valid, BandSet(tuple(SENTINEL1[name] for name in names)), sar_grid(size))


def write_sar(path: Path, values: np.ndarray, *, unit="decibel", names=("VV", "VH"), **options) -> Path:
    """values (band, y, x) as a GeoTIFF that says its bands and unit."""
    names = names[: len(values)]
    return write_tif(
        path, values, sar_grid(values.shape[1:]), names=names, units=(unit,) * len(names), **options
    )  # fmt: skip
