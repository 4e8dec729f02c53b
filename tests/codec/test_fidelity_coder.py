from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from eorestore.codec import fidelity_levels
from eorestore.codec.fidelity_coder import FidelityCoder, step_index
from eorestore.codec.fidelity_levels import predicted_away, restored
from eorestore.codec.radiometry import filled, mean_shift
from eorestore.errors import CodecError


def speckled(shape: tuple[int, ...], seed: int = 0, *, blur: float = 1.0) -> np.ndarray:
    """Decibel planes of correlated speckle of about five looks over ground of two kinds."""
    draw = np.random.default_rng(seed)
    planes = []
    for _ in range(shape[0]):
        ground = np.where(ndimage.gaussian_filter(draw.normal(size=shape[1:]), 12, mode="wrap") > 0, -9.0, -17.0)
        looks = [draw.normal(size=shape[1:]) for _ in range(10)]
        power = sum(ndimage.gaussian_filter(field, blur) ** 2 for field in looks)
        planes.append(ground + 10 * np.log10(power / power.mean() + 1e-4))
    return np.stack(planes).astype(np.float32)


def psnr30(decoded: np.ndarray, original: np.ndarray) -> float:
    return float(20 * np.log10(30 / np.sqrt(np.mean((decoded - original) ** 2))))


def everything(values: np.ndarray) -> np.ndarray:
    return np.ones(values.shape, bool)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 2), st.integers(1, 80), st.integers(1, 80), st.floats(0.1, 25), st.floats(0, 1), st.integers(0, 99)
)
def test_any_tile_comes_back_near_what_it_was(
    bands: int, height: int, width: int, step: float, share: float, seed: int
) -> None:
    values = speckled((bands, height, width), seed)
    valid = np.random.default_rng(seed).random(values.shape) < share
    coder = FidelityCoder(step)
    decoded = coder.decode(coder.encode(values, valid), valid)
    assert decoded.shape == values.shape
    assert decoded.dtype == np.float32
    assert not decoded[~valid].any()
    error = decoded[valid] - values[valid]
    if error.size:
        # A level is at most a step from its coefficient, which bounds the mean squared error, not each pixel.
        assert np.sqrt(np.mean(error**2)) < step * np.sqrt(values[0].size / max(error.size, 1) * bands) + 2


def test_smaller_steps_take_more_bytes_and_are_nearer() -> None:
    values = speckled((1, 128, 128))
    found = []
    for step in (0.5, 1.5, 4.0, 10.0):
        coder = FidelityCoder(step)
        payload = coder.encode(values, everything(values))
        found.append((len(payload), psnr30(coder.decode(payload, everything(values)), values)))
    assert found == sorted(found, reverse=True)
    assert [quality for _, quality in found] == sorted((quality for _, quality in found), reverse=True)


def test_the_mean_intensity_of_blocks_is_kept() -> None:
    values = speckled((1, 256, 256), blur=0.8)
    coder = FidelityCoder(9.0)
    decoded = coder.decode(coder.encode(values, everything(values)), everything(values))
    assert abs(mean_shift(values[0], decoded[0], everything(values[0]))) < 0.02
    rows = slice(5, 5 + 24 * 10), slice(11, 11 + 24 * 10)
    true, now = (10 ** (image[0][rows].reshape(10, 24, 10, 24).astype(float) / 10) for image in (values, decoded))
    bias = 10 * np.log10(now.mean((1, 3)) / true.mean((1, 3)))
    assert abs(np.median(bias)) < 0.05
    plain = ndimage.gaussian_filter(values[0], 2)[rows].reshape(10, 24, 10, 24).astype(float)
    smoothed = 10 * np.log10((10 ** (plain / 10)).mean((1, 3)) / true.mean((1, 3)))
    assert np.median(smoothed) < -0.2


def test_a_second_band_like_the_first_costs_less_than_alone() -> None:
    first = speckled((1, 128, 128), 3)
    both = np.concatenate([first, first + np.random.default_rng(4).normal(0, 0.7, first.shape).astype(np.float32)])
    coder = FidelityCoder(3.0)
    alone = len(coder.encode(both[:1], everything(both[:1]))) + len(coder.encode(both[1:], everything(both[1:])))
    assert len(coder.encode(both, everything(both))) < 0.9 * alone


