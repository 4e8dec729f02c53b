"""The spectral angle loss against torchmetrics."""

import math

import pytest
import torch

from eorestore.losses.spectral import spectral_angle


def test_angle_is_that_of_torchmetrics_in_radians():
    from torchmetrics.functional.image import spectral_angle_mapper

    generator = torch.Generator().manual_seed(5)
    target = 0.1 + torch.rand(2, 13, 16, 12, generator=generator)
    prediction = 0.1 + torch.rand(2, 13, 16, 12, generator=generator)
    valid = torch.ones(2, 1, 16, 12, dtype=torch.bool)
    expected = spectral_angle_mapper(prediction, target).item()
    assert spectral_angle(prediction, target, valid=valid).item() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("degrees", [0.1, 1, 30, 90, 179])
def test_a_known_angle_comes_out(degrees):
    angle = math.radians(degrees)
    target = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    prediction = torch.tensor([math.cos(angle), math.sin(angle)]).view(1, 2, 1, 1)
    value = spectral_angle(prediction, target, valid=torch.ones(1, 1, 1, 1, dtype=torch.bool))
    assert value.item() == pytest.approx(angle, abs=5e-5)


def test_brightness_alone_does_not_count():
    target = 0.2 + torch.rand(1, 13, 8, 8, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert spectral_angle(3 * target, target, valid=valid) < 1e-5


def test_the_gradient_turns_a_spectrum_towards_the_target():
    target = torch.tensor([1.0, 1.0]).view(1, 2, 1, 1)
    prediction = torch.tensor([1.0, 0.5]).view(1, 2, 1, 1).requires_grad_()
    spectral_angle(prediction, target, valid=torch.ones(1, 1, 1, 1, dtype=torch.bool)).backward()
    assert prediction.grad is not None
    red, nir = prediction.grad.flatten()
    assert red > 0 > nir
