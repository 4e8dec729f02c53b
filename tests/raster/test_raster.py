"""Rasters: shapes, choice of bands, crops."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.errors import BandError, DataError
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, Grid, Raster, Window

GRID = Grid("LOCAL", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 5, 7)


def raster() -> Raster:
    values = np.arange(13 * 5 * 7, dtype=np.float32).reshape(13, 5, 7)
    valid = np.arange(35).reshape(5, 7) % 3 > 0
    return Raster(values, valid, SENTINEL2_L1C, GRID)


@pytest.mark.parametrize("shape", [(1, 5, 7), (2, 7, 5), (2, 5)])
def test_values_that_do_not_fit_bands_and_grid_are_refused(shape: tuple[int, ...]):
    with pytest.raises(DataError, match="do not fit"):
        Raster(np.zeros(shape, np.float32), np.ones((5, 7), bool), SENTINEL1, GRID)


def test_a_valid_mask_of_another_size_is_refused():
    with pytest.raises(DataError, match=r"valid \(7, 5\)"):
        Raster(np.zeros((2, 5, 7), np.float32), np.ones((7, 5), bool), SENTINEL1, GRID)


def test_values_follow_their_bands_when_chosen_by_name():
    chosen = raster().select(["B12", "B01"])
    assert chosen.bands.names == ("B12", "B01")
    np.testing.assert_array_equal(chosen.values, raster().values[[12, 0]])


def test_a_band_that_is_not_there_is_named():
    with pytest.raises(BandError, match="VV"):
        raster().select(["VV"])


def test_a_crop_keeps_values_valid_and_place_together():
    cropped = raster().crop(Window(1, 2, 3, 4))
    np.testing.assert_array_equal(cropped.values, raster().values[:, 1:4, 2:6])
    np.testing.assert_array_equal(cropped.valid, raster().valid[1:4, 2:6])
    assert cropped.grid.position(0, 0) == GRID.position(1, 2)


def test_a_crop_beyond_the_edge_is_refused():
    with pytest.raises(DataError, match="do not fit"):
        raster().crop(Window(3, 0, 4, 7))
