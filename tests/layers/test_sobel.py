"""Sobel gradients and the blur before them against SciPy and kornia."""

import numpy as np
import pytest
import torch
from kornia.filters import spatial_gradient
from scipy import ndimage

from eorestore.layers.sobel import LearnableSobel, gaussian_blur, sobel


def image(bands=3, seed=0):
    return torch.rand(2, bands, 11, 14, generator=torch.Generator().manual_seed(seed))


def test_the_gradients_are_those_of_scipy_over_eight():
    found, values = sobel(image()), image().numpy()
    # SciPy smooths along every other axis, so it is given one band at a time.
    across, down = (
        np.stack([[ndimage.sobel(band, axis=axis, mode="nearest") / 8 for band in item] for item in values])
        for axis in (1, 0)
    )
    assert np.allclose(found[:, :3], across, atol=1e-6)
    assert np.allclose(found[:, 3:], down, atol=1e-6)


def test_the_gradients_are_those_of_kornia():
    theirs = spatial_gradient(image(), mode="sobel", order=1, normalized=True)
    assert torch.allclose(sobel(image()), torch.cat([theirs[:, :, 0], theirs[:, :, 1]], dim=1), atol=1e-6)


def test_a_ramp_that_rises_by_one_a_pixel_has_gradient_one():
    ramp = torch.arange(9.0).expand(1, 1, 7, 9)
    assert torch.equal(sobel(ramp)[0, 0, 1:-1, 1:-1], torch.ones(5, 7))
    assert not sobel(ramp)[0, 1].any()


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_blur_is_that_of_scipy(sigma):
    expected = ndimage.gaussian_filter(image().numpy(), sigma, mode="nearest", truncate=3, axes=(2, 3))
    assert np.allclose(gaussian_blur(image(), sigma), expected, atol=1e-6)


def test_the_blur_is_the_same_under_autocast_and_in_the_time_of_any_other():
    # In bfloat16 with channels last, oneDNN 3 takes minutes for the kernel of the widest blur of AFSST.
    picture = torch.rand(8, 2, 64, 64).contiguous(memory_format=torch.channels_last)
    for sigma in (1.0, 2.0, 4.0, 6.0):
        expected = gaussian_blur(picture, sigma)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(gaussian_blur(picture, sigma), expected)


def test_the_blur_takes_more_from_speckle_than_from_an_edge():
    generator = torch.Generator().manual_seed(0)
    speckle = torch.randn(1, 1, 64, 64, generator=generator)
    edge = (torch.arange(64) > 31).float().expand(1, 1, 64, 64)
    sharp, soft = sobel, LearnableSobel(sigma=1.0, learned=False)
    left_of_speckle = soft(speckle).std() / sharp(speckle).std()
    left_of_edge = soft(edge).max() / sharp(edge).max()
    assert left_of_speckle < 0.6 * left_of_edge


def test_a_learned_factor_scales_the_gradients_and_gets_a_gradient():
    layer, fixed = LearnableSobel(sigma=1.0, learned=True), LearnableSobel(sigma=1.0, learned=False)
    assert torch.equal(layer(image()), fixed(image()))
    assert not list(fixed.parameters())
    with torch.no_grad():
        layer.factor.fill_(-2.0)
    assert torch.allclose(layer(image()), -2 * fixed(image()))
    layer(image()).square().mean().backward()
    assert layer.factor.grad != 0
