"""The contract of the Processor: exact way back, bands by name, units checked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eorestore.errors import BandError, UnitError
from eorestore.processing import BandScale, BandScaling, Processor
from eorestore.processing.processor import dsen2_cr_processor, glf_cr_processor
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A, BandSet, Grid, Raster, Unit

GRID = Grid("LOCAL", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 4, 5)


def raster(values: np.ndarray, bands: BandSet, valid: np.ndarray | None = None) -> Raster:
    return Raster(values, np.ones((4, 5), bool) if valid is None else valid, bands, GRID)


def optical(seed: int = 0) -> Raster:
    return raster(np.random.default_rng(seed).uniform(0, 1, (13, 4, 5)).astype(np.float32), SENTINEL2_L1C)


def radar(vv: float, vh: float, unit: Unit = Unit.DECIBEL) -> Raster:
    values = np.empty((2, 4, 5), np.float32)
    values[0], values[1] = vv, vh
    return raster(values, SENTINEL1.with_unit(unit))


@settings(deadline=None)
@given(arrays(np.float32, (13, 4, 5), elements=st.floats(0, 1, width=32)), st.sampled_from(["glf", "dsen2"]))
def test_decode_undoes_encode(values: np.ndarray, name: str):
    processor = {"glf": glf_cr_processor, "dsen2": dsen2_cr_processor}[name]()
    encoded = processor.encode({"cloudy": raster(values, SENTINEL2_L1C)})["cloudy"]
    decoded = processor.decode(encoded[0], GRID, np.ones((4, 5), bool))
    np.testing.assert_allclose(decoded.values, values, atol=1e-6)
    assert decoded.bands.names == SENTINEL2_L1C.names
    assert {band.unit for band in decoded.bands} == {Unit.REFLECTANCE}


def test_encoded_inputs_are_batches_of_one_in_single_precision():
    encoded = glf_cr_processor().encode({"cloudy": optical(), "sar": radar(-10, -15)})
    assert {key: tuple(value.shape) for key, value in encoded.items()} == {"cloudy": (1, 13, 4, 5), "sar": (1, 2, 4, 5)}
    assert {value.dtype for value in encoded.values()} == {torch.float32}


def test_the_order_of_bands_in_the_file_does_not_matter():
    whole = optical()
    turned = whole.select(tuple(reversed(whole.bands.names)))
    processor = glf_cr_processor()
    np.testing.assert_array_equal(processor.encode_one("cloudy", turned), processor.encode_one("cloudy", whole))


def test_glf_cr_values_by_hand():
    processor = glf_cr_processor()
    sar = processor.encode_one("sar", radar(-12.5, -32.5))
    assert (float(sar[0, 0, 0]), float(sar[1, 0, 0])) == (0.5, 0.0)
    clipped = processor.encode_one("sar", radar(3.0, -50.0))
    assert (float(clipped[0, 0, 0]), float(clipped[1, 0, 0])) == (1.0, 0.0)
    bright = processor.encode_one("cloudy", raster(np.full((13, 4, 5), 1.3, np.float32), SENTINEL2_L1C))
    assert (bright == 1).all()


def test_dsen2_cr_values_by_hand():
    processor = dsen2_cr_processor()
    encoded = processor.encode_one("cloudy", raster(np.full((13, 4, 5), 0.3, np.float32), SENTINEL2_L1C))
    np.testing.assert_allclose(encoded, 3000 / 2000, rtol=1e-6)
    sar = processor.encode_one("sar", radar(-12.5, -8.125))
    assert (float(sar[0, 0, 0]), float(sar[1, 0, 0])) == pytest.approx((1.0, 1.5))


@pytest.mark.parametrize(("unit", "vv", "vh"), [(Unit.POWER, 0.1, 0.01), (Unit.AMPLITUDE, 0.1**0.5, 0.1)])
def test_radar_in_another_unit_is_converted(unit: Unit, vv: float, vh: float):
    processor = glf_cr_processor()
    np.testing.assert_allclose(
        processor.encode_one("sar", radar(vv, vh, unit)), processor.encode_one("sar", radar(-10, -20)), atol=1e-5
    )


def test_a_wrong_unit_is_refused():
    kelvin = raster(optical().values, SENTINEL2_L1C.with_unit(Unit.KELVIN))
    with pytest.raises(UnitError, match="the cloudy raster gives B01 in kelvin; the model takes reflectance"):
        glf_cr_processor().encode({"cloudy": kelvin})


def test_a_missing_band_is_refused_by_name_and_source():
    with pytest.raises(BandError, match=r"s2\.tif has .*; the model also needs B10 as cloudy"):
        glf_cr_processor().check("cloudy", SENTINEL2_L2A, source="s2.tif")


def test_an_optional_band_takes_its_fill_and_the_others_keep_their_places():
    bands = (
        BandScale("B02", Unit.REFLECTANCE, 0, 1),
        BandScale("B10", Unit.REFLECTANCE, 0, 1, fill=0.25),
        BandScale("B03", Unit.REFLECTANCE, 0, 1),
    )
    processor = Processor({"cloudy": BandScaling(bands)}, BandScaling(bands))
    whole = optical()
    encoded = processor.encode_one("cloudy", whole.select(["B03", "B02"]))
    assert (encoded[1] == 0.25).all()
    np.testing.assert_array_equal(encoded[[0, 2]], whole.select(["B02", "B03"]).values)


def test_bands_beyond_those_of_the_model_are_left_out():
    processor = Processor({"cloudy": glf_cr_processor().inputs["cloudy"].select(["B04"])}, glf_cr_processor().output)
    np.testing.assert_array_equal(processor.encode_one("cloudy", optical()), optical().select(["B04"]).values)


def test_invalid_pixels_take_the_value_of_the_nearest_valid_one():
    values = optical().values.copy()
    valid = np.ones((4, 5), bool)
    valid[0, 0], valid[3, 4] = False, False
    values[:, ~valid] = np.nan
    encoded = glf_cr_processor().encode_one("cloudy", raster(values, SENTINEL2_L1C, valid))
    assert np.isfinite(encoded).all()
    assert any(np.array_equal(encoded[:, 0, 0], values[:, row, column]) for row, column in ((0, 1), (1, 0)))
    np.testing.assert_array_equal(encoded[:, valid], values[:, valid])


def test_a_raster_without_a_valid_pixel_becomes_finite():
    values = np.full((13, 4, 5), np.nan, np.float32)
    encoded = glf_cr_processor().encode_one("cloudy", raster(values, SENTINEL2_L1C, np.zeros((4, 5), bool)))
    assert np.isfinite(encoded).all()


def test_a_processor_survives_json():
    for processor in (glf_cr_processor(), dsen2_cr_processor(), Processor({}, glf_cr_processor().output, scale=4)):
        assert Processor.from_json(json.loads(json.dumps(processor.to_json()))) == processor
