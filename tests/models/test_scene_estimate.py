"""The scene's own estimate: what it takes for clear ground."""

import pytest
import torch
import torch.nn.functional as F

from eorestore.models.model import SceneSample
from eorestore.models.scene_estimate import estimate, prepare_estimate

SIDE, LEAK = 64, 3


def scene(*, leak):
    """Ground, and a scene of it with an opaque cloud that reaches `leak` pixels beyond its mask."""
    generator = torch.Generator().manual_seed(0)
    sar = F.interpolate(torch.rand(1, 2, 12, 12, generator=generator), size=SIDE, mode="bilinear")
    slope = torch.linspace(0.05, 0.2, 13)[None, :, None, None]
    ground = 0.1 + slope * sar[:, :1] + 0.004 * torch.randn(1, 13, SIDE, SIDE, generator=generator)
    cloud = torch.zeros(1, 1, SIDE, SIDE)
    cloud[..., 20:44, 20:44] = 1
    mask = 1 - F.max_pool2d(1 - cloud, 2 * leak + 1, stride=1, padding=leak) if leak else cloud
    return ground, {"cloudy": torch.where(cloud > 0.5, 0.6, ground), "sar": sar, "mask": mask}


def error(*, leak, sees_cloud=True):
    ground, inputs = scene(leak=leak)
    prepared = prepare_estimate(SceneSample(inputs, (inputs,)), sees_cloud=sees_cloud)
    guess = estimate(inputs["sar"], prepared.maps["surface"], prepared.constants["coefficients"][None])
    return float((guess - ground)[..., 26:38, 26:38].square().mean().sqrt())


def test_a_cloud_that_reaches_beyond_its_mask_is_not_carried_into_the_hole():
    assert error(leak=LEAK, sees_cloud=False) > 0.1  # where the margin is believed
    assert error(leak=LEAK) < 0.01


def test_with_an_exact_mask_the_margin_costs_next_to_nothing():
    assert error(leak=0) == pytest.approx(error(leak=0, sees_cloud=False), abs=0.003)


def test_few_clear_pixels_beside_the_mask_are_used_all_the_same():
    _, inputs = scene(leak=0)
    inputs["mask"] = torch.ones(1, 1, SIDE, SIDE)
    inputs["mask"][..., :3] = 0  # 192 pixels, all beside the mask
    prepared = prepare_estimate(SceneSample(inputs, (inputs,)), sees_cloud=True)
    assert prepared.warnings == ()
    assert bool(prepared.maps["surface"].isfinite().all())
