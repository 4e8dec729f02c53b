"""Looks, ratio image, texture and spectra on speckle of known looks, against SciPy and scikit-image."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import welch
from scipy.special import polygamma
from skimage.feature import graycomatrix, graycoprops

from eorestore.metrics import speckle

ALL = torch.ones(1, 256, 256, dtype=torch.bool)


def speckled(looks: float, *, seed: int = 0) -> torch.Tensor:
    """Decibels of fully developed speckle of mean 1."""
    intensity = np.random.default_rng(seed).gamma(looks, 1 / looks, (1, 256, 256))
    return torch.from_numpy(10 * np.log10(intensity))


@pytest.mark.parametrize("looks", [1.0, 4.4, 12.0])
def test_the_looks_of_speckle_are_found_in_two_ways(looks):
    image = speckled(looks)
    assert speckle.enl(image, valid=ALL, share=1.0).item() == pytest.approx(looks, rel=0.05)
    assert speckle.looks(image, valid=ALL, share=1.0).item() == pytest.approx(looks, rel=0.05)


def test_the_most_homogeneous_tenth_of_pure_speckle_is_a_lucky_choice():
    ratio = speckle.enl(speckled(4.4), valid=ALL).item() / 4.4
    assert 1.1 < ratio < 1.4


def test_looks_do_not_depend_on_brightness_while_those_in_decibels_do():
    image = speckled(4.4)
    assert speckle.enl(image - 20, valid=ALL).item() == pytest.approx(speckle.enl(image, valid=ALL).item())
    assert speckle.looks(image - 20, valid=ALL).item() == pytest.approx(speckle.looks(image, valid=ALL).item())


def test_bright_points_do_not_rule_the_looks_of_log_cumulants():
    image = speckled(4.4)
    image[:, 8::16, 8::16] += 20
    assert speckle.looks(image, valid=ALL, share=1.0).item() > 2
    assert speckle.enl(image, valid=ALL, share=1.0).item() < 2


def test_blocks_in_textured_ground_are_not_chosen():
    image = speckled(4.4)
    image[:, :, 64:] += 6 * torch.randn(1, 256, 192, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert speckle.enl(image, valid=ALL).item() == pytest.approx(4.4, rel=0.25)


def test_averaging_independent_looks_multiplies_the_ratio():
    intensity = 10 ** (speckled(1.0) / 10)
    decoded = 10 * torch.log10(
        (intensity + 10 ** (speckled(1.0, seed=1) / 10) + 10 ** (speckled(1.0, seed=2) / 10)) / 3
    )
    assert speckle.enl_ratio(decoded, speckled(1.0), valid=ALL, share=1.0).item() == pytest.approx(3.0, rel=0.1)


def test_noise_lowers_the_ratio_and_a_constant_block_makes_it_infinite():
    image = speckled(4.4)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert speckle.enl_ratio(image + 2 * noise, image, valid=ALL).item() < 0.8
    assert speckle.enl_ratio(torch.full_like(image, -0.5), image, valid=ALL).item() == math.inf


def test_blocks_with_an_invalid_pixel_or_without_any_variation_are_left_out():
    image = speckled(4.4)
    image[:, :128] = -20.0
    valid = ALL.clone()
    valid[:, 128::16] = False
    assert math.isnan(speckle.enl(image, valid=valid).item())
    valid[:, 240:] = True
    assert speckle.enl(image, valid=valid, share=1.0).item() == pytest.approx(4.4, rel=0.2)


@pytest.mark.parametrize("looks", [1.0, 4.4])
def test_the_ratio_image_of_a_perfect_despeckler_is_pure_speckle(looks):
    image = speckled(looks)
    truth = torch.zeros_like(image)
    assert speckle.ratio_mean(truth, image, valid=ALL).item() == pytest.approx(1, abs=0.02)
    expected = math.sqrt(polygamma(1, looks))
    assert speckle.ratio_log_std(truth, image, valid=ALL).item() == pytest.approx(expected, rel=0.02)


def test_homogeneity_is_that_of_scikit_image():
    levels = np.random.default_rng(0).integers(0, 64, (40, 40))
    levels[:, 20:] //= 8
    matrix = graycomatrix(levels.astype(np.uint8), [1], [0, np.pi / 2], levels=64, symmetric=True, normed=True)
    expected = graycoprops(matrix, "homogeneity").mean()
    assert speckle.homogeneity(levels, np.ones((40, 40), dtype=bool)) == pytest.approx(expected, abs=1e-12)


def test_the_m_index_finds_structure_that_a_despeckler_took_away():
    shade = torch.from_numpy(8 * gaussian_filter(np.random.default_rng(3).normal(size=(1, 256, 256)), (0, 4, 4)) * 10)
    image = speckled(4.4) + shade
    perfect, flat = (speckle.m_index(one, image, valid=ALL).item() for one in (shade, torch.full_like(shade, 0.0)))
    assert perfect < 3
    assert flat > 3 * perfect
    assert speckle.m_index(shade, image, valid=ALL).item() == perfect


def test_texture_of_half_the_amplitude_has_a_quarter_of_the_variance():
    image = speckled(4.4)
    smooth = torch.from_numpy(gaussian_filter(image.numpy(), (0, 20, 20)))
    assert speckle.texture_ratio(image / 2, image, valid=ALL).item() == pytest.approx(0.25)
    assert speckle.texture_ratio(smooth, image, valid=ALL).item() < 0.01


def test_autocorrelation_is_that_of_a_moving_average():
    white = torch.randn(1, 256, 257, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image = white[:, :, 1:] + white[:, :, :-1]
    assert speckle.autocorrelation(image, valid=ALL, lag=1, axis=1).item() == pytest.approx(0.5, abs=0.02)
    assert speckle.autocorrelation(image, valid=ALL, lag=2, axis=1).item() == pytest.approx(0, abs=0.02)
    assert speckle.autocorrelation(image, valid=ALL, lag=1, axis=0).item() == pytest.approx(0, abs=0.02)
    expected = np.corrcoef(image[0, :, 1:].ravel(), image[0, :, :-1].ravel())[0, 1]
    assert speckle.autocorrelation(image, valid=ALL, lag=1, axis=1).item() == pytest.approx(expected, abs=1e-12)
    shift = speckle.autocorrelation_shift(image, white[:, :, 1:], valid=ALL).item()
    assert shift == pytest.approx(0.5, abs=0.03)


def test_the_spectrum_ratio_is_that_of_the_filter():
    white = torch.randn(1, 256, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image = torch.roll(white, 1, dims=2) / 2 + white / 2
    # |(1 + exp(-i w)) / 2|^2 = cos^2(w / 2) of the frequency along x
    frequency = np.fft.fftfreq(32)
    high = np.hypot(frequency[None], frequency[:, None]) >= 0.25
    expected = np.broadcast_to(np.cos(np.pi * frequency) ** 2, (32, 32))[high].mean()
    assert speckle.spectrum_ratio(image, white, valid=ALL).item() == pytest.approx(expected, rel=0.03)
    assert speckle.spectrum_ratio(3 * white, white, valid=ALL).item() == pytest.approx(9)


def test_the_spectrum_of_rows_is_that_of_scipys_welch():
    image = torch.from_numpy(
        np.broadcast_to(np.cumsum(np.random.default_rng(0).normal(size=256)), (1, 256, 256)).copy()
    )
    other = torch.from_numpy(np.broadcast_to(np.random.default_rng(1).normal(size=256), (1, 256, 256)).copy())
    ratio = speckle.spectrum_ratio(image, other, valid=ALL, above=0.25).item()
    powers = []
    for row in (image[0, 0].numpy(), other[0, 0].numpy()):
        frequency, power = welch(row, nperseg=32, noverlap=16, window="hann", detrend="constant")
        powers.append(power[frequency >= 0.25])
    weights = np.ones_like(powers[0])
    weights[-1] = 2  # the one-sided spectrum holds the last frequency once
    expected = (weights * powers[0]).sum() / (weights * powers[1]).sum()
    # Windows of columns spread rows over neighbouring frequencies, some of which lie below the limit.
    assert ratio == pytest.approx(expected, rel=0.25)
