"""Errors, similarity, bias and distribution of radar in decibels, against scikit-image, pytorch-msssim and NumPy."""

import math

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eorestore.errors import DataError, UnknownNameError
from eorestore.metrics import sar
from eorestore.metrics.sar_scores import SCORES, sar_scores

LOWS = [-30.0, -38.0]


def speckled(seed: int = 0, *, looks: float = 4.4, shape: tuple[int, ...] = (2, 96, 80)) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    shade = np.linspace(-18, -6, shape[-1]) - 6 * (np.arange(shape[-2]) > shape[-2] // 2)[:, None]
    return torch.from_numpy(shade + 10 * np.log10(generator.gamma(looks, 1 / looks, shape)))


def everywhere(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image, dtype=torch.bool)


def pair(*, shape: tuple[int, ...] = (2, 96, 80)) -> tuple[torch.Tensor, torch.Tensor]:
    original = speckled(shape=shape)
    original[:, 3::40, 5::40] += 18  # bright points
    noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return original + 0.8 * noise, original


@pytest.mark.parametrize("name", SCORES)
def test_invalid_pixels_cannot_change_the_score(name):
    decoded, original = pair(shape=(2, 192, 192))
    valid = everywhere(original)
    valid[:, :20] = False
    valid[0, 60:64, 30:33] = False
    scores = []
    for gap in (0.0, math.nan, 500.0):
        images = [torch.where(valid, one, torch.tensor(gap, dtype=torch.float64)) for one in (decoded, original)]
        scores.append(sar_scores(*images, valid=valid, lows=LOWS, names=[name])[name].item())
    assert math.isfinite(scores[0])
    assert scores[1] == scores[2] == scores[0]


@pytest.mark.parametrize("name", SCORES)
def test_a_perfect_copy_gets_the_best_value_and_noise_does_not(name):
    original = speckled(shape=(2, 192, 176))
    original[:, ::40, ::40] += 18  # bright points
    noisy = original + 2 * torch.randn(original.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    perfect, worse = (
        sar_scores(one, original, valid=everywhere(original), lows=LOWS, names=[name])[name].item()
        for one in (original, noisy)
    )
    if name == "m_index":
        # It judges despecklers: a copy leaves no speckle in the ratio image.
        assert perfect > 0.5
    elif SCORES[name].better in {"zero", "lower"}:
        assert perfect == pytest.approx(0, abs=1e-9)
        assert abs(worse) > 1e-3
    elif name in {"psnr30", "psnr40"}:
        assert perfect == math.inf
        assert worse < 30
    else:
        assert perfect == pytest.approx(1, abs=1e-9)
        assert abs(worse - 1) > 1e-3


@pytest.mark.parametrize("name", SCORES)
def test_no_valid_pixel_gives_no_score(name):
    original = speckled(shape=(2, 192, 176))
    nowhere = torch.zeros_like(original, dtype=torch.bool)
    found = sar_scores(original, original, valid=nowhere, lows=LOWS, names=[name])[name]
    assert math.isnan(found.item())


@pytest.mark.parametrize("name", SCORES)
def test_a_batch_is_scored_item_by_item(name):
    images = [speckled(seed, shape=(2, 192, 176)) for seed in range(4)]
    decoded, original = torch.stack(images[:2]), torch.stack(images[2:])
    original[..., ::40, ::40] += 18
    valid = torch.ones(2, 1, 192, 176, dtype=torch.bool)
    found = sar_scores(decoded, original, valid=valid, lows=LOWS, names=[name])[name]
    alone = [
        sar_scores(decoded[item], original[item], valid=valid[item], lows=LOWS, names=[name])[name] for item in (0, 1)
    ]
    assert found.shape == (2,)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.stack(alone))


def test_psnr_is_that_of_scikit_image_with_the_stated_peak():
    decoded, original = pair()
    valid = everywhere(original)
    expected = peak_signal_noise_ratio(original.numpy(), decoded.numpy(), data_range=30.0)
    assert sar.psnr30(decoded, original, valid=valid).item() == pytest.approx(expected, abs=1e-9)
    gap = sar.psnr40(decoded, original, valid=valid) - sar.psnr30(decoded, original, valid=valid)
    assert gap.item() == pytest.approx(2.50, abs=2e-3)


def test_the_largest_error_is_that_of_one_pixel_and_the_quantile_leaves_it_out():
    original = speckled()
    decoded = original + 0.25
    decoded[1, 3, 4] -= 7
    valid = everywhere(original)
    assert sar.max_error_db(decoded, original, valid=valid).item() == pytest.approx(6.75)
    assert sar.p999_error_db(decoded, original, valid=valid).item() == pytest.approx(0.25)


def test_ssim_is_that_of_scikit_image_over_the_window_of_forty_decibels():
    decoded, original = pair()
    expected = np.mean(
        [
            structural_similarity(
                y.numpy() - low, x.numpy() - low, data_range=40.0, gaussian_weights=True, sigma=1.5,
                use_sample_covariance=False, full=True,
            )[1][5:-5, 5:-5].mean()
            for x, y, low in zip(decoded, original, LOWS, strict=True)
        ]
    )  # fmt: skip
    found = sar.ssim_db(decoded, original, valid=everywhere(original), lows=LOWS)
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_the_beginning_of_the_window_changes_ssim():
    original = speckled() - 8
    valid = everywhere(original)
    scores = [sar.ssim_db(original + 2, original, valid=valid, lows=[low]).item() for low in (-30.0, -60.0)]
    assert scores[1] - scores[0] > 1e-3


def test_multi_scale_ssim_is_that_of_pytorch_msssim():
    original = speckled(shape=(1, 192, 208))
    decoded = original + torch.randn(original.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = ms_ssim(decoded[None] + 30, original[None] + 30, data_range=40.0)
    found = sar.ms_ssim_db(decoded, original, valid=everywhere(original), lows=[-30.0])
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_shift_of_all_pixels_is_the_bias_of_image_and_blocks():
    original = speckled()
    for shift in (-0.3, 0.2):
        for metric in (sar.mean_bias_db, sar.block_bias_median_db):
            found = metric(original + shift, original, valid=everywhere(original)).item()
            assert found == pytest.approx(shift, abs=1e-9)
        rms = sar.block_bias_rms_db(original + shift, original, valid=everywhere(original)).item()
        assert rms == pytest.approx(abs(shift), abs=1e-9)


def test_bias_is_of_linear_means_so_that_a_mean_of_decibels_is_too_dark():
    flat = torch.from_numpy(10 * np.log10(np.random.default_rng(0).gamma(1.0, 1.0, (1, 256, 256))))
    decoded = torch.full_like(flat, flat.mean().item())
    # The mean of single-look decibels lies 2.51 dB below the decibels of the mean.
    assert sar.mean_bias_db(decoded, flat, valid=everywhere(flat)).item() == pytest.approx(-2.51, abs=0.05)


def test_blocks_have_the_side_and_the_offset_that_were_asked_for():
    original = torch.full((1, 60, 70), -12.0, dtype=torch.float64)
    decoded = original.clone()
    decoded[:, 5:29, 11:35] += 3.0
    decoded[:, 29:53, 11:35] += 1.0
    valid = everywhere(original)
    rms = sar.block_bias_rms_db(decoded, original, valid=valid, block=24, offset=(5, 11)).item()
    median = sar.block_bias_median_db(decoded, original, valid=valid, block=24, offset=(5, 11)).item()
    assert rms == pytest.approx(math.sqrt((9 + 1 + 0 + 0) / 4))
    assert median == pytest.approx(0.5)


def test_repair_on_a_grid_does_not_hide_bias_from_blocks_off_that_grid():
    smooth = torch.full((1, 128, 128), -10.0, dtype=torch.float64)
    linear = 1 + 0.1 * torch.sign(torch.arange(128, dtype=torch.float64) % 16 - 7.5)  # means of 16 pixels are right
    decoded = smooth + 10 * torch.log10(linear)
    on_grid, off_grid = (
        sar.block_bias_rms_db(decoded, smooth, valid=everywhere(smooth), block=block, offset=offset).item()
        for block, offset in ((16, (0, 0)), (24, (5, 11)))
    )
    assert on_grid == pytest.approx(0, abs=1e-9)
    assert off_grid > 0.02


def test_blocks_with_few_valid_pixels_do_not_count():
    original = torch.full((1, 16, 32), -12.0, dtype=torch.float64)
    decoded = original.clone()
    decoded[..., 16:] += 2.0
    valid = everywhere(original)
    valid[:, 3:, 16:] = False
    assert sar.block_bias_rms_db(decoded, original, valid=valid).item() == pytest.approx(0, abs=1e-9)


def test_the_histogram_distance_is_the_share_that_changed_bins():
    original = torch.full((1, 10, 10), -12.1, dtype=torch.float64)
    decoded = original.clone()
    decoded[:, 0, :7] += 1.0
    decoded[:, 1, :5] += 0.01
    found = sar.histogram_distance(decoded, original, valid=everywhere(original), lows=[-30.0])
    assert found.item() == pytest.approx(0.07)


def test_the_quantile_shift_follows_the_bright_end():
    original = speckled(shape=(1, 64, 64))
    decoded = original.clamp_max(original.quantile(0.99).item())
    valid = everywhere(original)
    expected = np.quantile(decoded.numpy(), 0.999) - np.quantile(original.numpy(), 0.999)
    assert sar.quantile_shift_db(decoded, original, valid=valid, share=0.999).item() == pytest.approx(expected)
    assert expected < -0.5
    assert sar.quantile_shift_db(decoded, original, valid=valid, share=0.5).item() == pytest.approx(0)


def test_an_unknown_score_is_named():
    original = speckled()
    with pytest.raises(UnknownNameError, match="psnr31"):
        sar_scores(original, original, valid=everywhere(original), lows=LOWS, names=["psnr31"])


def test_scores_that_need_two_polarisations_or_more_pixels_are_left_out():
    original = speckled(shape=(1, 96, 80))
    found = sar_scores(original, original, valid=everywhere(original), lows=[-30.0])
    assert not {"band_ratio_error_db", "radar_vegetation_error", "ms_ssim"} & set(found)
    assert {"psnr30", "ssim", "enl_ratio"} <= set(found)


def test_windows_that_fit_no_band_and_images_of_two_shapes_are_refused():
    original = speckled(shape=(3, 96, 80))
    with pytest.raises(DataError, match="2 windows for 3 bands"):
        sar.ssim_db(original, original, valid=everywhere(original), lows=LOWS)
    with pytest.raises(DataError, match="cannot be compared"):
        sar.mean_bias_db(original[:2], original, valid=everywhere(original))
