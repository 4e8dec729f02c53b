"""The losses of frequencies, against PyWavelets and NumPy."""

import numpy as np
import pytest
import pywt
import torch

from eorestore.errors import ConfigError, UnknownNameError
from eorestore.losses.frequency import LOW_PASS, fft_l1, stationary_wavelet, swt_l1

LOSSES = pytest.mark.parametrize("loss", [swt_l1, fft_l1])


def pair(height: int = 24, width: int = 19) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64) for _ in range(2))
    return *images, torch.ones(2, 1, height, width, dtype=torch.bool)


def of_pywavelets(image: np.ndarray, wavelet: str, levels: int) -> list[tuple[np.ndarray, ...]]:
    """Sub-bands a, h, v, d of (..., y, x), finest level first, with the image continued by reflection."""
    pad = 64
    height, width = image.shape[-2:]
    ends = [(pad, pad + -side % 2**levels) for side in (height, width)]
    wide = np.pad(image, [(0, 0)] * (image.ndim - 2) + ends, mode="reflect")
    found = pywt.swt2(wide, wavelet, levels, norm=True, axes=(-2, -1))[::-1]
    return [tuple(band[..., pad : pad + height, pad : pad + width] for band in (a, *rest)) for a, rest in found]


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4"])
@pytest.mark.parametrize("levels", [1, 3])
def test_sub_bands_are_those_of_pywavelets_up_to_the_edge(wavelet, levels):
    image, _, _ = pair()
    ours = stationary_wavelet(image, wavelet=wavelet, levels=levels)
    theirs = of_pywavelets(image.numpy(), wavelet, levels)
    assert len(ours) == len(theirs) == levels
    for mine, other in zip(ours, theirs, strict=True):
        for one, two in zip(mine, other, strict=True):
            np.testing.assert_allclose(one.numpy(), two, atol=1e-12)


@pytest.mark.parametrize("wavelet", LOW_PASS)
def test_filters_are_those_of_pywavelets_with_sum_one(wavelet):
    assert sum(LOW_PASS[wavelet]) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(LOW_PASS[wavelet][::-1], np.array(pywt.Wavelet(wavelet).dec_lo) / 2**0.5, atol=1e-12)


@pytest.mark.parametrize(("wavelet", "levels"), [("haar", 2), ("db4", 3)])
def test_swt_is_the_weighted_difference_of_sub_bands_averaged_over_levels(wavelet, levels):
    prediction, target, valid = pair()
    bands = zip(*(of_pywavelets(image.numpy(), wavelet, levels) for image in (prediction, target)), strict=True)
    costs = [
        sum(weight * np.abs(a - b).mean() for weight, a, b in zip((0.5, 1.5, 1.5, 2.0), one, two, strict=True))
        for one, two in bands
    ]
    found = swt_l1(prediction, target, valid=valid, wavelet=wavelet, levels=levels)
    assert found.item() == pytest.approx(np.mean(costs), rel=1e-9)


def test_an_image_smaller_than_the_filters_still_has_sub_bands():
    prediction, target, valid = pair(3, 1)
    assert swt_l1(prediction, target, valid=valid, wavelet="db4", levels=3) > 0


def test_an_unknown_wavelet_and_no_level_are_refused():
    prediction, target, valid = pair()
    with pytest.raises(UnknownNameError, match="no wavelet is called 'db3'"):
        swt_l1(prediction, target, valid=valid, wavelet="db3")
    with pytest.raises(ConfigError, match="0 levels has no sub-bands"):
        swt_l1(prediction, target, valid=valid, levels=0)


@pytest.mark.parametrize("size", [(24, 19), (16, 16)])
def test_fft_is_the_weighted_difference_and_a_tenth_of_the_phase_gap_of_numpy(size):
    prediction, target, valid = pair(*size)
    one, two = (np.fft.fft2(image.numpy(), norm="ortho") for image in (prediction, target))
    radius = np.sqrt(np.fft.fftfreq(size[0])[:, None] ** 2 + np.fft.fftfreq(size[1]) ** 2)
    magnitude = np.abs((1 + radius / np.sqrt(0.5)) * (one - two)).mean()
    weights = np.abs(two)
    weights[..., 0, 0] = 0
    gaps = (weights * (1 - np.cos(np.angle(one) - np.angle(two)))).sum((-2, -1)) / weights.sum((-2, -1))
    assert fft_l1(prediction, target, valid=valid).item() == pytest.approx(magnitude + 0.1 * gaps.mean(), rel=1e-4)


