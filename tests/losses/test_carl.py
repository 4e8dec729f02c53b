"""The cloud-adaptive regularised loss, against the formula of the paper in NumPy."""

import numpy as np
import pytest
import torch

from eorestore.losses.carl import carl
from eorestore.losses.pixel import l1

SHAPE = (2, 4, 10, 12)


def draw() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    images = tuple(torch.rand(SHAPE, generator=generator) for _ in range(3))
    clouded = torch.rand(2, 1, 10, 12, generator=generator) < 0.4
    return *images, clouded, torch.ones(2, 1, 10, 12, dtype=torch.bool)


@pytest.mark.parametrize("regularisation", [0.0, 1.0, 0.3])
def test_it_is_the_formula_of_the_paper(regularisation):
    prediction, target, cloudy, clouded, valid = draw()
    found = carl(
        prediction, target, cloudy=cloudy, clouded=clouded, valid=valid, regularisation=regularisation
    )  # fmt: skip
    p, t, x, mask = (image.numpy().astype(float) for image in (prediction, target, cloudy, clouded))
    adaptive = np.abs(mask * (p - t) + (1 - mask) * (p - x)).sum() / p.size
    expected = adaptive + regularisation * np.abs(p - t).sum() / p.size
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_under_cloud_everywhere_it_is_twice_l1_and_the_input_does_not_matter():
    prediction, target, cloudy, clouded, valid = draw()
    found = carl(prediction, target, cloudy=cloudy, clouded=torch.ones_like(clouded), valid=valid)
    assert found.item() == pytest.approx(2 * l1(prediction, target, valid=valid).item())


def test_a_clear_pixel_is_pulled_to_the_input_where_the_target_is_of_another_day():
    _, target, cloudy, clouded, valid = draw()
    keep = torch.where(clouded, target, cloudy)
    costs = [
        carl(image, target, cloudy=cloudy, clouded=clouded, valid=valid, regularisation=0.0) for image in (keep, target)
    ]
    assert costs[0] == 0
    assert costs[1] > 0.1


def test_a_band_that_the_input_lacks_is_compared_with_the_target_alone():
    prediction, target, cloudy, clouded, valid = draw()
    cloudy[:, 2] = float("nan")
    lacking = carl(prediction.requires_grad_(), target, cloudy=cloudy, clouded=clouded, valid=valid)
    lacking.backward()
    assert torch.isfinite(prediction.grad).all()
    cloudy[:, 2] = target[:, 2]
    assert carl(prediction, target, cloudy=cloudy, clouded=clouded, valid=valid) == lacking


def test_nan_of_the_input_outside_valid_changes_nothing():
    prediction, target, cloudy, clouded, valid = draw()
    valid[..., :3] = False
    before = carl(prediction, target, cloudy=cloudy, clouded=clouded, valid=valid)
    cloudy[..., :3] = float("nan")
    assert carl(prediction, target, cloudy=cloudy, clouded=clouded, valid=valid) == before
