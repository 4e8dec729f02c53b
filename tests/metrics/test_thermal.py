"""Errors in kelvin against NumPy, scikit-image and SciPy; every thermal metric against what all metrics promise."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from skimage.measure import block_reduce
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eorestore.errors import DataError
from eorestore.metrics.hot_spots import hot_iou, invented_regions, missed_regions, peak_distance, peak_error
from eorestore.metrics.thermal import (
    THERMAL_METRICS,
    consistency,
    detail_power_ratio,
    error_quantile,
    max_error,
    mean_error,
    p99_error,
    psnr_of_range,
    r2,
    ssim_of_range,
)

SHAPE = (3, 1, 40, 36)
PERFECT = {"r2": 1.0, "psnr_of_range": math.inf, "ssim_of_range": 1.0, "hot_iou": 1.0}


def kelvin(seed: int) -> torch.Tensor:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = torch.arange(SHAPE[-2], dtype=torch.float64)[:, None]
    return 285 + 6 * noise + 8 * torch.sin(rows / 7)


def everywhere() -> torch.Tensor:
    return torch.ones(SHAPE, dtype=torch.bool)


def partly() -> torch.Tensor:
    valid = everywhere()
    valid[0, :, 8:16, 4:20] = False
    valid[1, :, :, -8:] = False
    return valid


@pytest.fixture(params=THERMAL_METRICS)
def name(request):
    return request.param


def test_equal_images_get_the_perfect_score(name):
    scores = THERMAL_METRICS[name](kelvin(0), kelvin(0), valid=partly())
    assert scores.tolist() == pytest.approx([PERFECT.get(name, 0.0)] * 3, abs=1e-9)


def test_nan_outside_the_valid_pixels_changes_nothing(name):
    prediction, target = kelvin(0), kelvin(1)
    before = THERMAL_METRICS[name](prediction, target, valid=partly())
    prediction[~partly()], target[~partly()] = math.nan, math.inf
    assert torch.equal(THERMAL_METRICS[name](prediction, target, valid=partly()), before)
    assert torch.isfinite(before).all()


def test_pixels_outside_the_region_count_only_as_surroundings(name):
    region = everywhere()
    region[..., 20:, :] = False
    prediction, target = kelvin(0), kelvin(1)
    before = THERMAL_METRICS[name](prediction, target, valid=partly(), region=region)
    prediction[..., 20 + 6 :, :] = 400.0
    assert torch.equal(THERMAL_METRICS[name](prediction, target, valid=partly(), region=region), before)


def test_an_item_of_a_batch_scores_as_it_does_alone(name):
    together = THERMAL_METRICS[name](kelvin(0), kelvin(1), valid=partly())
    alone = [THERMAL_METRICS[name](kelvin(0)[i], kelvin(1)[i], valid=partly()[i]) for i in range(3)]
    assert together.shape == (3,)
    assert together.dtype == torch.float64
    assert all(value.shape == () for value in alone)
    assert torch.allclose(together, torch.stack(alone), atol=0, rtol=1e-12)


def test_no_valid_pixel_is_no_score(name):
    valid = partly()
    valid[1] = False
    scores = THERMAL_METRICS[name](kelvin(0), kelvin(1), valid=valid)
    assert scores.isnan().tolist() == [False, True, False]


def test_a_metric_keeps_no_gradient(name):
    assert not THERMAL_METRICS[name](kelvin(0).requires_grad_(), kelvin(1), valid=partly()).requires_grad


def valid_values(seed: int, item: int) -> np.ndarray:
    return kelvin(seed)[item][partly()[item]].numpy()


def test_bias_keeps_its_sign_and_is_numpys_mean_difference():
    expected = [valid_values(0, item).mean() - valid_values(1, item).mean() for item in range(3)]
    assert mean_error(kelvin(0), kelvin(1), valid=partly()).tolist() == pytest.approx(expected)
    assert (mean_error(kelvin(0) - 2, kelvin(0), valid=partly()) + 2).abs().max() < 1e-9


def test_largest_and_ninety_ninth_error_are_those_of_numpy():
    errors = [np.abs(valid_values(0, item) - valid_values(1, item)) for item in range(3)]
    images = (kelvin(0), kelvin(1))
    assert max_error(*images, valid=partly()).tolist() == pytest.approx([one.max() for one in errors])
    assert p99_error(*images, valid=partly()).tolist() == pytest.approx([np.percentile(one, 99) for one in errors])
    half = error_quantile(*images, valid=partly(), share=0.5)
    assert half.tolist() == pytest.approx([np.median(one) for one in errors])


def test_r2_of_a_line_fitted_by_least_squares_is_the_squared_correlation_of_scipy():
    for item in range(3):
        x, t = valid_values(0, item), valid_values(1, item)
        slope, offset = np.polyfit(x, t, 1)
        found = r2(slope * kelvin(0)[item] + offset, kelvin(1)[item], valid=partly()[item])
        assert found.item() == pytest.approx(pearsonr(x, t).statistic ** 2, abs=1e-9)


def test_r2_of_the_mean_is_zero_and_flat_ground_has_none():
    target = kelvin(1)
    mean = target.mean(dim=(2, 3), keepdim=True).expand(SHAPE)
    assert r2(mean, target, valid=everywhere()).tolist() == pytest.approx([0.0] * 3, abs=1e-12)
    assert r2(target, torch.full(SHAPE, 290.0), valid=everywhere()).isnan().all()


def test_psnr_and_ssim_have_the_range_of_the_reference_as_scikit_image_is_told():
    for item in range(3):
        x, t = kelvin(0)[item, 0].numpy(), kelvin(1)[item, 0].numpy()
        images = (kelvin(0)[item], kelvin(1)[item])
        span = np.ptp(t)
        assert psnr_of_range(*images, valid=everywhere()[item]).item() == pytest.approx(
            peak_signal_noise_ratio(t, x, data_range=span)
        )
        expected = structural_similarity(
            t, x, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert ssim_of_range(*images, valid=everywhere()[item]).item() == pytest.approx(expected, abs=1e-6)


def test_consistency_is_the_error_of_scikit_images_block_means():
    low = kelvin(1)[..., ::4, ::4]
    found = consistency(kelvin(0), low, valid=everywhere())
    for item in range(3):
        means = block_reduce(kelvin(0)[item, 0].numpy(), (4, 4), np.mean)
        assert found[item].item() == pytest.approx(np.sqrt(np.mean((means - low[item, 0].numpy()) ** 2)))


def test_what_has_the_block_means_is_consistent_whatever_lies_in_gaps():
    image, valid = kelvin(0), everywhere()
    low = torch.nn.functional.avg_pool2d(image, 2)
    valid[:, :, 4:8, 6:12] = False
    image[~valid], low[:, :, 2:4, 3:6] = math.nan, math.nan
    assert consistency(image, low, valid=valid).tolist() == pytest.approx([0.0] * 3, abs=1e-10)
    valid[2] = False
    assert consistency(image, low, valid=valid).isnan().tolist() == [False, False, True]


def test_a_block_with_one_invalid_pixel_counts_for_nothing():
    image, valid = kelvin(0)[0], everywhere()[0]
    low = torch.nn.functional.avg_pool2d(image, 2)
    low[0, 3, 3] += 50
    assert consistency(image, low, valid=valid) > 1
    valid[0, 7, 6] = False
    assert consistency(image, low, valid=valid).item() == pytest.approx(0, abs=1e-10)


def test_consistency_with_another_sensor_leaves_out_all_that_it_sees_of_a_gap():
    def three_wide(image: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")
        return torch.nn.functional.avg_pool2d(padded, 4, stride=2)

    image, valid = kelvin(0), everywhere()
    low = three_wide(image)
    assert consistency(image, low, valid=valid, observe=three_wide).tolist() == pytest.approx([0.0] * 3, abs=1e-10)
    assert (consistency(image, low, valid=valid) > 0.1).all()
    valid[..., 10, 10] = False
    image[..., 10, 10] = math.nan
    assert consistency(image, low, valid=valid, observe=three_wide).tolist() == pytest.approx([0.0] * 3, abs=1e-10)


@pytest.mark.parametrize("low_shape", [(1, 20, 12), (1, 41, 36), (1, 0, 0)])
def test_sides_that_are_no_common_multiple_are_refused(low_shape):
    with pytest.raises(DataError):
        consistency(kelvin(0)[0], torch.zeros(low_shape), valid=everywhere()[0])


def test_power_of_fine_detail_falls_with_blur_and_rises_with_noise():
    generator = torch.Generator().manual_seed(0)
    target = 280 + 5 * torch.randn(1, 96, 96, generator=generator, dtype=torch.float64)
    valid = torch.ones(1, 96, 96, dtype=torch.bool)
    blurred = torch.nn.functional.avg_pool2d(target, 3, stride=1, padding=1, count_include_pad=False)
    noisy = target + 5 * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    ratios = [detail_power_ratio(image, target, valid=valid, factor=2).item() for image in (blurred, target, noisy)]
    assert ratios[0] < 0.3
    assert ratios[1] == pytest.approx(1)
    assert ratios[2] == pytest.approx(2, rel=0.1)


def spots(*places: tuple[int, int]) -> torch.Tensor:
    image = torch.full((1, 20, 24), 290.0)
    for row, column in places:
        image[0, row : row + 2, column : column + 2] = 310
    return image


def test_the_peak_of_a_hot_spot_is_found_where_it_was_moved_and_as_it_was_flattened():
    valid = torch.ones(1, 20, 24, dtype=torch.bool)
    moved = spots((5, 6)) - 4
    assert peak_error(moved, spots((2, 2)), valid=valid).item() == pytest.approx(-4)
    assert peak_distance(moved, spots((2, 2)), valid=valid).item() == pytest.approx(5)  # 3 down, 4 across


def test_hot_regions_overlap_by_their_share_and_others_are_invented_or_missed():
    valid = torch.ones(1, 20, 24, dtype=torch.bool)
    target, prediction = spots((2, 2), (10, 10), (15, 3)), spots((2, 3), (10, 10), (17, 20))
    # 2 + 4 of 6 + 4 + 4 + 4 pixels
    assert hot_iou(prediction, target, valid=valid).item() == pytest.approx(6 / 18)
    assert invented_regions(prediction, target, valid=valid).item() == 1
    assert missed_regions(prediction, target, valid=valid).item() == 1
    assert hot_iou(spots(), spots(), valid=valid).isnan()
    assert hot_iou(spots((2, 2)), spots(), valid=valid).item() == 0
    assert hot_iou(prediction, target, valid=valid, rise=25.0).isnan()


def test_pixels_that_touch_by_a_corner_are_one_region():
    image = torch.full((1, 20, 24), 290.0)
    image[0, 3, 3] = image[0, 4, 4] = image[0, 10, 10] = 310
    valid = torch.ones(1, 20, 24, dtype=torch.bool)
    assert invented_regions(image, spots(), valid=valid).item() == 2