def test_an_error_at_the_highest_frequency_costs_twice_that_of_the_mean():
    _, target, valid = pair(16, 16)
    checks = torch.ones(16, dtype=target.dtype)
    checks[::2] = -1
    checks = checks[:, None] * checks
    costs = [fft_l1(target + 0.01 * error, target, valid=valid, phase=0).item() for error in (1, checks)]
    assert costs[1] == pytest.approx(2 * costs[0], rel=1e-6)


def test_a_frequency_that_the_target_lacks_has_no_phase():
    y = torch.arange(16, dtype=torch.float64)
    target = torch.cos(2 * torch.pi * 2 * y / 16).expand(1, 1, 16, 16)
    _, _, valid = pair(16, 16)
    other = target + 0.05 * torch.cos(2 * torch.pi * 5 * y / 16)
    phases = [fft_l1(other, target, valid=valid[:1], phase=phase) for phase in (0.0, 1.0)]
    assert (phases[1] - phases[0]).item() == pytest.approx(0, abs=1e-9)


def test_brightness_of_both_images_changes_no_phase():
    prediction, target, valid = pair()
    costs = [fft_l1(prediction + up, target + up, valid=valid).item() for up in (0.0, 5.0)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-9)


def test_equal_magnitudes_of_different_images_cost_something():
    _, target, valid = pair(16, 16)
    assert fft_l1(target.roll(3, dims=-1), target, valid=valid, phase=0) > 0.1


@LOSSES
def test_it_is_zero_at_equality_and_its_gradient_is_finite_there(loss):
    _, target, valid = pair()
    prediction = target.clone().requires_grad_()
    value = loss(prediction, target, valid=valid)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(prediction.grad).all()


@LOSSES
def test_pixels_of_every_band_get_the_gradient_of_finite_differences(loss):
    prediction, target, valid = (tensor[:1, :2] for tensor in pair(6, 5))
    prediction = prediction.clone().requires_grad_()
    loss(prediction, target, valid=valid).backward()
    assert ((prediction.grad != 0).double().mean(dim=(2, 3)) > 0.9).all()  # signs of an L1 may cancel at a pixel
    assert torch.autograd.gradcheck(lambda image: loss(image, target, valid=valid), prediction, atol=1e-6)


@LOSSES
def test_invalid_pixels_change_nothing_and_get_no_gradient(loss):
    prediction, target, valid = pair()
    valid[0, :, 3:9, 4:8] = False
    valid[1] = False
    hidden = ~valid.expand_as(target)
    values = []
    for filling in (0.0, 7.0, float("nan")):
        image = prediction.masked_fill(hidden, filling).requires_grad_()
        value = loss(image, target.masked_fill(hidden, -filling), valid=valid)
        value.backward()
        values.append(value.item())
        assert (image.grad[hidden] == 0).all()
        assert torch.isfinite(image.grad).all()
    assert values[0] == values[1] == values[2] > 0


@LOSSES
def test_without_a_valid_pixel_it_is_zero(loss):
    prediction, target, valid = pair()
    assert loss(prediction.requires_grad_(), target, valid=torch.zeros_like(valid)) == 0


@LOSSES
def test_steps_down_its_gradient_end_at_the_target(loss):
    prediction, target, valid = pair(8, 8)
    image = prediction.clone().requires_grad_()
    optimiser = torch.optim.Adam([image], lr=0.04)
    for step in range(120):
        optimiser.param_groups[0]["lr"] = 0.04 * (1 - step / 120)
        optimiser.zero_grad()
        loss(image, target, valid=valid).backward()
        optimiser.step()
    assert (image - target).abs().mean() < 0.1 * (prediction - target).abs().mean()
