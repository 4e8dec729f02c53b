"""Observed and restored pixels in one image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from eorestore.raster.encoding import Encoding
from eorestore.tiling.compositing import FADE, MARGIN, Source, compose, membrane

DN = Encoding("uint16", 1e-4, 0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    raw: np.ndarray
    restored: np.ndarray
    valid: np.ndarray
    mask: np.ndarray | None


def scene(height: int = 120, width: int = 150, *, seed: int = 0, bias: float = 0.05) -> Scene:
    generator = np.random.default_rng(seed)
    truth = 0.2 + 0.1 * np.sin(np.arange(height)[:, None] / 11) * np.cos(np.arange(width) / 17)
    bands = np.stack([truth, truth * 1.5]) + generator.normal(0, 0.003, (2, height, width))
    valid = np.ones((height, width), bool)
    valid[:, :9] = False
    raw = np.rint(bands * 1e4).astype(np.uint16)
    raw[:, ~valid] = 0
    mask = np.zeros((height, width), bool)
    mask[30:80, 40:110] = mask[90:100, 5:30] = True
    return Scene(raw, (np.stack([truth, truth * 1.5]) + bias).astype(np.float32), valid, mask)


def composed(one: Scene, rows: slice = slice(None), *, encoding: Encoding = DN) -> tuple[np.ndarray, np.ndarray]:
    return compose(one.raw, one.restored, valid=one.valid, mask=one.mask, encoding=encoding, rows=rows)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_clear_pixels_are_bit_identical(seed: int, share: float):
    one = scene(seed=seed)
    one = replace(one, mask=np.random.default_rng(seed).random(one.valid.shape) < share)
    result, source = composed(one)
    kept = ~(one.mask & one.valid)
    np.testing.assert_array_equal(result[:, kept], one.raw[:, kept])
    np.testing.assert_array_equal(source == Source.RESTORED, one.mask & one.valid)
    np.testing.assert_array_equal(source == Source.NODATA, ~one.valid)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0, 1, 65535]))
def test_no_value_under_the_mask_enters_the_result(seed: int, value: int):
    one = scene(seed=seed)
    result, source = composed(one)
    painted = one.raw.copy()
    painted[:, one.mask & one.valid] = value
    again, source_again = composed(replace(one, raw=painted))
    np.testing.assert_array_equal(again, result)
    np.testing.assert_array_equal(source_again, source)


def test_no_value_of_an_invalid_pixel_enters_the_result():
    one = scene()
    painted = one.raw.copy()
    painted[:, ~one.valid] = 65535
    again = composed(replace(one, raw=painted))[0]
    np.testing.assert_array_equal(again[:, one.valid], composed(one)[0][:, one.valid])


def test_restored_pixels_of_float_data_ignore_nan_under_the_mask():
    one = scene()
    observed = one.raw / np.float32(1e4)
    observed[:, one.mask] = np.nan
    encoding = Encoding("float32", nodata=float("nan"))
    result, _ = composed(replace(one, raw=observed.astype(np.float32)), encoding=encoding)
    assert np.isfinite(result[:, one.mask & one.valid]).all()


@pytest.mark.parametrize("step", [16, 37, 64, 120])
@pytest.mark.parametrize("seed", [0, 1])
def test_blocks_with_a_margin_equal_the_whole(step: int, seed: int):
    one = scene(seed=seed)
    result, source = composed(one)
    for first in range(0, 120, step):
        last = min(first + step, 120)
        top, bottom = max(first - MARGIN, 0), min(last + MARGIN, 120)
        block = Scene(one.raw[:, top:bottom], one.restored[:, top:bottom], one.valid[top:bottom], one.mask[top:bottom])
        part, part_source = composed(block, slice(first - top, last - top))
        np.testing.assert_array_equal(part, result[:, first:last])
        np.testing.assert_array_equal(part_source, source[first:last])


def test_scenes_wider_than_a_column_block_have_no_step_between_blocks():
    one = scene(60, 1300)
    mask = np.zeros((60, 1300), bool)
    mask[20:40, 300:1200] = True
    one = replace(one, mask=mask)
    result = composed(one)[0]
    full = one.restored + membrane(DN.decode(one.raw), one.restored, mask, one.valid)
    np.testing.assert_allclose(result[:, mask] / 1e4, full[:, mask], atol=1.01e-4)


def test_the_seam_is_closed_and_the_inside_is_the_models():
    one = scene(bias=0.08)
    surface = membrane(DN.decode(one.raw), one.restored, one.mask, one.valid)
    inside = distance_transform_edt(one.mask)
    edge = one.mask & (inside <= 1) & one.valid
    np.testing.assert_allclose(surface[:, edge], -0.08, atol=0.008)
    assert (surface[:, inside >= FADE] == 0).all()
    assert (surface[:, ~one.mask] == 0).all()
    result = composed(one)[0].astype(float) / 1e4
    row = 55
    step = np.abs(result[:, row, 40] - result[:, row, 39])
    assert (step < 0.03).all()


def test_a_perfect_restoration_needs_no_membrane():
    one = scene()
    observed = DN.decode(one.raw)
    surface = membrane(observed, observed.copy(), one.mask, one.valid)
    np.testing.assert_array_equal(surface, 0)


def test_a_constant_difference_fades_as_a_raised_cosine():
    mask = np.zeros((80, 80), bool)
    mask[:, 40:] = True
    observed, restored = np.full((1, 80, 80), 0.5, np.float32), np.full((1, 80, 80), 0.3, np.float32)
    surface = membrane(observed, restored, mask, np.ones_like(mask))[0, 40]
    depth = np.arange(1, 21)
    expected = 0.2 * (0.5 + 0.5 * np.cos(np.pi * np.minimum(depth, FADE) / FADE))
    np.testing.assert_allclose(surface[40:60], expected, atol=1e-5)


def test_without_a_clear_ring_the_restoration_stays_as_it_is():
    one = scene()
    everything = np.ones_like(one.valid)
    surface = membrane(DN.decode(one.raw), one.restored, everything, one.valid)
    assert (surface == 0).all()


def test_without_a_mask_every_valid_pixel_is_restored_and_no_seam_is_drawn():
    one = replace(scene(), mask=None)
    result, source = composed(one)
    np.testing.assert_array_equal(result[:, one.valid], DN.encode(one.restored)[:, one.valid])
    np.testing.assert_array_equal(result[:, ~one.valid], one.raw[:, ~one.valid])
    np.testing.assert_array_equal(source, np.where(one.valid, Source.RESTORED, Source.NODATA))
    whole = replace(one, valid=np.ones_like(one.valid))
    np.testing.assert_array_equal(composed(whole)[0], DN.encode(one.restored))


def test_the_input_is_left_alone():
    one = scene()
    before = one.raw.copy(), one.restored.copy()
    composed(one)
    np.testing.assert_array_equal(one.raw, before[0])
    np.testing.assert_array_equal(one.restored, before[1])
