"""The codec inside Zarr v2 stores, through numcodecs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eorestore.codec.chunk_settings import ChunkSettings

numcodecs = pytest.importorskip("numcodecs", reason="numcodecs is not installed: pip install 'eorestore[xarray]'")

from eorestore.codec.numcodecs_codec import SarCodec  # noqa: E402
from eorestore.errors import CodecError, DataError  # noqa: E402
from small_sar import sar_values, use_plain_coders  # noqa: E402


@pytest.fixture(autouse=True)
def _plain_coders(monkeypatch):
    use_plain_coders(monkeypatch)


@pytest.fixture
def values():
    found = sar_values((130, 150))
    found[:, :30, :40] = np.nan
    return found


def test_a_chunk_carries_its_type_and_shape(values):
    codec = SarCodec(ChunkSettings.wanted(max_error=0.5, bands=("VV", "VH")))
    back = codec.decode(codec.encode(values))
    assert (back.dtype, back.shape) == (values.dtype, values.shape)
    assert np.array_equal(np.isnan(back), np.isnan(values))
    assert np.nanmax(np.abs(back - values)) <= 0.5 + 1e-5


def test_out_is_filled(values):
    codec = SarCodec(ChunkSettings.wanted(max_error=0.5, bands=("VV", "VH")))
    payload = codec.encode(values)
    out = np.zeros_like(values)
    codec.decode(payload, out=out)
    assert np.array_equal(out, codec.decode(payload), equal_nan=True)


def test_configuration_goes_through_json(values):
    codec = SarCodec(ChunkSettings.wanted(quality=4, bands=("VV", "VH")), nodata=-99)
    again = numcodecs.get_codec(json.loads(json.dumps(codec.get_config())))
    assert again.get_config() == codec.get_config()
    payload = codec.encode(values)
    assert np.array_equal(again.decode(payload), codec.decode(payload), equal_nan=True)


def test_nodata_is_a_gap_and_comes_back(values):
    filled = np.nan_to_num(values, nan=0.0)
    codec = SarCodec(ChunkSettings.wanted(max_error=0.5, bands=("VV", "VH")), nodata=0.0)
    back = codec.decode(codec.encode(filled))
    assert np.array_equal(back == 0, filled == 0)


def test_a_store_of_version_2_opens_in_xarray(tmp_path, values):
    xr = pytest.importorskip("xarray", reason="xarray is not installed: pip install 'eorestore[xarray]'")
    pytest.importorskip("zarr", reason="zarr is not installed: pip install 'eorestore[xarray]'")
    codec = SarCodec(ChunkSettings.wanted(max_error=0.5, bands=("VV", "VH")))
    data = xr.Dataset({"sigma0": (("band", "y", "x"), values)})
    encoding = {"sigma0": {"compressors": (codec,), "chunks": (2, 64, 64)}}
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2, encoding=encoding, consolidated=False)
    back = xr.open_zarr(tmp_path / "a.zarr", consolidated=False).sigma0.values
    assert np.nanmax(np.abs(back - values)) <= 0.5 + 1e-5


@pytest.mark.parametrize("place", [0, 1, 3, 40, -1])
def test_damaged_chunks_are_errors(values, place):
    codec = SarCodec(ChunkSettings.wanted(max_error=0.5, bands=("VV", "VH")))
    payload = bytearray(codec.encode(values))
    payload[place] ^= 0x55
    with pytest.raises((CodecError, DataError)):
        codec.decode(bytes(payload))
    with pytest.raises((CodecError, DataError)):
        codec.decode(bytes(codec.encode(values))[:-10])
