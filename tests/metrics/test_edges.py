"""Correlations of edges against scikit-image's Sobel filter and SciPy's correlation."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from skimage.filters import sobel

from eorestore.layers.sobel import inner
from eorestore.metrics.edges import edge_correlation, gradient_correlation, sobel_magnitude


def image(seed: int) -> torch.Tensor:
    smooth = torch.rand(3, 30, 26, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.avg_pool2d(smooth, 3, stride=1, padding=1, count_include_pad=False)


def everywhere() -> torch.Tensor:
    return torch.ones(1, 30, 26, dtype=torch.bool)


def magnitudes(values: torch.Tensor) -> np.ndarray:
    return np.stack([sobel(band) for band in values.numpy()])[:, 1:-1, 1:-1]


def blurred(values: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(values, 5, stride=1, padding=2, count_include_pad=False)


def test_the_magnitude_is_that_of_scikit_image_up_to_its_scale():
    ours = sobel_magnitude(image(0), everywhere())[:, 1:-1, 1:-1].numpy()
    # scikit-image divides the kernel by 4 and averages both squares; ours is the slope a pixel.
    np.testing.assert_allclose(ours * 2 / np.sqrt(2), magnitudes(image(0)), atol=1e-12)


def test_the_gradient_correlation_is_the_mean_of_scipys_over_bands():
    x, y = magnitudes(blurred(image(0))), magnitudes(image(0))
    expected = np.mean([pearsonr(a.ravel(), b.ravel()).statistic for a, b in zip(x, y, strict=True)])
    found = gradient_correlation(blurred(image(0)), image(0), valid=everywhere())
    assert found.item() == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected < 0.9


def test_the_edge_correlation_is_scipys_of_maps_with_equal_weight_a_band():
    x, y = magnitudes(blurred(image(0))), magnitudes(image(0))
    maps = [(m / m.mean(axis=(1, 2), keepdims=True)).mean(axis=0).ravel() for m in (x, y)]
    found = edge_correlation(blurred(image(0)), image(0), valid=everywhere())
    assert found.item() == pytest.approx(pearsonr(*maps).statistic, abs=1e-12)


@pytest.mark.parametrize("metric", [gradient_correlation, edge_correlation])
def test_contrast_and_brightness_of_the_whole_image_do_not_matter(metric):
    before = metric(blurred(image(0)), image(0), valid=everywhere())
    assert metric(0.1 + 3 * blurred(image(0)), image(0), valid=everywhere()).item() == pytest.approx(before.item())


@pytest.mark.parametrize("metric", [gradient_correlation, edge_correlation])
def test_blur_is_better_than_another_image_and_worse_than_the_truth(metric):
    other, blur, truth = (
        metric(x, image(0), valid=everywhere()).item() for x in (image(1), blurred(image(0)), image(0))
    )
    assert abs(other) < 0.2 < blur < 0.95 < truth


def test_a_band_without_gradient_is_left_out_and_does_not_break_the_others():
    flat = image(0)
    flat[1] = 0.5
    both = gradient_correlation(blurred(image(0))[[0, 2]], image(0)[[0, 2]], valid=everywhere())
    assert gradient_correlation(blurred(image(0)), flat, valid=everywhere()).item() == pytest.approx(both.item())
    assert gradient_correlation(image(0), torch.zeros_like(flat), valid=everywhere()).isnan()


def test_the_border_and_what_touches_a_gap_do_not_count():
    valid = everywhere()
    valid[:, 10, 10] = False
    expected = torch.zeros_like(valid)
    expected[:, 1:-1, 1:-1] = True
    expected[:, 9:12, 9:12] = False
    assert torch.equal(inner(valid), expected)
