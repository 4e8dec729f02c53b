"""The codec inside Zarr v3 arrays: round trips, sharding, edges, damage."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install 'eorestore[xarray]'")
xr = pytest.importorskip("xarray", reason="xarray is not installed: pip install 'eorestore[xarray]'")

from eorestore.codec.chunk_settings import ChunkSettings  # noqa: E402
from eorestore.codec.zarr_codec import SarCodec  # noqa: E402
from eorestore.errors import CodecError, UsageError  # noqa: E402
from small_sar import sar_values, use_plain_coders  # noqa: E402

BOTH = ("VV", "VH")


@pytest.fixture(autouse=True)
def _plain_coders(monkeypatch):
    use_plain_coders(monkeypatch)


@pytest.fixture
def values():
    found = sar_values((300, 350))
    found[:, :70, :90] = np.nan
    found[1, 200, 200] = np.nan
    return found


def store(path, values, codec, *, dims=("band", "y", "x"), **encoding):
    data = xr.Dataset({"sigma0": (dims, values)})
    encoding = {"serializer": codec, "compressors": (), **encoding}
    data.to_zarr(path, zarr_format=3, encoding={"sigma0": encoding}, consolidated=False)
    return path


def opened(path):
    return xr.open_zarr(path, consolidated=False).sigma0


@pytest.mark.parametrize("shards", [None, (2, 256, 256)])
@pytest.mark.parametrize(
    ("wish", "bound"), [({"max_error": 0.5}, 0.5), ({"lossless": True}, 0.005), ({"quality": 5}, 1.4)]
)
def test_arrays_come_back_within_the_bound_and_gaps_exactly(tmp_path, values, shards, wish, bound):
    codec = SarCodec(ChunkSettings.wanted(**wish, bands=BOTH))
    path = store(tmp_path / "a.zarr", values, codec, chunks=(2, 128, 128), shards=shards)
    back = opened(path).values
    assert np.array_equal(np.isnan(back), np.isnan(values))
    assert np.nanmax(np.abs(back - values)) <= bound + 1e-5
    window = opened(path)[:, 100:260, 120:140].values
    assert np.array_equal(window, back[:, 100:260, 120:140], equal_nan=True)


def test_padding_of_edge_chunks_is_not_paid_for(tmp_path):
    generator = np.random.default_rng(0)
    small = generator.normal(-12, 3, (1, 130, 130)).astype(np.float32)
    codec = SarCodec(ChunkSettings.wanted(max_error=0.1))
    path = store(tmp_path / "a.zarr", small, codec, chunks=(1, 128, 128), fill_value=-9999.0)
    files = sorted(one.stat().st_size for one in (path / "sigma0" / "c").rglob("*") if one.is_file())
    assert files[0] < 500  # 2 x 2 pixels of 128 x 128
    assert files[-1] > 10_000
    assert np.abs(opened(path).values - small).max() <= 0.1 + 1e-5


def test_one_plane_and_stacks_of_dates_are_folded(tmp_path, values):
    plane = store(
        tmp_path / "p.zarr",
        values[0],
        SarCodec(ChunkSettings.wanted(max_error=0.5)),
        dims=("y", "x"),
        chunks=(128, 128),
    )
    dates = np.stack([values, values + 1])
    codec = SarCodec(ChunkSettings.wanted(max_error=0.5, bands=BOTH))
    stack = store(tmp_path / "s.zarr", dates, codec, dims=("time", "band", "y", "x"), chunks=(2, 2, 128, 128))
    assert np.nanmax(np.abs(opened(plane).values - values[0])) <= 0.5 + 1e-5
    assert np.nanmax(np.abs(opened(stack).values - dates)) <= 0.5 + 1e-5


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_counts_come_back_bit_by_bit(tmp_path, dtype):
    counts = np.rint(10 ** (sar_values((150, 150)) / 20) * 800).astype(dtype)
    counts[0, :40] = 0
    codec = SarCodec(ChunkSettings.wanted(lossless=True, unit="count", bands=BOTH))
    path = store(tmp_path / "a.zarr", counts, codec, chunks=(2, 128, 128), fill_value=0)
    assert np.array_equal(zarr.open_array(path / "sigma0")[:], counts)


@pytest.mark.parametrize("dtype", [">f4", "float64"])
def test_other_floats_keep_their_type(tmp_path, values, dtype):
    path = store(
        tmp_path / "a.zarr",
        values.astype(dtype),
        SarCodec(ChunkSettings.wanted(max_error=0.5, bands=BOTH)),
        chunks=(2, 128, 128),
    )
    back = zarr.open_array(path / "sigma0")[:]
    assert back.dtype.itemsize == np.dtype(dtype).itemsize
    assert np.nanmax(np.abs(back - values)) <= 0.5 + 1e-5


def test_a_flipped_byte_within_a_shard_is_noticed(tmp_path, values):
    codec = SarCodec(ChunkSettings.wanted(max_error=0.5, bands=BOTH))
    path = store(tmp_path / "a.zarr", values, codec, chunks=(2, 128, 128), shards=(2, 256, 256))
    shard = path / "sigma0" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(CodecError, match="checksum"):
        opened(path).values  # noqa: B018 - reading is what fails


def test_metadata_holds_numbers_and_comes_back(tmp_path, values):
    codec = SarCodec(ChunkSettings.wanted(max_error=0.25, bands=BOTH))
    path = store(tmp_path / "a.zarr", values, codec, chunks=(2, 128, 128))
    said = json.loads((path / "sigma0" / "zarr.json").read_text())["codecs"][0]
    assert said == {
        "name": "eorestore.sar",
        "configuration": {
            "mode": 1, "coder": 0, "step": 0.5, "unit": "decibel", "bands": ["VV", "VH"], "stamp": "", "version": 1,
        },
    }  # fmt: skip
    assert SarCodec.from_dict(said) == codec


@pytest.mark.parametrize(
    ("configuration", "error", "message"),
    [
        ({"mode": 1, "coder": 0, "step": 1.0, "version": 2}, CodecError, "version 2, this eorestore reads 1"),
        ({"mode": 1, "coder": 0, "step": 1.0, "speed": 2}, UsageError, "has keys"),
        ({}, UsageError, "has keys"),
    ],
)
def test_newer_or_foreign_metadata_fails_clearly(configuration, error, message):
    with pytest.raises(error, match=message):
        ChunkSettings.from_json(configuration)


@pytest.mark.parametrize("wish", [{"quality": 5, "max_error": 1.0}, {"quality": 12}])
def test_wishes_are_checked(wish):
    with pytest.raises(UsageError):
        SarCodec(ChunkSettings.wanted(**wish))


def test_a_chunk_that_does_not_stack_its_bands_is_an_error(tmp_path, values):
    with pytest.raises(UsageError, match="does not stack VV, VH"):
        store(
            tmp_path / "a.zarr", values, SarCodec(ChunkSettings.wanted(max_error=1.0, bands=BOTH)), chunks=(1, 128, 128)
        )


def test_entry_points_name_the_plug_ins():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["zarr.codecs"] == {"eorestore.sar": "eorestore.codec.zarr_codec:SarCodec"}
    assert project["entry-points"]["numcodecs.codecs"] == {"eorestore.sar": "eorestore.codec.numcodecs_codec:SarCodec"}


@pytest.mark.parametrize("module", ["zarr_codec", "numcodecs_codec"])
def test_importing_a_plug_in_brings_no_heavy_package(module):
    code = (
        f"import sys, eorestore.codec.{module}; print([n for n in ('torch', 'scipy', 'rasterio') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
