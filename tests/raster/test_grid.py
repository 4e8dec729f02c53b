"""Grid algebra against rasterio's transforms and windows."""

from __future__ import annotations

import affine
import pytest
import rasterio.transform
import rasterio.windows
from hypothesis import given
from hypothesis import strategies as st

from eorestore.errors import GridError
from eorestore.raster import Grid, Window

SIDES = st.integers(1, 60)
PLACES = st.integers(-500_000, 500_000).map(float)
SIZES = st.sampled_from([0.25, 0.5, 1.0, 10.0, 20.0, 60.0])


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    pixel = draw(SIZES)
    return Grid("LOCAL", (pixel, 0.0, draw(PLACES), 0.0, -pixel, draw(PLACES)), draw(SIDES), draw(SIDES))


@st.composite
def turned_grids(draw: st.DrawFn) -> Grid:
    numbers = st.floats(0.5, 20).map(lambda value: round(value, 3))
    a, e, shear = draw(numbers), -draw(numbers), draw(st.floats(-0.2, 0.2))
    return Grid("LOCAL", (a, shear, draw(PLACES), shear, e, draw(PLACES)), draw(SIDES), draw(SIDES))


@st.composite
def windows_within(draw: st.DrawFn, grid: Grid) -> Window:
    row, column = draw(st.integers(0, grid.height - 1)), draw(st.integers(0, grid.width - 1))
    return Window(row, column, draw(st.integers(1, grid.height - row)), draw(st.integers(1, grid.width - column)))


def near(found: tuple[float, ...], expected: tuple[float, ...]) -> bool:
    return found == pytest.approx(expected, rel=1e-12, abs=1e-5)


@given(turned_grids(), st.floats(-5, 70), st.floats(-5, 70))
def test_positions_are_those_of_rasterio(grid: Grid, row: float, column: float):
    theirs = rasterio.transform.xy(affine.Affine(*grid.transform), row, column, offset="ul")
    assert near(grid.position(row, column), theirs)


@given(turned_grids(), st.floats(-5, 70), st.floats(-5, 70))
def test_pixel_undoes_position(grid: Grid, row: float, column: float):
    assert grid.pixel(*grid.position(row, column)) == pytest.approx((row, column), abs=1e-6)


@given(grids(), st.data())
def test_a_crop_has_the_transform_of_rasterio(grid: Grid, data: st.DataObject):
    window = data.draw(windows_within(grid))
    theirs = rasterio.windows.transform(
        rasterio.windows.Window(window.column, window.row, window.width, window.height), affine.Affine(*grid.transform)
    )
    cropped = grid.crop(window)
    assert near(cropped.transform, tuple(theirs)[:6])
    assert cropped.size == window.size


@given(grids(), st.data())
def test_bounds_of_a_crop_are_those_of_rasterio(grid: Grid, data: st.DataObject):
    window = data.draw(windows_within(grid))
    theirs = rasterio.windows.bounds(
        rasterio.windows.Window(window.column, window.row, window.width, window.height), affine.Affine(*grid.transform)
    )
    assert near(grid.crop(window).bounds, theirs)


@given(turned_grids(), st.data())
def test_a_crop_of_a_crop_is_one_crop(grid: Grid, data: st.DataObject):
    outer = data.draw(windows_within(grid))
    inner = data.draw(windows_within(grid.crop(outer)))
    at_once = Window(outer.row + inner.row, outer.column + inner.column, *inner.size)
    assert near(grid.crop(outer).crop(inner).transform, grid.crop(at_once).transform)


@given(grids(), st.tuples(*[st.integers(0, 9)] * 4))
def test_a_crop_undoes_a_pad(grid: Grid, sides: tuple[int, int, int, int]):
    top, bottom, left, right = sides
    padded = grid.pad(top, bottom, left, right)
    assert padded.size == (grid.height + top + bottom, grid.width + left + right)
    assert padded.crop(Window(top, left, *grid.size)).same_as(grid)


@given(turned_grids(), st.integers(1, 8))
def test_scaling_up_keeps_the_ground_and_scaling_down_undoes_it(grid: Grid, factor: int):
    finer = grid.scale(factor)
    assert finer.size == (grid.height * factor, grid.width * factor)
    assert near(finer.bounds, grid.bounds)
    assert finer.pixel_size == pytest.approx(tuple(side / factor for side in grid.pixel_size))
    assert finer.scale(1 / factor).same_as(grid)


