"""What every loss promises, over a table written by hand."""

from functools import partial

import pytest
import torch

from eorestore.losses.carl import carl
from eorestore.losses.detail import detail_loss, edge_strength_l1, high_pass_l1
from eorestore.losses.frequency import fft_l1, swt_l1
from eorestore.losses.gradient import edge_weighted_l1, sobel_l1
from eorestore.losses.likelihood import gaussian_nll
from eorestore.losses.perceptual import perceptual
from eorestore.losses.pixel import charbonnier, l1, log_mse, mse
from eorestore.losses.spectral import one_minus_cosine, spectral_angle
from eorestore.losses.structural import one_minus_ms_ssim, one_minus_ssim
from eorestore.tasks.table import TASKS


def zero_padded(prediction, target, *, valid):
    return one_minus_ssim(prediction, target, valid=valid, border="zero")


def under_half_a_cloud(prediction, target, *, valid):
    """CARL of an input whose clear half is that of the target."""
    clouded = torch.zeros_like(valid)
    clouded[..., ::2] = True
    cloudy = torch.where(clouded, torch.ones_like(target), target)
    return carl(prediction, target, cloudy=cloudy, clouded=clouded, valid=valid)


def sure(prediction, target, *, valid):
    return gaussian_nll(prediction, target, sigma=torch.full_like(target, 0.1), valid=valid)


def ours(prediction, target, *, valid):
    return perceptual(prediction, target, valid=valid, network="ucmerced", rgb=(2, 1, 0))


def of_detail(prediction, target, *, valid):
    return detail_loss(prediction, target, valid=valid).total


LOSSES = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "log_mse": log_mse,
    "one_minus_ssim": one_minus_ssim,
    "one_minus_ssim, zero-padded": zero_padded,
    "spectral_angle": spectral_angle,
    "one_minus_cosine": one_minus_cosine,
    "one_minus_ms_ssim": one_minus_ms_ssim,
    "edge_weighted_l1": edge_weighted_l1,
    "sobel_l1": sobel_l1,
    "edge_strength_l1": edge_strength_l1,
    "edge_strength_l1, components": partial(edge_strength_l1, form="components"),
    "high_pass_l1": high_pass_l1,
    "detail_loss": of_detail,
    "carl": under_half_a_cloud,
    "gaussian_nll": sure,
    "perceptual_ucmerced": ours,
    "swt": swt_l1,
    "swt_db4": partial(swt_l1, wavelet="db4", levels=3),
    "fft": fft_l1,
}

NOT_ZERO = ("gaussian_nll",)  # a likelihood has no zero
# the user's weights; other arguments
ELSEWHERE = (
    "perceptual_vgg16", "perceptual_vgg19", "clip_semantic", "attention_mse", "attention_mse_difference",
)  # fmt: skip

SHAPE = (2, 5, 24, 20)


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def loss(request):
    return request.param


def image(seed: int) -> torch.Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))


def everywhere() -> torch.Tensor:
    return torch.ones(SHAPE[0], 1, *SHAPE[2:], dtype=torch.bool)


def partly() -> torch.Tensor:
    valid = everywhere()
    valid[0, :, 6:15, 3:12] = False
    valid[1, :, :, -4:] = False
    return valid


def test_every_loss_of_a_task_is_here():
    named = {name.removesuffix("_masked").removesuffix("_shadow") for task in TASKS.values() for name in task.losses}
    assert named - LOSSES.keys() <= set(ELSEWHERE)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in NOT_ZERO])
def test_zero_at_equality(name):
    loss = LOSSES[name]
    assert abs(loss(image(0), image(0), valid=everywhere()).item()) < 1e-6
    assert abs(loss(image(0), image(0), valid=partly()).item()) < 1e-6


def test_positive_elsewhere_and_a_scalar(loss):
    value = loss(image(0), image(1), valid=partly())
    assert value.shape == ()
    assert value > 0.05


@pytest.mark.parametrize("pair", ["equal", "both zero", "prediction zero", "target zero"])
def test_gradient_is_finite_at_equality_and_at_zero(loss, pair):
    zero = torch.zeros(SHAPE)
    prediction = (zero if pair in ("both zero", "prediction zero") else image(0)).clone().requires_grad_()
    target = zero if pair in ("both zero", "target zero") else image(0)
    loss(prediction, target, valid=partly()).backward()
    assert torch.isfinite(prediction.grad).all()


def test_the_gradient_is_nowhere_enormous(loss):
    prediction = torch.zeros(SHAPE, requires_grad=True)
    loss(prediction, image(0), valid=everywhere()).backward()
    assert prediction.grad.norm() < 100


def test_masked_pixels_get_exactly_zero_gradient(loss):
    prediction = image(0).requires_grad_()
    loss(prediction, image(1), valid=partly()).backward()
    masked = ~partly().expand(SHAPE)
    assert (prediction.grad[masked] == 0).all()
    assert (prediction.grad[~masked] != 0).any()


def test_nan_in_masked_pixels_changes_neither_value_nor_gradient(loss):
    valid = partly()
    masked = ~valid.expand(SHAPE)
    plain = image(0).requires_grad_()
    loss(plain, image(1), valid=valid).backward()
    prediction, target = image(0), image(1)
    prediction[masked], target[masked] = float("nan"), float("inf")
    prediction.requires_grad_()
    value = loss(prediction, target, valid=valid)
    value.backward()
    assert value == loss(image(0), image(1), valid=valid)
    assert torch.equal(prediction.grad, plain.grad)


def test_a_batch_without_a_valid_pixel_is_zero_with_zero_gradient(loss):
    prediction = image(0).requires_grad_()
    value = loss(prediction, image(1), valid=torch.zeros_like(everywhere()))
    value.backward()
    assert value == 0
    assert (prediction.grad == 0).all()


def test_descending_lowers_the_loss(loss):
    prediction, target = image(0).requires_grad_(), image(1)
    first = loss(prediction, target, valid=partly())
    first.backward()
    step = 1e-3 * prediction.grad / prediction.grad.norm()
    assert loss(prediction.detach() - step, target, valid=partly()) < first


def test_the_gradient_is_that_of_finite_differences(loss):
    generator = torch.Generator().manual_seed(4)
    prediction = torch.rand(1, 3, 12, 12, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.rand(1, 3, 12, 12, generator=generator, dtype=torch.float64)
    valid = torch.ones(1, 1, 12, 12, dtype=torch.bool)
    valid[..., 2:5, 1:4] = False
    assert torch.autograd.gradcheck(lambda x: loss(x, target, valid=valid), prediction, atol=1e-6, fast_mode=True)
