import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from eorestore.errors import DataError
from eorestore.processing.resize import enlarge, shrink, shrink_transposed

SIZES = [(24, 36), (25, 31), (7, 5)]


def image(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def keys(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def directly(values: np.ndarray, scale: float) -> np.ndarray:
    """imresize by its description, one output pixel after the other, with MATLAB's counting from 1."""
    widening = max(1.0, 1 / scale)

    def line(row: np.ndarray) -> np.ndarray:
        found = []
        for x in range(1, math.ceil(len(row) * scale - 1e-9) + 1):
            u = x / scale + (1 - 1 / scale) / 2
            total = weight_sum = 0.0
            for place in range(math.floor(u - 3 * widening), math.ceil(u + 3 * widening) + 1):
                weight = keys((u - place) / widening)
                inside = place
                while not 1 <= inside <= len(row):
                    inside = 1 - inside if inside < 1 else 2 * len(row) + 1 - inside
                total += weight * row[inside - 1]
                weight_sum += weight
            found.append(total / weight_sum)
        return np.array(found)

    return np.apply_along_axis(line, 0, np.apply_along_axis(line, 1, values))


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_both_directions_agree_with_the_description_pixel_by_pixel(size, factor):
    values = image(*size)
    small, large = shrink(values, factor=factor), enlarge(values, factor=factor)
    assert small.shape == tuple(-(-side // factor) for side in size)
    assert large.shape == tuple(factor * side for side in size)
    assert np.abs(small - directly(values, 1 / factor)).max() < 1e-12
    assert np.abs(large - directly(values, float(factor))).max() < 1e-12


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_pillow_agrees_inside_and_differs_at_the_edges_where_it_cuts_the_kernel(factor):
    values = image(48, 72).astype(np.float32)
    for ours, size in (
        (shrink(values, factor=factor), (72 // factor, 48 // factor)),
        (enlarge(values, factor=factor), (72 * factor, 48 * factor)),
    ):
        theirs = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC))
        rim = 3 * max(1, ours.shape[0] // 48)
        assert np.abs(ours - theirs)[rim:-rim, rim:-rim].max() < 1e-6
        assert np.abs(ours - theirs).max() > 1e-3


def test_torch_with_antialias_agrees_inside_to_the_last_digits():
    values = torch.from_numpy(image(1, 3, 48, 72))
    theirs = F.interpolate(values, scale_factor=1 / 4, mode="bicubic", antialias=True)
    assert (shrink(values, factor=4) - theirs)[..., 2:-2, 2:-2].abs().max() < 1e-12


def test_tensors_and_arrays_give_the_same_and_keep_their_type():
    values = image(2, 3, 20, 12).astype(np.float32)
    for function in (shrink, enlarge):
        array, tensor = function(values, factor=4), function(torch.from_numpy(values), factor=4)
        assert (array.dtype, tensor.dtype) == (np.float32, torch.float32)
        assert np.abs(array - tensor.numpy()).max() < 1e-7
        assert np.abs(array - function(values.astype(np.float64), factor=4)).max() < 1e-6
    assert shrink(np.full((8, 8), 255, np.uint8), factor=2).dtype == np.float64


def test_bands_and_items_do_not_mix():
    values = image(2, 3, 12, 16)
    assert np.allclose(shrink(values, factor=4)[1, 2], shrink(values[1, 2], factor=4), rtol=0, atol=1e-14)


def test_the_gradient_is_that_of_finite_differences():
    values = torch.from_numpy(image(1, 8, 9)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: shrink(x, factor=4), values)
    assert torch.autograd.gradcheck(lambda x: enlarge(x, factor=2), values)


@pytest.mark.parametrize("size", SIZES)
def test_the_transpose_is_the_gradient_of_shrinking(size):
    large = torch.from_numpy(image(2, *size)).requires_grad_()
    small = shrink(large, factor=4)
    other = torch.from_numpy(image(*small.shape, seed=1))
    (small * other).sum().backward()
    assert torch.allclose(shrink_transposed(other, factor=4, size=size), large.grad, rtol=0, atol=1e-14)
    assert np.allclose(shrink_transposed(other.numpy(), factor=4, size=size), large.grad.numpy(), rtol=0, atol=1e-14)


def test_a_constant_stays_constant_up_to_the_edge_and_the_mean_is_kept():
    assert np.abs(shrink(np.full((9, 13), 0.7), factor=4) - 0.7).max() < 1e-14
    assert np.abs(enlarge(np.full((9, 13), 0.7), factor=3) - 0.7).max() < 1e-14
    values = image(32, 48)
    assert shrink(values, factor=4).mean() == pytest.approx(values.mean(), abs=1e-12)


@pytest.mark.parametrize("turn", [lambda a: a[:, ::-1], lambda a: a[::-1], np.rot90])
def test_turning_and_shrinking_may_change_places(turn):
    values = image(24, 36)
    assert np.abs(turn(shrink(values, factor=4)) - shrink(turn(values), factor=4)).max() < 1e-14


def test_what_cannot_be_resized_is_refused_by_size():
    with pytest.raises(DataError, match="by 0"):
        shrink(image(8, 8), factor=0)
    with pytest.raises(DataError, match="no pixel"):
        enlarge(np.zeros((0, 8)), factor=2)
    with pytest.raises(DataError, match="17 x 9 pixels shrink to 5 x 3, and the image has 4 x 3"):
        shrink_transposed(image(4, 3), factor=4, size=(17, 9))
