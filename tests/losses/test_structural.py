"""The SSIM loss against pytorch-msssim."""

import pytest
import torch
from pytorch_msssim import ssim as reference

from eorestore.errors import DataError
from eorestore.losses.structural import one_minus_ssim


def test_loss_on_whole_windows_is_one_minus_that_of_pytorch_msssim():
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(2, 3, 32, 40, generator=generator)
    prediction = (target + 0.2 * torch.randn(2, 3, 32, 40, generator=generator)).clamp(0, 1)
    valid = torch.ones(2, 1, 32, 40, dtype=torch.bool)
    expected = 1 - reference(prediction, target, data_range=1.0)
    assert one_minus_ssim(prediction, target, valid=valid).item() == pytest.approx(expected.item(), abs=2e-6)


def test_gradient_is_that_of_pytorch_msssim():
    generator = torch.Generator().manual_seed(2)
    target = torch.rand(1, 2, 24, 24, generator=generator, dtype=torch.float64)
    ours = torch.rand(1, 2, 24, 24, generator=generator, dtype=torch.float64).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    one_minus_ssim(ours, target, valid=torch.ones(1, 1, 24, 24, dtype=torch.bool)).backward()
    (1 - reference(theirs, target, data_range=1.0)).backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)


def test_an_image_smaller_than_the_window_is_refused_by_name():
    image, valid = torch.rand(1, 2, 8, 30), torch.ones(1, 1, 8, 30, dtype=torch.bool)
    with pytest.raises(DataError, match="8 x 30 pixels are smaller than the 11 x 11 window"):
        one_minus_ssim(image, image, valid=valid)
