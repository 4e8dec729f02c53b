"""Pixels without an observation take the nearest one, whatever window they are seen in."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from eorestore.processing.filling import REACH, fill_near
from eorestore.raster import Band, BandSet, Grid, Raster, Unit, Window

BANDS = BandSet((Band("a", Unit.REFLECTANCE), Band("b", Unit.REFLECTANCE)))


def raster(seed: int = 0, size: tuple[int, int] = (60, 50), share: float = 0.3) -> Raster:
    generator = np.random.default_rng(seed)
    values = generator.random((2, *size), dtype=np.float32)
    valid = generator.random(size) > share
    valid[15:45, 10:40] = False
    return Raster(values, valid, BANDS, Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), *size))


def test_the_value_is_that_of_a_nearest_valid_pixel():
    given = raster()
    filled = fill_near(given, otherwise=np.array([-1, -2], np.float32))
    distance, (rows, columns) = distance_transform_edt(~given.valid, return_indices=True)
    apart = {(row, column): distance[row, column] for row, column in np.argwhere(~given.valid)}
    for (row, column), nearest in apart.items():
        if nearest > REACH:
            assert filled.values[:, row, column].tolist() == [-1, -2]
            continue
        from_row, from_column = np.argwhere((given.values[0] == filled.values[0, row, column]) & given.valid)[0]
        assert np.hypot(from_row - row, from_column - column) == nearest
    assert rows.shape == columns.shape == given.valid.shape
    assert filled.valid.all()
    assert np.array_equal(filled.values[:, given.valid], given.values[:, given.valid])


def test_a_window_is_filled_as_the_whole_away_from_its_rim():
    given = raster(seed=1)
    blank = np.zeros(2, np.float32)
    whole = fill_near(given, otherwise=blank)
    window = Window(7, 5, 40, 41)
    piece = fill_near(given.crop(window), otherwise=blank)
    inner = (slice(None), slice(REACH, -REACH), slice(REACH, -REACH))
    assert np.array_equal(piece.values[inner], whole.crop(window).values[inner])


def test_a_raster_without_a_valid_pixel_is_the_given_value_throughout():
    empty = Raster(raster().values, np.zeros((60, 50), bool), BANDS, raster().grid)
    assert np.unique(fill_near(empty, otherwise=np.array([3, 4], np.float32)).values).tolist() == [3, 4]


def test_a_raster_without_a_gap_comes_back_itself():
    full = Raster(raster().values, np.ones((60, 50), bool), BANDS, raster().grid)
    assert fill_near(full, otherwise=np.zeros(2, np.float32)) is full
