"""Dividing pixels into cloud, shadow and clear ground."""

import torch

from eorestore.metrics.fidelity import mae
from eorestore.metrics.regions import by_region, divide


def masks() -> dict[str, torch.Tensor]:
    valid, cloud, shadow = (torch.zeros(1, 4, 4, dtype=torch.bool) for _ in range(3))
    valid[:, :3] = True
    cloud[..., 0] = True
    shadow[..., :2] = True
    return {"valid": valid, "cloud": cloud, "shadow": shadow}


def test_every_valid_pixel_lies_in_exactly_one_region():
    regions = divide(**masks())
    total = sum(region.int() for region in regions.values())
    assert torch.equal(total, masks()["valid"].int())


def test_cloud_over_shadow_counts_as_cloud():
    regions = divide(**masks())
    assert {name: int(region.sum()) for name, region in regions.items()} == {
        "cloud": 3,
        "shadow": 3,
        "clear": 6,
    }


def test_each_region_is_scored_by_its_own_pixels():
    error = torch.zeros(1, 4, 4)
    error[..., 0], error[..., 1], error[..., 2:], error[:, 3] = 0.3, 0.2, 0.1, 99.0
    scores = by_region(mae, error, torch.zeros(1, 4, 4), **masks())
    rounded = {name: round(score.item(), 6) for name, score in scores.items()}
    assert rounded == {"": 0.175, "cloud": 0.3, "shadow": 0.2, "clear": 0.1}
