"""The multi-scale SSIM loss, against pytorch-msssim."""

import pytest
import torch
from pytorch_msssim import ms_ssim as reference

from eorestore.errors import DataError
from eorestore.losses.structural import SCALE_WEIGHTS, one_minus_ms_ssim, one_minus_ssim, scales_within


def pair(side: int, noise: float = 0.2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(side)
    target = torch.rand(2, 3, side, side + 16, generator=generator, dtype=torch.float64)
    prediction = target + noise * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    return prediction.clamp(0, 1), target, torch.ones(2, 1, side, side + 16, dtype=torch.bool)


@pytest.mark.parametrize("scales", [1, 2, 3, 5])
def test_it_is_that_of_pytorch_msssim_at_any_number_of_scales(scales):
    prediction, target, valid = pair(176)
    weights = [weight / sum(SCALE_WEIGHTS[:scales]) for weight in SCALE_WEIGHTS[:scales]]
    expected = 1 - reference(prediction, target, data_range=1.0, weights=weights)
    found = one_minus_ms_ssim(prediction, target, valid=valid, scales=scales)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_five_scales_have_the_published_weights():
    prediction, target, valid = pair(176)
    expected = 1 - reference(prediction, target, data_range=1.0)
    assert one_minus_ms_ssim(prediction, target, valid=valid).item() == pytest.approx(expected.item(), abs=1e-4)


def test_the_gradient_is_that_of_pytorch_msssim():
    ours, target, valid = pair(176)
    theirs = ours.clone().requires_grad_()
    ours.requires_grad_()
    one_minus_ms_ssim(ours, target, valid=valid, scales=5).backward()
    weights = [weight / sum(SCALE_WEIGHTS) for weight in SCALE_WEIGHTS]
    (1 - reference(theirs, target, data_range=1.0, weights=weights)).backward()
    # the reference keeps its window in float32
    assert (ours.grad - theirs.grad).norm() < 1e-4 * theirs.grad.norm()


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (21, 1), (22, 2), (64, 3), (128, 4), (176, 5), (4096, 5)])
def test_a_crop_has_as_many_scales_as_windows_fit_in(side, scales):
    assert scales_within(side) == scales


def test_a_crop_of_64_pixels_and_one_of_odd_sides_can_be_learnt_from():
    for side in (64, 45):
        prediction, target, valid = pair(side)
        prediction.requires_grad_()
        value = one_minus_ms_ssim(prediction, target, valid=valid)
        value.backward()
        assert 0 < value < 1
        assert torch.isfinite(prediction.grad).all()


def test_one_scale_is_ssim():
    prediction, target, valid = pair(20)
    valid[0, :, :3] = False
    single = one_minus_ssim(prediction[:1], target[:1], valid=valid[:1])
    assert one_minus_ms_ssim(prediction[:1], target[:1], valid=valid[:1]).item() == pytest.approx(single.item())


def test_masked_pixels_have_no_say_at_any_scale():
    prediction, target, valid = pair(64)
    valid[0, :, 5:40, 7:44] = False
    masked = ~valid.expand_as(target)
    expected = one_minus_ms_ssim(prediction, target, valid=valid)
    prediction[masked], target[masked] = float("nan"), float("inf")
    prediction.requires_grad_()
    value = one_minus_ms_ssim(prediction, target, valid=valid)
    value.backward()
    assert value == expected
    assert (prediction.grad[masked] == 0).all()
    assert torch.isfinite(prediction.grad).all()


def test_an_item_without_a_valid_pixel_does_not_count():
    prediction, target, valid = pair(64)
    valid[1] = False
    first = one_minus_ms_ssim(prediction[:1], target[:1], valid=valid[:1])
    assert one_minus_ms_ssim(prediction, target, valid=valid).item() == pytest.approx(first.item())
    assert one_minus_ms_ssim(prediction, target, valid=torch.zeros_like(valid)) == 0


def test_an_inverted_image_has_a_finite_gradient():
    _, target, valid = pair(64)
    prediction = (1 - target).requires_grad_()
    one_minus_ms_ssim(prediction, target, valid=valid).backward()
    assert torch.isfinite(prediction.grad).all()


def test_an_image_smaller_than_the_window_is_refused_by_name():
    prediction, target, valid = pair(8)
    with pytest.raises(DataError, match="8 x 24 pixels are smaller than the 11 x 11 window"):
        one_minus_ms_ssim(prediction, target, valid=valid)
