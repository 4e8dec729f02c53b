"""Pixel losses against PyTorch's own."""

import pytest
import torch
from kornia.losses import charbonnier_loss
from torch.nn import functional as F

from eorestore.losses.pixel import charbonnier, l1


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(2, 4, 12, 9, generator=generator), torch.rand(2, 4, 12, 9, generator=generator)


def test_l1_over_all_pixels_is_that_of_pytorch(pair):
    valid = torch.ones(2, 1, 12, 9, dtype=torch.bool)
    assert torch.isclose(l1(*pair, valid=valid), F.l1_loss(*pair))


def test_l1_over_some_pixels_is_that_of_pytorch_on_those_pixels(pair):
    valid = torch.zeros(2, 1, 12, 9, dtype=torch.bool)
    valid[0, :, :5] = True
    valid[1, :, :, 2:4] = True
    chosen = valid.expand_as(pair[0])
    assert torch.isclose(l1(*pair, valid=valid), F.l1_loss(pair[0][chosen], pair[1][chosen]))


def test_charbonnier_tends_to_l1_and_lies_below_it(pair):
    valid = torch.ones(2, 1, 12, 9, dtype=torch.bool)
    plain, smooth = l1(*pair, valid=valid), charbonnier(*pair, valid=valid, epsilon=1e-6)
    assert torch.isclose(plain, smooth, atol=2e-6)
    assert charbonnier(*pair, valid=valid, epsilon=0.1) < plain - 0.05


def test_charbonnier_is_kornias_stretched_by_epsilon(pair):
    valid = torch.ones(2, 1, 12, 9, dtype=torch.bool)
    expected = 1e-3 * charbonnier_loss(pair[0] / 1e-3, pair[1] / 1e-3, reduction="mean")
    assert charbonnier(*pair, valid=valid).item() == pytest.approx(expected.item(), rel=1e-5)


def test_charbonnier_is_zero_at_equality_with_a_gradient_of_zero(pair):
    valid = torch.ones(2, 1, 12, 9, dtype=torch.bool)
    image = pair[0].clone().requires_grad_()
    value = charbonnier(image, pair[0], valid=valid)
    value.backward()
    assert value == 0
    assert (image.grad == 0).all()


def test_charbonnier_is_half_the_square_over_epsilon_near_equality():
    target = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)
    valid = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    value = charbonnier(target + 1e-4, target, valid=valid, epsilon=0.1)
    assert value.item() == pytest.approx(1e-8 / (2 * 0.1), rel=1e-3)
