"""Tile plans: every scene is covered once, whatever its size."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eorestore.errors import UsageError
from eorestore.tiling.blending import Mosaic
from eorestore.tiling.tiles import TilePlan, plan_tiles


@st.composite
def plans(draw: st.DrawFn, **fixed: Any) -> tuple[TilePlan, dict[str, Any]]:
    asked = {
        "size": draw(st.tuples(st.integers(1, 70), st.integers(1, 70))),
        "mode": draw(st.sampled_from(["crop", "blend"])),
        "multiple_of": draw(st.sampled_from([1, 2, 3, 4, 8])),
        "phase": draw(st.sampled_from([1, 2, 4])),
        "reach": draw(st.integers(0, 9)),
        "tile": draw(st.integers(1, 40)),
        "overlap": draw(st.integers(0, 20)),
    } | fixed
    step = math.lcm(asked["multiple_of"], asked["phase"])
    assume(asked["tile"] >= step)
    whole = asked["tile"] // step * step
    assume(asked["mode"] == "crop" or whole >= 2 * (math.ceil(asked["overlap"] / step) * step))
    size = asked.pop("size")
    return plan_tiles(size, **asked), asked


def restored(plan: TilePlan, scene: np.ndarray, *, scale: int, begin: int = 0) -> np.ndarray:
    """The scene through a model that repeats every pixel `scale` times, put together again."""
    mosaic = Mosaic(plan, bands=len(scene), scale=scale, begin=begin)
    strips = []
    for row in range(begin, len(plan.rows)):
        for column, tile in enumerate(plan.rows[row]):
            piece = scene[:, tile.window.rows, tile.window.columns]
            mosaic.add(tile, piece.repeat(scale, axis=1).repeat(scale, axis=2), position=(row, column))
        strips.append(mosaic.finish(row))
    return np.concatenate(strips, axis=1)


@settings(max_examples=120, deadline=None)
@given(plans(), st.integers(1, 4))
def test_an_identity_model_gives_the_scene_back(planned: tuple[TilePlan, dict[str, Any]], scale: int):
    plan, _ = planned
    scene = np.random.default_rng(0).normal(size=(2, *plan.size)).astype(np.float32)
    expected = scene.repeat(scale, axis=1).repeat(scale, axis=2)
    np.testing.assert_allclose(restored(plan, scene, scale=scale), expected, atol=1e-5)


@settings(max_examples=80, deadline=None)
@given(plans(mode="crop"))
def test_cropped_cores_cover_every_pixel_once(planned: tuple[TilePlan, dict[str, Any]]):
    plan, _ = planned
    covered = np.zeros(plan.size, int)
    for tile in plan:
        covered[tile.core.rows, tile.core.columns] += 1
    assert (covered == 1).all()
    assert plan.count == len(list(plan))


@settings(max_examples=80, deadline=None)
@given(plans(mode="blend"))
def test_blended_windows_cover_every_pixel(planned: tuple[TilePlan, dict[str, Any]]):
    plan, _ = planned
    covered = np.zeros(plan.size, int)
    for tile in plan:
        assert tile.core == tile.window
        covered[tile.core.rows, tile.core.columns] += 1
    assert covered.min() >= 1


@settings(max_examples=80, deadline=None)
@given(plans())
def test_windows_begin_on_multiples_and_stay_in_the_scene(planned: tuple[TilePlan, dict[str, Any]]):
    plan, asked = planned
    step = math.lcm(asked["multiple_of"], asked["phase"])
    for tile in plan:
        assert tile.window.row % step == 0
        assert tile.window.column % step == 0
        for start, side, length in zip((tile.window.row, tile.window.column), tile.window.size, plan.size, strict=True):
            assert start >= 0
            assert start + side <= length
            assert side % step == 0 or start + side == length


@settings(max_examples=80, deadline=None)
@given(plans(mode="crop"))
def test_cropped_windows_reach_out_as_far_as_the_model_looks(planned: tuple[TilePlan, dict[str, Any]]):
    plan, asked = planned
    for tile in plan:
        needed = tile.core.grow(asked["reach"], within=plan.size)
        assert tile.window.row <= needed.row
        assert tile.window.column <= needed.column
        assert tile.window.row + tile.window.height >= needed.row + needed.height
        assert tile.window.column + tile.window.width >= needed.column + needed.width


@settings(max_examples=80, deadline=None)
@given(plans(mode="blend"))
def test_neighbours_overlap_by_what_was_asked_for_at_least(planned: tuple[TilePlan, dict[str, Any]]):
    plan, asked = planned
    step = math.lcm(asked["multiple_of"], asked["phase"])
    for row in plan.rows:
        for tile, after in pairwise(row):
            assert tile.core.column + tile.core.width - after.core.column >= asked["overlap"] - step + 1
    for tiles, below in pairwise(plan.rows):
        assert tiles[0].core.row + tiles[0].core.height - below[0].core.row >= asked["overlap"] - step + 1


@settings(max_examples=80, deadline=None)
@given(plans(), st.integers(0, 69))
def test_a_resumed_run_begins_where_every_later_row_is_complete(
    planned: tuple[TilePlan, dict[str, Any]], scene_row: int
):
    plan, _ = planned
    assume(scene_row < plan.size[0])
    begin = plan.first_row_for(scene_row)
    assert begin == 0 or plan.rows[begin - 1][0].core.row + plan.rows[begin - 1][0].core.height <= scene_row
    scene = np.random.default_rng(0).normal(size=(1, *plan.size)).astype(np.float32)
    resumed = restored(plan, scene, scale=1, begin=begin)
    missing = plan.size[0] - resumed.shape[1]
    assert missing <= scene_row
    np.testing.assert_array_equal(resumed[:, scene_row - missing :], restored(plan, scene, scale=1)[:, scene_row:])


def test_a_resumed_run_does_not_begin_earlier_than_it_must():
    plan = plan_tiles((100, 10), tile=10, mode="crop", reach=3)
    assert [plan.first_row_for(row) for row in (0, 9, 10, 55, 99)] == [0, 0, 1, 5, 9]


def test_rows_are_finished_when_no_later_tile_touches_them():
    plan = plan_tiles((30, 10), tile=12, overlap=4)
    assert [row[0].core.row for row in plan.rows] == [0, 8, 16, 18]
    assert [plan.finished(row) for row in range(4)] == [8, 16, 18, 30]


def test_a_small_scene_is_one_tile():
    plan = plan_tiles((5, 7), tile=64, overlap=16, multiple_of=16)
    assert [tile.window.size for tile in plan] == [(5, 7)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tile": 3, "multiple_of": 4}, "a tile of 3 pixels is too small"),
        ({"tile": 64, "overlap": 33}, "an overlap of 33 is too large"),
        ({"tile": 64, "mode": "crop"}, "global reach cannot be cropped"),
    ],
)
def test_sizes_that_cannot_serve_are_refused(asked: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        plan_tiles((100, 100), **asked)
