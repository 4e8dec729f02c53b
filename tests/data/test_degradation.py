import numpy as np
import pytest
import torch

from eorestore.data.degradation import Degradation, rounded
from eorestore.errors import DataError
from eorestore.processing.resize import shrink


def image(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def test_what_fills_no_low_resolution_pixel_is_cut_off_below_and_right_first():
    high = image(3, 19, 14)
    assert Degradation(4).crop(high).tobytes() == high[:, :16, :12].tobytes()
    plain = Degradation(4, levels=0).apply(high)
    assert plain.shape == (3, 4, 3)
    assert np.array_equal(plain, shrink(high[:, :16, :12], factor=4))
    with pytest.raises(DataError, match="3 x 14 pixels"):
        Degradation(4).apply(high[:, :3])


def test_eight_bits_hold_levels_between_0_and_255_only():
    low = Degradation(2).apply((image(3, 40, 40) > 0.5).astype(np.float32))  # overshoots on both sides
    assert (low.min(), low.max()) == (0, 1)
    assert np.abs(low * 255 - np.rint(low * 255)).max() < 1e-4
    exact = shrink((image(3, 40, 40) > 0.5).astype(np.float32), factor=2)
    assert exact.min() < 0
    assert np.abs(low - exact.clip(0, 1)).max() <= 0.5 / 255 + 1e-6


def test_halves_are_rounded_up_as_matlab_does():
    values = np.array([[0.5, 1.5, 2.5]]) / 255
    assert (rounded(values) * 255).tolist() == [[1, 2, 3]]
    assert (rounded(torch.from_numpy(values)) * 255).tolist() == [[1, 2, 3]]


def test_arrays_and_tensors_degrade_alike():
    high = image(2, 3, 24, 32)
    for degradation in (Degradation(4), Degradation(3, levels=0)):
        found = degradation.apply(torch.from_numpy(high)).numpy()
        assert np.abs(found - degradation.apply(high)).max() < 1e-7


def test_without_rounding_the_gradient_goes_through():
    high = torch.from_numpy(image(1, 8, 8)).requires_grad_()
    Degradation(2, levels=0).apply(high).sum().backward()
    assert high.grad.numpy() == pytest.approx(np.full((1, 8, 8), 0.25), abs=0.05)