def test_pixels_that_are_not_valid_cost_little_and_change_nothing() -> None:
    values = speckled((1, 128, 128), 5)
    valid = everything(values)
    valid[0, :, 64:] = False
    other = values.copy()
    other[0, :, 64:] = np.nan
    coder = FidelityCoder(3.0)
    half = coder.encode(values, valid)
    assert half == coder.encode(np.where(valid, other, 77), valid)
    assert len(half) < 0.65 * len(coder.encode(values, everything(values)))


def test_nothing_valid_is_a_few_bytes() -> None:
    nothing = np.zeros((2, 200, 200), bool)
    coder = FidelityCoder(3.0)
    payload = coder.encode(np.zeros(nothing.shape, np.float32), nothing)
    assert len(payload) < 40
    assert not coder.decode(payload, nothing).any()


def test_fill_is_smooth_and_keeps_what_is_valid() -> None:
    values = speckled((1, 64, 64), 6)[0]
    valid = np.ones(values.shape, bool)
    valid[20:40, 20:40] = False
    out = filled(np.where(valid, values, np.float32(500)), valid)
    assert np.array_equal(out[valid], values[valid])
    assert np.abs(np.diff(out[22:38, 22:38], axis=0)).max() < np.abs(np.diff(values, axis=0)).mean()


def test_constants_come_back_from_their_prediction() -> None:
    constants = np.random.default_rng(7).integers(-900, 900, (9, 13))
    assert np.array_equal(restored(predicted_away(constants)), constants)


def test_steps_of_four_digits_are_far_from_where_the_contexts_change() -> None:
    steps = np.concatenate([np.arange(1000, 10000) * scale for scale in (1e-4, 1e-3, 1e-2)])
    place = 32 * np.log2(steps.astype(np.longdouble) / np.longdouble("0.1"))
    assert np.abs(place - np.floor(place) - 0.5).min() > 1e-8
    assert step_index(0.1) == 0
    assert step_index(0.0001) == 0
    assert step_index(12.8) == 224
    assert step_index(99.0) == 255


def test_damaged_bytes_raise_or_give_other_pixels() -> None:
    values = speckled((2, 60, 70), 8)
    coder = FidelityCoder(3.0)
    payload = coder.encode(values, everything(values))
    draw = np.random.default_rng(9)
    raised = 0
    for turn in range(120):
        broken = bytearray(payload)
        if turn % 3 == 0:
            broken = broken[: int(draw.integers(len(broken)))]
        for _ in range(int(draw.integers(1, 4))):
            if broken:
                broken[int(draw.integers(len(broken)))] ^= int(draw.integers(1, 256))
        try:
            decoded = coder.decode(bytes(broken), everything(values))
        except CodecError:
            raised += 1
        else:
            assert decoded.shape == values.shape
            assert np.isfinite(decoded).all()
    assert raised > 20


def test_a_tile_too_short_for_its_head_is_named() -> None:
    with pytest.raises(CodecError, match="2 bytes"):
        FidelityCoder(3.0).decode(b"\0\0", np.ones((1, 8, 8), bool))


def test_slow_waves_are_coded_finer_so_that_small_areas_keep_their_mean(monkeypatch) -> None:
    values = speckled((1, 256, 256), 11, blur=0.8)
    found = {}
    for name, finer in (("as shipped", fidelity_levels._FINER), ("all alike", ())):
        monkeypatch.setattr(fidelity_levels, "_FINER", finer)
        decoded = FidelityCoder(9.0).decode(FidelityCoder(9.0).encode(values, everything(values)), everything(values))
        areas = (decoded - values)[0, 5:245, 11:251].reshape(10, 24, 10, 24).mean((1, 3))
        found[name] = float(areas.std())  # the repair of intensity raises all of them alike
    assert found["as shipped"] < 0.75 * found["all alike"]
