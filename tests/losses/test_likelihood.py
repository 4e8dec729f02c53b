"""The Gaussian likelihood, against that of torch and of SciPy."""

import math

import pytest
import torch
from scipy.stats import norm

from eorestore.losses.likelihood import SIGMA_FLOOR, gaussian_nll

SHAPE = (2, 3, 8, 9)


def draw(seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    prediction, target = (torch.rand(SHAPE, generator=generator, dtype=dtype) for _ in range(2))
    sigma = 0.02 + 0.3 * torch.rand(SHAPE, generator=generator, dtype=dtype)
    return prediction, target, sigma


def everywhere() -> torch.Tensor:
    return torch.ones(SHAPE[0], 1, *SHAPE[2:], dtype=torch.bool)


def test_it_is_the_loss_of_torch_with_the_floor_in_the_variance():
    prediction, target, sigma = draw(0)
    expected = torch.nn.GaussianNLLLoss(eps=1e-12)(prediction, target, sigma**2 + SIGMA_FLOOR**2)
    assert gaussian_nll(prediction, target, sigma=sigma, valid=everywhere()).item() == pytest.approx(expected.item())


def test_it_is_minus_scipys_log_density_up_to_the_constant():
    prediction, target, sigma = draw(1)
    expected = -norm.logpdf(target, loc=prediction, scale=sigma).mean() - math.log(2 * math.pi) / 2
    found = gaussian_nll(prediction, target, sigma=sigma, valid=everywhere(), floor=0.0)
    assert found.item() == pytest.approx(expected)


def test_the_best_sigma_is_the_size_of_the_error():
    _, target, _ = draw(2)
    sizes = (0.05, 0.08, 0.1, 0.12, 0.2)
    losses = {
        size: gaussian_nll(target + 0.1, target, sigma=torch.full_like(target, size), valid=everywhere()).item()
        for size in sizes
    }
    assert min(losses, key=losses.get) == 0.1


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-6, 1e3])
@pytest.mark.parametrize("equal", [True, False], ids=["equal", "apart"])
def test_gradients_are_finite_at_equality_and_for_any_sigma(size, equal):
    prediction, target, _ = draw(3, torch.float32)
    prediction = (target if equal else prediction).clone().requires_grad_()
    sigma = torch.full_like(target, size).requires_grad_()
    value = gaussian_nll(prediction, target, sigma=sigma, valid=everywhere())
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(prediction.grad).all()
    assert torch.isfinite(sigma.grad).all()


def test_a_sigma_below_the_floor_is_still_pushed_up_by_an_error():
    _, target, _ = draw(4)
    sigma = torch.full_like(target, SIGMA_FLOOR / 10).requires_grad_()
    gaussian_nll(target + 0.05, target, sigma=sigma, valid=everywhere()).backward()
    assert (sigma.grad < 0).all()


def test_masked_pixels_give_no_gradient_to_image_or_sigma_and_may_hold_nan():
    prediction, target, sigma = draw(5)
    valid = everywhere()
    valid[..., :4] = False
    expected = gaussian_nll(prediction[..., 4:], target[..., 4:], sigma=sigma[..., 4:], valid=valid[..., 4:])
    for image in (prediction, target, sigma):
        image[..., :4] = float("nan")
    prediction.requires_grad_()
    sigma.requires_grad_()
    value = gaussian_nll(prediction, target, sigma=sigma, valid=valid)
    value.backward()
    assert value.item() == pytest.approx(expected.item())
    for image in (prediction, sigma):
        assert (image.grad[..., :4] == 0).all()
        assert (image.grad[..., 4:] != 0).all()
