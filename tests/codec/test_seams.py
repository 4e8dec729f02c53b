"""Borders between tiles: steps that quantising explains become small, edges of the ground stay, windows agree."""

from __future__ import annotations

import io

import numpy as np
import pytest

from eorestore.codec.decibel import Observed
from eorestore.codec.modes import Wish
from eorestore.codec.scene import compress_scene
from eorestore.codec.seams import REACH, Line, line_at, smoothed
from eorestore.codec.source import RasterSource
from eorestore.codec.stored_scene import StoredScene
from eorestore.raster import Window
from small_sar import sar_raster

SIZE = (300, 520)  # 2 x 3 tiles
BORDERS = (256, 512)


def flat(level, size=(6, 8)):
    return Observed(np.full((1, *size), level), np.ones((1, *size), bool))


def test_a_step_is_shared_out_over_three_pixels_of_either_side():
    left, right = flat(0.0), flat(1.0)
    one = smoothed(left, {"right": line_at(right, "left")}, step=4.0)
    other = smoothed(right, {"left": line_at(left, "right")}, step=4.0)
    share = 0.4 * np.array([5, 3, 1]) / 6  # half of 1 * 2^2 / (2^2 + 1^2)
    np.testing.assert_allclose(one.values[0, 0, ::-1], [*share, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(other.values[0, 0], 1 - one.values[0, 0, ::-1])


@pytest.mark.parametrize("side", ["above", "below", "left", "right"])
def test_each_side_changes_its_own_pixels_alone(side):
    plane = np.random.default_rng(3).normal(size=(2, 9, 11))
    tile = Observed(plane, np.ones(plane.shape, bool))
    length = 11 if side in ("above", "below") else 9
    neighbour = Line(np.full((2, length), 5.0), np.ones((2, length), bool))
    changed = (smoothed(tile, {side: neighbour}, step=3.0).values != plane).all(0)
    expected = np.zeros((9, 11), bool)
    expected[
        {"above": np.s_[:REACH], "below": np.s_[-REACH:], "left": np.s_[:, :REACH], "right": np.s_[:, -REACH:]}[side]
    ] = True
    np.testing.assert_array_equal(changed, expected)


def test_an_edge_of_the_ground_stays():
    tile = smoothed(flat(0.0), {"right": line_at(flat(30.0), "left")}, step=2.0)
    assert 0 < np.abs(tile.values).max() < 0.02


def test_gaps_are_neither_changed_nor_looked_at():
    hole = np.ones((1, 6, 8), bool)
    hole[0, 2, -1] = hole[0, 4, -2] = False
    tile = Observed(np.where(hole, 0.0, 0.0), hole)
    gap = np.ones((1, 6), bool)
    gap[0, 0] = False
    changed = smoothed(tile, {"right": Line(np.full((1, 6), 1.0), gap)}, step=4.0).values[0] != 0
    assert not changed[[0, 2]].any()
    assert changed[1, -REACH:].all()
    assert changed[4].tolist() == [False] * 5 + [True, False, True]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("seams") / "a.eoz"
    compress_scene(RasterSource(sar_raster(SIZE)), path, Wish(quality=2.0), tile=256)
    return path.read_bytes()


def opened(content, **options):
    return StoredScene(io.BytesIO(content), **options)


def test_every_window_is_the_crop_of_the_whole(content):
    with opened(content) as scene:
        whole = scene.read_raw()
    places = [Window(0, 0, 256, 256), Window(256, 256, 44, 256), Window(253, 510, 3, 3), Window(254, 100, 4, 300)]
    for window in [*places, Window(10, 10, 50, 50), Window(258, 514, 1, 1)]:
        with opened(content) as scene:
            np.testing.assert_array_equal(scene.read_raw(window), whole[:, window.rows, window.columns])
    with opened(content) as scene:
        strips = [rows for _, rows in scene.strips()]
    np.testing.assert_array_equal(np.concatenate(strips, axis=1), whole)


def test_only_the_pixels_at_borders_change_and_the_borders_show_less(content):
    with opened(content) as scene, opened(content, seams=False) as plain:
        after, before = scene.read_raw(), plain.read_raw()
    far = np.ones(SIZE, bool)
    for border in BORDERS:
        far[border - REACH : border + REACH] = False
        far[:, border - REACH : border + REACH] = False
    np.testing.assert_array_equal(after[:, far], before[:, far])

    def shown(values):
        across = np.abs(np.diff(values, axis=2)).mean((0, 1))
        return across[np.array(BORDERS) - 1].mean() / np.delete(across, np.array(BORDERS) - 1).mean()

    assert shown(before) > 1.8
    assert shown(after) < 1 + (shown(before) - 1) / 2


def test_a_damaged_neighbour_is_left_out(content):
    with opened(content) as scene:
        entry = scene._container.tiles[1]
        whole = scene.read_raw(Window(0, 0, 256, 256))
    broken = bytearray(content)
    broken[entry.offset + 5] ^= 255
    with opened(bytes(broken)) as scene:
        back = scene.read_raw(Window(0, 0, 256, 256))
        assert not scene.damaged
    np.testing.assert_array_equal(back[:, :-REACH, :-REACH], whole[:, :-REACH, :-REACH])
    assert (back[:, 100, -REACH:] != whole[:, 100, -REACH:]).any()
