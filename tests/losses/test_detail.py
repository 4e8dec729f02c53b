"""The losses of fine detail, against the Sobel operator of kornia and the convolution of SciPy."""

import numpy as np
import pytest
import torch
from kornia.filters import spatial_gradient
from scipy.ndimage import convolve

from eorestore.errors import ConfigError
from eorestore.losses.detail import detail_loss, edge_strength_l1, high_pass_l1
from eorestore.losses.pixel import l1


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 2, 18, 21)
    return tuple(torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))


def everywhere() -> torch.Tensor:
    return torch.ones(2, 1, 18, 21, dtype=torch.bool)


def high_passed(image: torch.Tensor) -> np.ndarray:
    kernel = -np.ones((3, 3))
    kernel[1, 1] = 8
    # SciPy's `mirror` repeats no pixel at the edge
    return np.stack([convolve(plane, kernel, mode="mirror") for plane in image.flatten(0, 1).numpy()])


def kornia_gradients(image: torch.Tensor) -> torch.Tensor:
    """(batch, band, x or y, y, x), mirrored at the border, undivided."""
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="reflect")
    return spatial_gradient(padded, mode="sobel", normalized=False)[..., 1:-1, 1:-1]


def test_magnitudes_are_those_of_kornias_sobel_on_a_mirrored_image():
    magnitudes = [kornia_gradients(image).square().sum(dim=2).add(1e-8).sqrt() for image in pair()]
    expected = (magnitudes[0] - magnitudes[1]).abs().mean()
    assert edge_strength_l1(*pair(), valid=everywhere()).item() == pytest.approx(expected.item(), rel=1e-9)


def test_components_are_kornias_apart_and_added_up():
    x, y = ((kornia_gradients(image)).abs() for image in pair())
    expected = sum((x - y).abs()[:, :, axis].mean() for axis in (0, 1))
    found = edge_strength_l1(*pair(), valid=everywhere(), form="components")
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_high_pass_is_scipys_convolution_with_eight_in_the_centre():
    expected = np.abs(high_passed(pair()[0]) - high_passed(pair()[1])).mean()
    assert high_pass_l1(*pair(), valid=everywhere()).item() == pytest.approx(expected, rel=1e-9)


def test_an_edge_turned_round_has_the_same_strength():
    image = torch.zeros(2, 2, 18, 21)
    image[..., 10:] = 1
    assert edge_strength_l1(image, 1 - image, valid=everywhere()).item() == pytest.approx(0, abs=1e-6)


def test_a_constant_costs_no_edge_and_a_plane_no_high_frequency_inside():
    prediction, target = pair()
    ramp = 0.1 * torch.arange(21.0, dtype=torch.float64).expand_as(target)
    inside = everywhere()
    inside[..., 0], inside[..., -1] = False, False  # where the mirror bends the ramp
    assert edge_strength_l1(target + 3, target, valid=everywhere()).item() == pytest.approx(0, abs=1e-9)
    assert high_pass_l1(target + ramp, target, valid=inside).item() == pytest.approx(0, abs=1e-9)
    assert high_pass_l1(prediction, target, valid=inside) > 0.1


def test_the_rim_of_a_hole_is_no_edge():
    prediction, target = torch.full((2, 2, 18, 21), 0.7), torch.full((2, 2, 18, 21), 0.2)
    valid = everywhere()
    valid[..., :4, 5:9] = False
    for loss in (edge_strength_l1, high_pass_l1):
        assert loss(prediction, target, valid=valid).item() == pytest.approx(0, abs=1e-6)


def test_the_sum_has_the_weights_of_the_plan_and_its_parts_have_none():
    loss = detail_loss(*pair(), valid=everywhere())
    parts = {
        "l1": l1(*pair(), valid=everywhere()),
        "edge": edge_strength_l1(*pair(), valid=everywhere()),
        "high_frequency": high_pass_l1(*pair(), valid=everywhere()),
    }
    assert {name: term.item() for name, term in loss.terms.items()} == pytest.approx(
        {name: term.item() for name, term in parts.items()}
    )
    expected = 0.6 * parts["l1"] + 0.15 * 0.5 * parts["edge"] + 0.25 * 0.3 * parts["high_frequency"]
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-12)


def test_without_a_mask_all_pixels_count():
    assert detail_loss(*pair()).total == detail_loss(*pair(), valid=everywhere()).total


def test_a_term_of_weight_zero_is_left_out():
    loss = detail_loss(*pair(), l1=1.0, edge=0.0, high_frequency=0.0)
    assert loss.terms.keys() == {"l1"}
    assert loss.total == l1(*pair(), valid=everywhere())


@pytest.mark.parametrize("weights", [{"edge": -0.1}, {"l1": float("nan")}, {"l1": 0, "edge": 0, "high_frequency": 0}])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ConfigError):
        detail_loss(*pair(), **weights)


def test_the_loss_falls_on_the_way_to_the_target():
    prediction, target = pair()
    values = [detail_loss(target + share * (prediction - target), target).total.item() for share in (1, 0.5, 0.1, 0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0
