"""Raw numbers to physical values and back, for every 16-bit number."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.raster.encoding import Encoding

EVERY_DN = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("nodata", [0.0, 65535.0, None])
def test_every_sentinel_2_number_comes_back_exactly(offset: int, nodata: float | None):
    encoding = Encoding("uint16", 1e-4, -offset * 1e-4, nodata)
    again = encoding.encode(encoding.decode(EVERY_DN))
    moved = again != EVERY_DN
    assert set(EVERY_DN[moved].tolist()) == set() if nodata is None else {int(nodata)}


@pytest.mark.parametrize("nodata", [0.0, 65535.0])
def test_no_observed_pixel_becomes_nodata(nodata: float):
    encoding = Encoding("uint16", 1e-4, -0.1, nodata)
    values = np.linspace(-3, 20, 10_000, dtype=np.float32).reshape(1, 100, 100)
    assert not (encoding.encode(values) == nodata).any()
    assert encoding.valid(encoding.encode(values)).all()


def test_without_nodata_an_unsigned_number_may_be_zero():
    encoding = Encoding("uint16", 1e-4)
    assert encoding.encode(np.array([[[-0.2, 0.0, 7.0]]], np.float32)).tolist() == [[[0, 0, 65535]]]


def test_signed_numbers_below_a_negative_nodata_are_kept_above_it():
    encoding = Encoding("int16", 0.01, 0.0, -32768.0)
    coded = encoding.encode(np.array([[[-400.0, -25.0, 400.0]]], np.float32))
    assert coded.tolist() == [[[-32767, -2500, 32767]]]


def test_signed_numbers_stay_negative_where_zero_is_not_nodata():
    encoding = Encoding("int16", 1e-4, 0.0, -9999.0)
    coded = encoding.encode(np.array([[[-0.01, -0.9999, -0.9998, -1.5]]], np.float32))
    assert coded[0, 0, 0] == -100
    assert not (coded == -9999).any()


def test_decoding_is_scale_and_offset():
    encoding = Encoding("uint16", 1e-4, -0.1)
    np.testing.assert_allclose(encoding.decode(np.array([[[1000, 11000]]], np.uint16)), [[[0.0, 1.0]]], atol=1e-7)


def test_decoding_leaves_the_raw_numbers_alone():
    raw = np.array([[[np.nan, 3.0]]], np.float32)
    Encoding("float32", 2.0).decode(raw)
    assert np.isnan(raw[0, 0, 0])


def test_encoding_leaves_the_values_alone():
    values = np.array([[[0.25]]], np.float32)
    Encoding("uint16", 1e-4, -0.1).encode(values)
    assert values[0, 0, 0] == 0.25


def test_floats_pass_unchanged():
    values = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    encoding = Encoding("float32", nodata=float("nan"))
    np.testing.assert_array_equal(encoding.encode(encoding.decode(values)), values)


def test_a_pixel_is_invalid_when_any_float_band_is_not_finite():
    raw = np.zeros((2, 1, 3), np.float32)
    raw[0, 0, 0], raw[1, 0, 1] = np.nan, np.inf
    encoding = Encoding("float32")
    assert encoding.valid(raw).tolist() == [[False, False, True]]
    assert np.isfinite(encoding.decode(raw)).all()


def test_zero_as_nodata_needs_zero_in_every_band():
    raw = np.array([[[0, 0, 5]], [[0, 7, 5]]], np.uint16)
    assert Encoding("uint16", nodata=0.0).valid(raw).tolist() == [[False, True, True]]


def test_another_nodata_needs_one_band_only():
    raw = np.array([[[9, 9, 5]], [[9, 7, 5]]], np.uint16)
    assert Encoding("uint16", nodata=9.0).valid(raw).tolist() == [[False, False, True]]


def test_nodata_is_recognised_in_single_precision():
    nodata = -3.4028234663852886e38
    raw = np.array([[[nodata, 1.0]]], np.float32)
    assert Encoding("float32", nodata=nodata).valid(raw).tolist() == [[False, True]]


@pytest.mark.parametrize("encoding", [Encoding("uint16", nodata=9.0), Encoding("float32", nodata=9.0)])
def test_a_nodata_value_amid_the_range_is_stepped_over(encoding: Encoding):
    coded = encoding.encode(np.array([[[8.0, 9.0, 10.0]]], np.float32))
    assert encoding.valid(coded).all()
    np.testing.assert_allclose(coded, [[[8, 9.5, 10]]], atol=0.5)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int8", "uint8"])
def test_values_beyond_the_type_stop_at_its_ends(dtype: str):
    coded = Encoding(dtype).encode(np.array([[[-1e12, 1e12]]], np.float32))
    limits = np.iinfo(dtype)
    assert coded[0, 0, 0] == limits.min
    assert coded[0, 0, 1] == pytest.approx(limits.max, rel=1e-6)


@pytest.mark.parametrize("nodata", [-9999.0, 1e6, 0.5])
def test_a_nodata_value_that_the_type_cannot_hold_marks_nothing(nodata: float):
    encoding = Encoding("uint16", nodata=nodata)
    assert encoding.valid(EVERY_DN).all()
    np.testing.assert_array_equal(encoding.encode(EVERY_DN.astype(np.float32))[0, 1:], EVERY_DN[0, 1:])
