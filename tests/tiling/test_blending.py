"""Blending against a whole-scene sum, MONAI's sliding window and exact convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from scipy.ndimage import convolve

from eorestore.tiling.blending import Mosaic
from eorestore.tiling.tiles import TilePlan, plan_tiles


def blended(plan: TilePlan, pieces: dict[tuple[int, int], np.ndarray], *, bands: int = 1, scale: int = 1) -> np.ndarray:
    mosaic = Mosaic(plan, bands=bands, scale=scale)
    strips = []
    for row, tiles in enumerate(plan.rows):
        for column, tile in enumerate(tiles):
            if (row, column) in pieces:
                mosaic.add(tile, pieces[row, column], position=(row, column))
        strips.append(mosaic.finish(row))
    return np.concatenate(strips, axis=1)


def cosine_weight(length: int, before: int, after: int) -> np.ndarray:
    """Raised cosine over `before` and `after` pixels at the two ends, written pixel by pixel."""
    weight = [1.0] * length
    for index in range(before):
        weight[index] *= np.sin(np.pi / 2 * (index + 0.5) / before) ** 2
    for index in range(after):
        weight[length - 1 - index] *= np.sin(np.pi / 2 * (index + 0.5) / after) ** 2
    return np.array(weight)


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 70), st.integers(20, 70), st.integers(12, 24), st.integers(0, 6), st.sampled_from([1, 2]))
def test_the_blend_is_the_weighted_mean_over_the_whole_scene(
    height: int, width: int, tile: int, overlap: int, scale: int
):
    plan = plan_tiles((height, width), tile=tile, overlap=overlap)
    generator = np.random.default_rng(height * width)
    total, weights = np.zeros((height * scale, width * scale)), np.zeros((height * scale, width * scale))
    pieces = {}
    for row, tiles in enumerate(plan.rows):
        for column, one in enumerate(tiles):
            piece = generator.normal(size=(1, one.core.height * scale, one.core.width * scale)).astype(np.float32)
            pieces[row, column] = piece
            above = plan.rows[row - 1][column].core if row else None
            below = plan.rows[row + 1][column].core if row + 1 < len(plan.rows) else None
            left = tiles[column - 1].core if column else None
            right = tiles[column + 1].core if column + 1 < len(tiles) else None
            core = one.core
            down = cosine_weight(
                core.height * scale,
                (above.row + above.height - core.row) * scale if above else 0,
                (core.row + core.height - below.row) * scale if below else 0,
            )
            across = cosine_weight(
                core.width * scale,
                (left.column + left.width - core.column) * scale if left else 0,
                (core.column + core.width - right.column) * scale if right else 0,
            )
            place = (
                slice(core.row * scale, (core.row + core.height) * scale),
                slice(core.column * scale, (core.column + core.width) * scale),
            )
            total[place] += np.outer(down, across) * piece[0]
            weights[place] += np.outer(down, across)
    np.testing.assert_allclose(blended(plan, pieces, scale=scale)[0], total / weights, atol=2e-5)


def test_a_constant_image_stays_constant():
    plan = plan_tiles((70, 83), tile=32, overlap=12)
    pieces = {
        (row, column): np.full((1, *tile.core.size), 0.3, np.float32)
        for row, tiles in enumerate(plan.rows)
        for column, tile in enumerate(tiles)
    }
    np.testing.assert_allclose(blended(plan, pieces), 0.3, atol=1e-7)


def test_the_blend_goes_over_smoothly_from_tile_to_tile():
    plan = plan_tiles((16, 48), tile=32, overlap=16)
    dark, bright = (np.full((1, 16, 32), value, np.float32) for value in (0.0, 1.0))
    profile = blended(plan, {(0, 0): dark, (0, 1): bright})[0, 8]
    assert (profile[:16] == 0).all()
    assert (profile[32:] == 1).all()
    steps = np.diff(profile)
    assert (steps >= 0).all()
    assert steps.max() < 0.12
    np.testing.assert_allclose(profile[16:32] + profile[16:32][::-1], 1, atol=1e-6)


def test_windows_without_overlap_are_those_of_monai():
    scene = np.random.default_rng(0).normal(size=(3, 64, 96)).astype(np.float32)
    plan = plan_tiles((64, 96), tile=32)
    pieces = {
        (row, column): np.fft.fft2(scene[:, tile.window.rows, tile.window.columns]).real.astype(np.float32)
        for row, tiles in enumerate(plan.rows)
        for column, tile in enumerate(tiles)
    }
    theirs = sliding_window_inference(
        torch.from_numpy(scene)[None], (32, 32), 1, lambda window: torch.fft.fft2(window).real, overlap=0.0
    )
    np.testing.assert_allclose(blended(plan, pieces, bands=3), theirs[0].numpy(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [(64, 64), (61, 75), (17, 40)])
def test_cropped_tiles_of_a_convolution_equal_the_convolution_of_the_whole(size: tuple[int, int]):
    generator = np.random.default_rng(1)
    scene = generator.normal(size=size).astype(np.float32)
    kernel = generator.normal(size=(7, 7))
    plan = plan_tiles(size, tile=16, mode="crop", reach=3)
    pieces = {
        (row, column): convolve(scene[tile.window.rows, tile.window.columns], kernel, mode="constant")[None]
        for row, tiles in enumerate(plan.rows)
        for column, tile in enumerate(tiles)
    }
    np.testing.assert_array_equal(blended(plan, pieces)[0], convolve(scene, kernel, mode="constant"))


@pytest.mark.parametrize("mode", ["crop", "blend"])
def test_tiles_that_never_come_leave_zeros_and_no_nan(mode: str):
    plan = plan_tiles((40, 40), tile=16, overlap=4, mode=mode, reach=2)
    tile = plan.rows[0][0]
    image = blended(plan, {(0, 0): np.ones((1, *tile.window.size), np.float32)})
    assert image.shape == (1, 40, 40)
    assert np.isfinite(image).all()
    assert (image[0, :12, :12] == 1).all()
    assert (image[0, 20:] == 0).all()


def test_finished_rows_are_freed():
    plan = plan_tiles((400, 32), tile=32, overlap=8)
    mosaic = Mosaic(plan, bands=1)
    for row, (tile,) in enumerate(plan.rows):
        mosaic.add(tile, np.ones((1, *tile.core.size), np.float32), position=(row, 0))
        assert mosaic._image.shape[1] <= 32
        mosaic.finish(row)
    assert mosaic._image.shape[1] == 0


def test_single_precision_is_kept():
    plan = plan_tiles((40, 40), tile=16, overlap=4)
    pieces = {(0, 0): np.ones((1, 16, 16), np.float32)}
    assert blended(plan, pieces).dtype == np.float32
