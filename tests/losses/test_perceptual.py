"""The perceptual loss: what enters the network, and how its levels are averaged."""

import numpy as np
import pytest
import torch

from eorestore.errors import UnknownNameError
from eorestore.losses.feature_weights import feature_network
from eorestore.losses.perceptual import GAIN, perceptual

CHOICE = {"network": "ucmerced", "rgb": (3, 2, 1)}


def pair(side: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (0.02 + 0.3 * torch.rand(2, 13, side, side, generator=generator) for _ in range(2))
    return prediction, target, torch.ones(2, 1, side, side, dtype=torch.bool)


def taps(image: torch.Tensor) -> list[np.ndarray]:
    network = feature_network("ucmerced", device=torch.device("cpu"), dtype=torch.float32)
    rgb = np.clip(GAIN * image[:, [3, 2, 1]].numpy(), 0, 1)
    with torch.no_grad():
        return [tap.numpy() for tap in network(torch.from_numpy(rgb))]


def test_it_is_the_mean_over_levels_of_the_mean_difference_of_features():
    prediction, target, valid = pair()
    expected = np.mean([np.abs(one - two).mean() for one, two in zip(taps(prediction), taps(target), strict=True)])
    assert perceptual(prediction, target, valid=valid, **CHOICE).item() == pytest.approx(expected, rel=1e-5)


def test_layers_are_averaged_by_their_weights():
    prediction, target, valid = pair()
    costs = [np.abs(one - two).mean() for one, two in zip(taps(prediction), taps(target), strict=True)]
    names = feature_network("ucmerced", device=torch.device("cpu"), dtype=torch.float32).taps
    layers = {names[2]: 0.4, names[1]: 0.2}
    expected = (0.4 * costs[2] + 0.2 * costs[1]) / 0.6
    assert perceptual(prediction, target, valid=valid, layers=layers, **CHOICE).item() == pytest.approx(
        expected, rel=1e-5
    )
    with pytest.raises(UnknownNameError, match="no layer of ucmerced is called 'relu9_9'"):
        perceptual(prediction, target, valid=valid, layers={"relu9_9": 1.0}, **CHOICE)


def test_layers_that_a_tiny_image_has_no_pixels_for_cost_nothing():
    image = torch.rand(1, 13, 2, 2)
    last = feature_network("ucmerced", device=torch.device("cpu"), dtype=torch.float32).taps[-1]
    valid = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    assert perceptual(image, image + 0.1, valid=valid, layers={last: 1.0}, **CHOICE) == 0


def test_without_a_clip_what_is_outside_the_range_of_a_picture_has_a_gradient():
    _, target, valid = pair()
    bright = (target + 2).requires_grad_()
    perceptual(bright, target, valid=valid, gain=1.0, clip=None, **CHOICE).backward()
    assert (bright.grad[:, [3, 2, 1]] != 0).float().mean() > 0.9


def test_only_red_green_and_blue_count():
    prediction, target, valid = pair()
    prediction.requires_grad_()
    perceptual(prediction, target, valid=valid, **CHOICE).backward()
    touched = prediction.grad.abs().sum(dim=(0, 2, 3)) > 0
    assert touched.nonzero().flatten().tolist() == [1, 2, 3]


def test_what_is_clipped_has_no_gradient_and_no_cost():
    _, target, valid = pair()
    target[..., :8] = 0.6
    bright = target.clone()
    bright[..., :8] = 0.9
    assert perceptual(bright, target, valid=valid, **CHOICE) == 0


def filled(image: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """`image` with the mean of the valid target where it is not valid."""
    means = torch.stack([one[:, mask[0]].mean(dim=1) for one, mask in zip(target, valid, strict=True)])
    return torch.where(valid, image, means[..., None, None])


def test_invalid_pixels_take_the_mean_and_features_count_where_their_block_is_valid():
    prediction, target, valid = pair()
    valid[..., 16:] = False
    seen = taps(filled(prediction, target, valid)), taps(filled(target, target, valid))
    differences = [np.abs(one - two) for one, two in zip(*seen, strict=True)]
    expected = np.mean([values[..., : values.shape[-1] // 2].mean() for values in differences])
    assert perceptual(prediction, target, valid=valid, **CHOICE).item() == pytest.approx(expected, rel=1e-5)


def test_a_block_that_is_half_valid_weighs_half():
    prediction, target, valid = pair()
    valid[..., 16:] = False
    valid[..., 16:24, 16:20] = True
    seen = taps(filled(prediction, target, valid)), taps(filled(target, target, valid))
    shares = valid.numpy().astype(float)
    levels = []
    for one, two in zip(*seen, strict=True):
        block = 32 // one.shape[-1]
        weights = shares.reshape(2, 1, 32 // block, block, 32 // block, block).mean(axis=(3, 5))
        levels.append(np.average(np.abs(one - two).mean(axis=1, keepdims=True), weights=weights))
    assert perceptual(prediction, target, valid=valid, **CHOICE).item() == pytest.approx(np.mean(levels), rel=1e-5)


def test_it_grows_with_blur_where_the_mean_stays():
    _, target, valid = pair()
    mild = torch.nn.functional.avg_pool2d(target, 3, 1, 1, count_include_pad=False)
    strong = torch.nn.functional.avg_pool2d(target, 9, 1, 4, count_include_pad=False)
    costs = [perceptual(image, target, valid=valid, **CHOICE).item() for image in (target, mild, strong)]
    assert costs[0] == 0 < costs[1] < costs[2]


def test_gradients_are_the_same_in_float64_to_rounding():
    prediction, target, valid = pair(16)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        image = prediction.to(dtype, copy=True).requires_grad_()
        perceptual(image, target.to(dtype), valid=valid, **CHOICE).backward()
        gradients.append(image.grad.double())
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[1].norm()
