from __future__ import annotations

import pytest
import torch

from eorestore.errors import ConfigError
from eorestore.losses.attention import attention_mse, visible_cloud
from eorestore.models.model import Output
from eorestore.tasks.cloud_removal import LOSSES

SHAPE = (2, 1, 12, 10)


def maps(seed: int) -> torch.Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))


def everywhere() -> torch.Tensor:
    return torch.ones(SHAPE, dtype=torch.bool)


def test_it_is_torchs_squared_error_over_the_valid_pixels() -> None:
    valid = everywhere()
    valid[0, :, 3:7] = False
    expected = torch.nn.functional.mse_loss(maps(0)[valid], maps(1)[valid])
    assert attention_mse(maps(0), maps(1), valid=valid) == pytest.approx(expected.item(), rel=1e-6)


def test_it_is_zero_at_equality_and_without_a_valid_pixel() -> None:
    assert attention_mse(maps(0), maps(0), valid=everywhere()) == 0
    assert attention_mse(maps(0), maps(1), valid=~everywhere()) == 0


def test_an_invalid_pixel_gets_no_gradient_even_if_it_is_nan() -> None:
    valid = everywhere()
    valid[..., 0] = False
    wanted = maps(1)
    wanted[~valid] = float("nan")
    found = maps(0).requires_grad_()
    attention_mse(found, wanted, valid=valid).backward()
    assert (found.grad[~valid] == 0).all()
    assert (found.grad[valid] != 0).all()


def test_cloud_is_visible_where_the_bands_differ_by_more_than_the_least_on_average() -> None:
    target = torch.full((1, 4, 1, 3), 0.3)
    cloudy = target.clone()
    cloudy[0, :, 0, 1] += 0.06
    cloudy[0, 0, 0, 2] -= 0.16  # 0.04 on average, and a shadow
    assert visible_cloud(cloudy, target).tolist() == [[[[0, 1, 0]]]]
    assert visible_cloud(cloudy, target, least=0.03).tolist() == [[[[0, 1, 1]]]]


def test_the_task_compares_the_map_with_the_mask_or_with_what_is_visible() -> None:
    target = torch.rand(2, 13, 12, 10)
    cloudy = target.clone()
    cloudy[..., :4] += 0.5
    visible, masked = torch.zeros(SHAPE), torch.zeros(SHAPE)
    visible[..., :4], masked[..., :6] = 1, 1
    batch = {"cloudy": cloudy, "target": target, "mask": masked, "valid": everywhere()}
    assert LOSSES["attention_mse"](Output(target, {"attention": masked}), batch) == 0
    assert LOSSES["attention_mse_difference"](Output(target, {"attention": visible}), batch) == 0
    assert LOSSES["attention_mse"](Output(target, {"attention": visible}), batch) == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["attention_mse", "attention_mse_difference"])
def test_a_model_without_attention_is_refused_by_name(name: str) -> None:
    batch = {key: torch.rand(2, 13, 12, 10) for key in ("cloudy", "target")} | {"mask": maps(0), "valid": everywhere()}
    with pytest.raises(ConfigError, match="this one gives edges"):
        LOSSES[name](Output(batch["target"], {"edges": maps(0)}), batch)