def test_scaling_to_broken_pixels_is_refused():
    with pytest.raises(GridError, match=r"5 x 4 pixels cannot be scaled by 0\.5"):
        Grid("LOCAL", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 5, 4).scale(0.5)


@given(grids(), st.data())
def test_the_window_of_a_windows_bounds_is_that_window(grid: Grid, data: st.DataObject):
    window = data.draw(windows_within(grid))
    assert grid.window(grid.crop(window).bounds) == window


@given(grids(), st.data())
def test_the_window_of_any_box_covers_it_and_is_the_smallest(grid: Grid, data: st.DataObject):
    left, bottom, right, top = grid.bounds
    across = sorted(data.draw(st.tuples(*[st.floats(0.0, 1.0)] * 2)))
    down = sorted(data.draw(st.tuples(*[st.floats(0.0, 1.0)] * 2)))
    pixel = grid.pixel_size[0]
    if (across[1] - across[0]) * (right - left) < 0.01 * pixel or (down[1] - down[0]) * (top - bottom) < 0.01 * pixel:
        return
    box = (
        left + across[0] * (right - left), bottom + down[0] * (top - bottom),
        left + across[1] * (right - left), bottom + down[1] * (top - bottom),
    )  # fmt: skip
    west, south, east, north = grid.crop(grid.window(box)).bounds
    slack = 1e-5 * pixel + 1e-6
    assert west <= box[0] + slack
    assert south <= box[1] + slack
    assert east >= box[2] - slack
    assert north >= box[3] - slack
    assert west > box[0] - pixel - slack
    assert south > box[1] - pixel - slack
    assert east < box[2] + pixel + slack
    assert north < box[3] + pixel + slack


def test_a_box_across_the_edge_is_cut_at_the_grid():
    grid = Grid("LOCAL", (10.0, 0.0, 0.0, 0.0, -10.0, 100.0), 10, 10)
    assert grid.window((-50.0, 45.0, 25.0, 200.0)) == Window(0, 0, 6, 3)


def test_a_box_beside_the_grid_is_refused():
    grid = Grid("LOCAL", (10.0, 0.0, 0.0, 0.0, -10.0, 100.0), 10, 10)
    with pytest.raises(GridError, match="does not touch"):
        grid.window((100.0, 0.0, 200.0, 100.0))


def test_bounds_are_ordered_where_rows_run_north():
    grid = Grid("LOCAL", (10.0, 0.0, 0.0, 0.0, 10.0, 0.0), 3, 2)
    assert grid.bounds == (0.0, 0.0, 20.0, 30.0)
    assert grid.window((0.0, 10.0, 10.0, 20.0)) == Window(1, 0, 1, 1)


def test_a_transform_without_extent_is_refused():
    with pytest.raises(GridError, match="no extent"):
        Grid("LOCAL", (0.0, 0.0, 5.0, 0.0, 0.0, 5.0), 2, 2).pixel(1.0, 1.0)


def test_grids_are_the_same_only_within_a_thousandth_of_a_pixel():
    grid = Grid("LOCAL", (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_300_000.0), 100, 100)
    nudged = Grid("LOCAL", (10.0, 0.0, 600_000.005, 0.0, -10.0, 5_300_000.0), 100, 100)
    shifted = Grid("LOCAL", (10.0, 0.0, 600_000.1, 0.0, -10.0, 5_300_000.0), 100, 100)
    stretched = Grid("LOCAL", (10.001, 0.0, 600_000.0, 0.0, -10.0, 5_300_000.0), 100, 100)
    assert grid.same_as(nudged)
    assert not grid.same_as(shifted)
    assert not grid.same_as(stretched)
    assert not grid.same_as(Grid("OTHER", grid.transform, 100, 100))
    assert not grid.same_as(Grid("LOCAL", grid.transform, 100, 99))


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20), st.integers(0, 15))
def test_a_grown_window_holds_all_pixels_within_the_margin(row: int, column: int, height: int, width: int, margin: int):
    scene = (row + height + 7, column + width + 3)
    grown = Window(row, column, height, width).grow(margin, within=scene)
    rows = [place for place in range(scene[0]) if row - margin <= place < row + height + margin]
    columns = [place for place in range(scene[1]) if column - margin <= place < column + width + margin]
    assert list(range(scene[0]))[grown.rows] == rows
    assert list(range(scene[1]))[grown.columns] == columns


def test_a_window_is_counted_from_the_corner_of_another():
    assert Window(7, 9, 3, 2).relative_to(Window(5, 4, 10, 10)) == Window(2, 5, 3, 2)
