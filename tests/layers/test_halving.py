import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eorestore.layers.halving import consistent, double, halve

BLURS = (0.0, 0.3, 0.5, 0.8)


def image(height, width, *, seed=0):
    return torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(20, 26), (2, 2), (4, 2)])
def test_halving_is_scipys_gaussian_and_the_mean_of_two_by_two_pixels(size):
    whole = image(*size)
    blurred = gaussian_filter(whole.numpy(), (0, 0, 0.5, 0.5), truncate=2)  # one pixel to either side
    expected = blurred.reshape(2, 3, size[0] // 2, 2, size[1] // 2, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(halve(whole).numpy(), expected, atol=1e-12)


def test_cutting_the_gaussian_at_a_pixel_changes_next_to_nothing():
    whole = image(40, 40)
    blurred = gaussian_filter(whole.numpy(), (0, 0, 0.5, 0.5))
    expected = blurred.reshape(2, 3, 20, 2, 20, 2).mean(axis=(3, 5))
    assert np.abs(halve(whole).numpy() - expected).max() < 1e-3


def test_without_blur_it_is_the_plain_mean():
    expected = torch.nn.functional.avg_pool2d(image(8, 6), 2)
    torch.testing.assert_close(halve(image(8, 6), blur=0.0), expected)


@pytest.mark.parametrize("blur", BLURS)
@pytest.mark.parametrize("size", [(10, 13), (1, 1), (1, 5)])
def test_halving_what_was_doubled_gives_it_back_up_to_the_edges(blur, size):
    small = image(*size)
    torch.testing.assert_close(halve(double(small, blur=blur), blur=blur), small, atol=1e-12, rtol=0)


@pytest.mark.parametrize("blur", BLURS)
def test_a_consistent_image_halves_to_what_was_asked_and_a_consistent_one_stays(blur):
    small = image(10, 13)
    found = consistent(image(20, 26, seed=1), small, blur=blur)
    torch.testing.assert_close(halve(found, blur=blur), small, atol=1e-12, rtol=0)
    torch.testing.assert_close(consistent(found, small, blur=blur), found, atol=1e-12, rtol=0)
