"""Edges and grids of blocks against SciPy, scikit-image and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import laplace
from scipy.stats import pearsonr
from skimage.filters import sobel

from eorestore.metrics.sar_edges import (
    border_gradient,
    edge_cosine,
    edge_pearson,
    laplacian_correlation,
    roa_correlation,
)

ALL = torch.ones(1, 256, 256, dtype=torch.bool)


def white(seed: int) -> torch.Tensor:
    return torch.randn(1, 256, 256, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def blurred(image: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)


def test_two_independent_noises_score_a_quarter_of_pi_by_cosine_and_nothing_by_pearson():
    assert edge_cosine(white(0), white(1), valid=ALL).item() == pytest.approx(math.pi / 4, abs=0.01)
    assert edge_pearson(white(0), white(1), valid=ALL).item() == pytest.approx(0, abs=0.02)
    assert laplacian_correlation(white(0), white(1), valid=ALL).item() == pytest.approx(0, abs=0.02)
    assert roa_correlation(white(0), white(1), valid=ALL).item() == pytest.approx(0, abs=0.03)


def test_edges_are_those_of_scikit_image():
    x, y = (sobel(one[0].numpy())[1:-1, 1:-1].ravel() for one in (blurred(white(0)), white(0)))
    assert edge_pearson(blurred(white(0)), white(0), valid=ALL).item() == pytest.approx(pearsonr(x, y).statistic)
    expected = (x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum())
    assert edge_cosine(blurred(white(0)), white(0), valid=ALL).item() == pytest.approx(expected)


def test_the_laplacian_correlation_is_scipys():
    x, y = (laplace(one[0].numpy())[1:-1, 1:-1].ravel() for one in (blurred(white(0)), white(0)))
    found = laplacian_correlation(blurred(white(0)), white(0), valid=ALL).item()
    assert found == pytest.approx(pearsonr(x, y).statistic)


def test_the_ratio_of_averages_finds_an_edge_that_speckle_hides_from_sobel():
    shade = torch.zeros(1, 256, 256, dtype=torch.float64)
    shade[:, :, 96:] = 8.0
    shade[:, 128:] += 5.0
    speckle = torch.from_numpy(10 * np.log10(np.random.default_rng(0).gamma(4.4, 1 / 4.4, (1, 256, 256))))
    assert roa_correlation(shade, shade + speckle, valid=ALL).item() > 0.6
    assert edge_pearson(shade, shade + speckle, valid=ALL).item() < 0.5


@pytest.mark.parametrize("shift", [-15.0, 10.0])
def test_the_ratio_of_averages_does_not_depend_on_brightness(shift):
    before = roa_correlation(blurred(white(0)), white(0), valid=ALL).item()
    assert roa_correlation(blurred(white(0)) + shift, white(0), valid=ALL).item() == pytest.approx(before)


def test_a_grid_shows_where_it_is_and_nowhere_else():
    steps = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 16, 16))).repeat_interleave(16, 1)
    gridded = white(0) + steps.repeat_interleave(16, 2)
    assert border_gradient(gridded, valid=ALL, block=16).item() > 1.2
    assert border_gradient(white(0), valid=ALL, block=16).item() == pytest.approx(1, abs=0.03)
    assert border_gradient(gridded, valid=ALL, block=16, offset=(8, 8)).item() < 1.0
    shifted = torch.roll(gridded, (3, 5), dims=(1, 2))
    assert border_gradient(shifted, valid=ALL, block=16, offset=(3, 5)).item() > 1.2


def test_the_border_gradient_is_the_ratio_of_the_steps():
    image = torch.arange(256, dtype=torch.float64).repeat(1, 256, 1)
    image[..., 128:] += 3.0
    column = image[:, :, 112:144]
    # One border of 31 steps along x is 4, the others are 1; along y there is no step, and 15 of 255 are borders.
    borders, inside = (256 * 4 + 15 * 32 * 0), (256 * 30 * 1 + 240 * 32 * 0)
    expected = (borders / (256 * 1 + 15 * 32)) / (inside / (256 * 30 + 240 * 32))
    found = border_gradient(column, valid=ALL[:, :, :32], block=16, offset=(0, 0)).item()
    assert found == pytest.approx(expected)


def test_pairs_with_an_invalid_pixel_do_not_count_for_the_grid():
    image = white(0)
    image[:, :, 128:] += 30
    valid = ALL.clone()
    valid[:, :, 128] = False
    assert border_gradient(image, valid=valid, block=16).item() == pytest.approx(1, abs=0.05)
