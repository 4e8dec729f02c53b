"""The spectral angle in degrees against torchmetrics."""

import math

import pytest
import torch

from eorestore.metrics.spectral import sam_degrees


def valid_of(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image[..., :1, :, :], dtype=torch.bool)


def test_angle_is_that_of_torchmetrics_in_degrees():
    from torchmetrics.functional.image import spectral_angle_mapper

    generator = torch.Generator().manual_seed(5)
    prediction, target = torch.rand(2, 3, 13, 16, 12, generator=generator, dtype=torch.float64)
    expected = spectral_angle_mapper(prediction, target, reduction="none").mean(dim=(1, 2))
    ours = sam_degrees(prediction, target, valid=valid_of(target))
    assert ours.tolist() == pytest.approx([math.degrees(value) for value in expected.tolist()], abs=1e-9)


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 0.01, 45.0, 90.0, 180.0])
def test_a_known_angle_comes_out_however_small(degrees):
    angle = math.radians(degrees)
    target = torch.tensor([1.0, 0.0], dtype=torch.float64).view(2, 1, 1)
    prediction = 3 * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64).view(2, 1, 1)
    value = sam_degrees(prediction, target, valid=valid_of(target)).item()
    assert value == pytest.approx(degrees, rel=1e-9, abs=1e-12)


def test_black_against_black_is_equal_and_black_against_anything_is_a_right_angle():
    black, green = torch.zeros(3, 1, 1), torch.tensor([0.0, 0.3, 0.0]).view(3, 1, 1)
    assert sam_degrees(black, black, valid=valid_of(black)) == 0
    assert sam_degrees(black, green, valid=valid_of(black)).item() == pytest.approx(90)
