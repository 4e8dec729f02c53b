from __future__ import annotations

import numpy as np
import pytest

from eorestore.errors import BandError, UnknownNameError
from eorestore.metrics.sar import LOWS, SPAN
from eorestore.processing.normalize import WINDOW_LOWS, WINDOW_SPAN, window_scaling
from eorestore.processing.table import CIRRUS_FILL, PROCESSORS
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A, BandSet, Grid, Raster


def scene(bands: BandSet) -> Raster:
    grid = Grid("LOCAL", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 2, 3)
    values = np.full((len(bands), 2, 3), 0.25, dtype=np.float32)
    return Raster(values, np.ones((2, 3), dtype=bool), bands, grid)


@pytest.mark.parametrize("name", PROCESSORS)
def test_every_processor_survives_json(name: str) -> None:
    processor = PROCESSORS[name]()
    assert type(processor).from_json(processor.to_json()) == processor


def test_a_scene_without_cirrus_band_enters_where_the_band_is_optional() -> None:
    encoded = PROCESSORS["glf-cr-optional-cirrus"]().encode_one("cloudy", scene(SENTINEL2_L2A))
    cirrus = SENTINEL2_L1C.index("B10")
    assert encoded.shape == (13, 2, 3)
    assert (encoded[cirrus] == np.float32(CIRRUS_FILL)).all()
    assert (np.delete(encoded, cirrus, axis=0) == np.float32(0.25)).all()


def test_a_scene_with_cirrus_band_is_encoded_alike_by_both() -> None:
    whole = scene(SENTINEL2_L1C)
    encoded = [PROCESSORS[name]().encode_one("cloudy", whole) for name in ("glf-cr", "glf-cr-optional-cirrus")]
    assert np.array_equal(*encoded)


def test_a_scene_without_cirrus_band_is_refused_where_the_band_is_needed() -> None:
    with pytest.raises(BandError, match="B10"):
        PROCESSORS["glf-cr"]().encode_one("cloudy", scene(SENTINEL2_L2A))


def test_four_bands_are_chosen_by_name_in_whatever_order_a_file_has_them() -> None:
    processor = PROCESSORS["four-band"]()
    assert processor.output.names == processor.inputs["cloudy"].names == ("B02", "B03", "B04", "B08")
    bands = SENTINEL2_L1C.select(("B08", "B04", "B03", "B02"))
    raster = scene(bands)
    raster.values[:] = np.arange(4, dtype=np.float32)[:, None, None] / 8
    assert processor.encode_one("cloudy", raster)[:, 0, 0].tolist() == [0.375, 0.25, 0.125, 0.0]
    assert processor.inputs["sar"].names == SENTINEL1.names


def test_sar_windows_are_those_of_the_metrics_and_forty_decibels_wide() -> None:
    assert dict(WINDOW_LOWS) == dict(LOWS)
    assert WINDOW_SPAN == SPAN
    for name, low in (("sar-vv", -30.0), ("sar-vh", -38.0)):
        (band,) = PROCESSORS[name]().inputs["sar"].bands
        assert (band.low, band.high, band.top, band.clip) == (low, low + 40, 1.0, True)
    with pytest.raises(UnknownNameError, match="XY"):
        window_scaling("XY")


def test_clipped_pixels_are_counted_among_the_valid_ones() -> None:
    values = np.array([[[-31.0, -30.0, 10.0], [10.5, 0.0, -99.0]]], dtype=np.float32)
    valid = np.array([[True, True, True], [True, True, False]])
    assert window_scaling("VV").clipped_share(values, valid=valid) == pytest.approx(2 / 5)
    assert window_scaling("VV").clipped_share(values, valid=np.zeros((2, 3), dtype=bool)) == 0
