"""Pixels divided into cloud, shadow and clear ground."""

import torch

from eorestore.metrics.regions import divide


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
