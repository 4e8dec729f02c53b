"""What every metric promises, over the table of metrics."""

import math

import pytest
import torch

from eorestore.metrics.collection import BETTER, METRICS

PERFECT = {
    "psnr": math.inf, "ssim": 1.0, "ssim_paper": 1.0, "mae": 0.0, "rmse": 0.0, "sam": 0.0, "bias": 0.0,
    "gradient_correlation": 1.0, "edge_correlation": 1.0,
}  # fmt: skip
SHAPE = (3, 5, 28, 24)


@pytest.fixture(params=METRICS)
def name(request):
    return request.param


def image(seed: int) -> torch.Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))


def partly() -> torch.Tensor:
    valid = torch.ones(SHAPE[0], 1, *SHAPE[2:], dtype=torch.bool)
    valid[0, :, 8:20, 5:17] = False
    valid[1, :, :, -6:] = False
    return valid


def test_equal_images_get_the_perfect_score(name):
    scores = METRICS[name](image(0), image(0), valid=partly())
    assert scores.tolist() == pytest.approx([PERFECT[name]] * 3, abs=1e-9)


def test_invalid_pixels_cannot_change_the_score(name):
    valid = partly()
    prediction, target = image(0), image(1)
    before = METRICS[name](prediction, target, valid=valid)
    outside = ~valid.expand(SHAPE)
    prediction[outside], target[outside] = float("nan"), float("inf")
    assert torch.equal(METRICS[name](prediction, target, valid=valid), before)
    assert torch.isfinite(before).all()


def test_pixels_outside_the_region_count_only_as_surroundings(name):
    region = torch.zeros_like(partly())
    region[..., :14, :] = True
    prediction = image(0)
    before = METRICS[name](prediction, image(1), valid=partly(), region=region)
    prediction[..., 14 + 6 :, :] = 0.5
    assert torch.equal(METRICS[name](prediction, image(1), valid=partly(), region=region), before)


def test_the_valid_pixels_do_change_the_score(name):
    prediction = image(0)
    before = METRICS[name](prediction, image(1), valid=partly())
    prediction[:, :, 10:14, :] = 0.9 * image(2)[:, :, 10:14, :]
    assert (METRICS[name](prediction, image(1), valid=partly()) != before).all()


def test_more_noise_is_a_worse_score(name):
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    levels = [METRICS[name](image(0) + s * noise, image(0), valid=partly()) for s in (0.01, 0.03, 0.1, 0.3)]
    change = torch.stack(levels).diff(dim=0)
    assert (change < 0).all() if BETTER[name] == "higher" else (change > 0).all()


def test_an_item_of_a_batch_scores_as_it_does_alone(name):
    together = METRICS[name](image(0), image(1), valid=partly())
    alone = [METRICS[name](image(0)[i], image(1)[i], valid=partly()[i]) for i in range(3)]
    assert all(value.shape == () for value in alone)
    assert torch.allclose(together, torch.stack(alone), atol=0, rtol=1e-12)


def test_no_valid_pixel_is_no_score(name):
    valid = partly()
    valid[1] = False
    scores = METRICS[name](image(0), image(1), valid=valid)
    assert scores.isnan().tolist() == [False, True, False]


def test_a_metric_keeps_no_gradient(name):
    prediction = image(0).requires_grad_()
    assert not METRICS[name](prediction, image(1), valid=partly()).requires_grad
