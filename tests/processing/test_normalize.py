"""Clip and scale, and the exact way back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.exposure import rescale_intensity

from eorestore.processing.normalize import BandScale, BandScaling, backscatter_scaling, reflectance_scaling
from eorestore.raster import SENTINEL2_L1C, Unit


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 1, 1)


@st.composite
def scalings(draw: st.DrawFn) -> BandScaling:
    bands = []
    for index in range(draw(st.integers(1, 4))):
        low = draw(st.floats(-50, 50, width=32))
        bands.append(
            BandScale(f"b{index}", Unit.REFLECTANCE, low, low + draw(st.floats(0.5, 100)), draw(st.floats(0.5, 10)))
        )
    return BandScaling(tuple(bands))


@given(scalings(), st.data())
def test_decode_undoes_encode_within_the_range(scaling: BandScaling, data: st.DataObject):
    share = data.draw(arrays(np.float32, (len(scaling.bands), 2, 3), elements=st.floats(0, 1, width=32)))
    low, high = (column(*(getattr(band, name) for band in scaling.bands)) for name in ("low", "high"))
    values = (low + share * (high - low)).astype(np.float32)
    np.testing.assert_allclose(scaling.decode(scaling.encode(values)), values, atol=2e-4)


@given(scalings(), st.data())
def test_encoded_values_stay_between_zero_and_top(scaling: BandScaling, data: st.DataObject):
    wild = st.floats(-1e4, 1e4, width=32)
    encoded = scaling.encode(data.draw(arrays(np.float32, (len(scaling.bands), 2, 2), elements=wild)))
    top = column(*(band.top for band in scaling.bands))
    assert (encoded >= 0).all()
    assert (encoded <= top * (1 + 1e-5)).all()


def test_the_scaling_is_that_of_scikit_image():
    values = np.random.default_rng(0).uniform(-40, 5, (2, 16, 16)).astype(np.float32)
    limits = (-25.0, 0.0), (-32.5, 0.0)
    pairs = zip(values, limits, strict=True)
    expected = np.stack([rescale_intensity(band, in_range=low_high, out_range=(0.0, 2.0)) for band, low_high in pairs])
    np.testing.assert_allclose(backscatter_scaling(top=2.0).encode(values), expected, atol=1e-5)


def test_reflectance_in_its_range_passes_bit_by_bit():
    values = np.random.default_rng(0).uniform(0, 1, (13, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(reflectance_scaling().encode(values), values)
    np.testing.assert_array_equal(reflectance_scaling().decode(values), values)


def test_encoding_and_decoding_leave_their_argument_alone():
    values = np.full((2, 1, 1), -40.0, np.float32)
    backscatter_scaling().encode(values)
    backscatter_scaling().decode(values)
    assert (values == -40).all()


def test_decoding_does_not_clip():
    assert reflectance_scaling(top=5.0).decode(np.full((13, 1, 1), 10.0, np.float32)).max() == pytest.approx(2.0)


def test_values_pass_where_clipping_is_off():
    scaling = BandScaling((BandScale("B02", Unit.REFLECTANCE, 0.0, 1.0, clip=False),))
    assert scaling.encode(column(1.7))[0, 0, 0] == np.float32(1.7)


def test_clipping_is_decided_band_by_band():
    open_, closed = (
        BandScale(name, Unit.REFLECTANCE, 0.0, 1.0, clip=clip) for name, clip in (("a", False), ("b", True))
    )
    assert BandScaling((open_, closed)).encode(column(-0.5, -0.5)).ravel().tolist() == [-0.5, 0.0]


def test_single_precision_is_kept():
    assert backscatter_scaling().encode(column(-10, -10)).dtype == np.float32
    assert backscatter_scaling().decode(column(0.5, 0.5)).dtype == np.float32


def test_bands_are_chosen_by_name_in_the_order_asked_for():
    assert reflectance_scaling().select(["B12", "B02"]).names == ("B12", "B02")


def test_a_band_with_a_fill_is_not_required():
    bands = (BandScale("B02", Unit.REFLECTANCE, 0, 1), BandScale("B10", Unit.REFLECTANCE, 0, 1, fill=0.001))
    assert BandScaling(bands).required == ("B02",)
    assert reflectance_scaling().required == SENTINEL2_L1C.names


def test_a_scaling_survives_json():
    bands = (BandScale("VV", Unit.DECIBEL, -25, 0, 2.0, fill=0.5, clip=False),)
    text = json.dumps(BandScaling(bands).to_json())
    assert BandScaling.from_json(json.loads(text)) == BandScaling(bands)
