"""The deviation of a result from what it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from eorestore.processing.resize import enlarge, shrink
from eorestore.raster import SENTINEL2_L1C, Grid, Window
from eorestore.raster.encoding import Encoding
from eorestore.restorer.deviation import DeviationSample
from eorestore.restorer.rows import Rows
from small_enlargers import smooth, utm_grid

BANDS = SENTINEL2_L1C.select(("B02", "B03"))


@dataclass
class Stored:
    raw: np.ndarray
    encoding: Encoding
    bands = BANDS

    @property
    def grid(self) -> Grid:
        return utm_grid(self.raw.shape[1:])

    def read_raw(self, window: Window | None = None) -> np.ndarray:
        return self.raw if window is None else self.raw[:, window.rows, window.columns]


def measured(stored: Stored, high: np.ndarray, *, step: int = 100):
    sample = DeviationSample(stored, 4)
    for first in range(0, high.shape[1], step):
        piece = high[:, first : first + step]
        sample.add(Rows(first, piece, np.ones(piece.shape[1:], np.uint8), np.empty((0, *piece.shape[1:]), np.float32)))
    return sample.result()


@pytest.mark.parametrize("size", [(90, 61), (300, 420)])
def test_the_largest_is_that_of_the_whole_image_where_it_is_sampled(size):
    low = smooth(2, size).astype(np.float32)
    high = enlarge(low, factor=4)
    found = measured(Stored(low, Encoding("float32")), high)
    apart = np.abs(shrink(high, factor=4) - low)
    whole = apart.max(axis=(1, 2))
    if max(size) <= 128:
        assert [found.by_band[name] for name in BANDS.names] == pytest.approx(whole.tolist(), rel=1e-2)
        assert found.pixels == size[0] * size[1]
    assert all(0 < value <= limit * 1.01 for value, limit in zip(found.by_band.values(), whole, strict=True))
    assert found.largest == pytest.approx(max(found.by_band.values()), rel=0.3)


def test_nodata_is_left_out():
    low = 100 + (1000 * smooth(2, (60, 60))).astype(np.uint16)
    low[:, 20:30, 20:30] = 0
    high = low.repeat(4, axis=1).repeat(4, axis=2)
    found = measured(Stored(low, Encoding("uint16", 1e-4, 0.0, 0.0)), high)
    assert found.pixels == 60 * 60 - 14 * 14
    assert max(found.by_band.values()) < 0.03


def test_values_at_the_end_of_the_type_are_counted_apart():
    low = np.full((2, 60, 60), 100, np.uint8)
    low[:, :, 30:] = 200
    high = low.repeat(4, axis=1).repeat(4, axis=2)
    high[0, :8, :8] = 255
    found = measured(Stored(low, Encoding("uint8")), high)
    assert found.saturated == pytest.approx(16 / (2 * 3600), rel=1e-2)  # of one band: 2 x 2 pixels and 2 around them
    assert max(found.by_band.values()) < 20
    assert found.rounding == 0.005


def test_nothing_to_look_at_is_no_figure():
    low = np.zeros((2, 20, 20), np.uint16)
    assert measured(Stored(low, Encoding("uint16", nodata=0.0)), np.zeros((2, 80, 80), np.uint16)).largest is None
