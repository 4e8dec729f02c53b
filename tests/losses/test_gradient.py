"""The losses at edges, against the Sobel operator of kornia and of SciPy."""

import numpy as np
import pytest
import torch
from kornia.filters import spatial_gradient
from scipy.ndimage import sobel as scipy_sobel

from eorestore.layers.sobel import inner
from eorestore.losses.gradient import edge_map, edge_weighted_l1, sobel_l1
from eorestore.losses.pixel import l1


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 20, 24, generator=generator), torch.rand(2, 3, 20, 24, generator=generator)


def everywhere() -> torch.Tensor:
    return torch.ones(2, 1, 20, 24, dtype=torch.bool)


def step_image() -> torch.Tensor:
    image = torch.zeros(2, 3, 20, 24)
    image[..., 12:] = 0.3
    return image


def test_sobel_l1_is_the_mean_difference_of_kornias_gradients():
    prediction, target = pair()
    gradients = spatial_gradient(prediction, mode="sobel") - spatial_gradient(target, mode="sobel")
    expected = gradients.abs()[..., 1:-1, 1:-1].mean()
    assert sobel_l1(prediction, target, valid=everywhere()).item() == pytest.approx(expected.item(), rel=1e-5)


def test_with_mirrored_borders_all_pixels_count_as_scipy_has_them():
    prediction, target = pair()
    planes = (prediction - target).double().flatten(0, 1).numpy()
    # SciPy's `mirror` repeats no pixel at the edge, and its operator is not divided by 8
    expected = np.mean([abs(scipy_sobel(one, axis=axis, mode="mirror")) / 8 for one in planes for axis in (0, 1)])
    found = sobel_l1(prediction, target, valid=everywhere(), border="reflect")
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_with_mirrored_borders_a_hole_at_the_edge_still_counts_for_nothing():
    prediction, target = torch.full((2, 3, 20, 24), 0.7), torch.full((2, 3, 20, 24), 0.2)
    valid = everywhere()
    valid[..., :3, :5] = False
    assert sobel_l1(prediction, target, valid=valid, border="reflect") == 0


def test_a_constant_added_to_the_image_costs_nothing_and_a_ramp_costs_its_slope():
    _, target = pair()
    assert sobel_l1(target + 0.3, target, valid=everywhere()).item() == pytest.approx(0, abs=1e-6)
    ramp = 0.02 * torch.arange(24.0).expand_as(target)
    # along x the gradient is off by the slope, along y by nothing
    assert sobel_l1(target + ramp, target, valid=everywhere()).item() == pytest.approx(0.01, rel=1e-4)


def test_the_edge_of_valid_pixels_is_no_edge():
    prediction, target = torch.full((2, 3, 20, 24), 0.7), torch.full((2, 3, 20, 24), 0.2)
    valid = everywhere()
    valid[..., 5:9, 5:9] = False
    assert sobel_l1(prediction, target, valid=valid) == 0
    assert (edge_map(torch.where(valid, target, target.new_zeros(())), valid=valid) < 1e-5).all()


def test_the_edge_map_is_scipys_sobel_magnitude_over_three_times_its_mean():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    magnitude = torch.zeros(16, 16, dtype=torch.float64)
    across, down = (torch.from_numpy(scipy_sobel(image[0, 0].numpy(), axis=axis)) for axis in (1, 0))
    magnitude[1:-1, 1:-1] = torch.hypot(across, down)[1:-1, 1:-1]
    expected = (magnitude / (3 * magnitude[1:-1, 1:-1].mean())).clamp(max=1)
    found = edge_map(image, valid=torch.ones(1, 1, 16, 16, dtype=torch.bool))
    assert torch.allclose(found[0, 0], expected, atol=1e-9)


def test_the_edge_map_is_one_at_a_step_zero_on_flat_ground_and_has_no_gradient():
    image = step_image().requires_grad_()
    edges = edge_map(image, valid=everywhere())
    assert not edges.requires_grad
    assert (edges[..., 1:-1, 11:13] == 1).all()
    assert (edges[..., :10] == 0).all()


def test_an_error_at_an_edge_of_the_target_costs_three_times_that_on_flat_ground():
    target = step_image()
    at_edge, on_flat = target.clone(), target.clone()
    at_edge[..., 5:9, 12] += 0.1
    on_flat[..., 5:9, 3] += 0.1
    costs = [edge_weighted_l1(image, target, valid=everywhere()) for image in (at_edge, on_flat)]
    assert (costs[0] / costs[1]).item() == pytest.approx(3, rel=1e-5)
    assert costs[1].item() == pytest.approx(l1(on_flat, target, valid=everywhere()).item(), rel=1e-6)


def test_edges_of_the_prediction_change_no_weight():
    target = step_image()
    noisy = torch.zeros_like(target) + 0.5
    noisy[..., ::2] += 0.2
    flat_there = noisy[..., 1:10] - target[..., 1:10]
    valid = torch.zeros_like(everywhere())
    valid[..., 1:10] = True
    assert edge_weighted_l1(noisy, target, valid=valid).item() == pytest.approx(flat_there.abs().mean().item())


def test_inner_pixels_have_all_eight_neighbours():
    valid = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    valid[0, 0, 0, 0] = False
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[1:5, 1:5] = True
    expected[1, 1] = False
    assert torch.equal(inner(valid)[0, 0], expected)
