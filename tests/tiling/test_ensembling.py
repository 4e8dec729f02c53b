"""The eight flips and quarter turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Flip, Rotate90

from eorestore.tiling.ensembling import self_ensemble, turn, turn_back

IMAGE = torch.arange(24.0).reshape(1, 2, 3, 4)


@pytest.mark.parametrize("index", range(8))
def test_turning_back_undoes_a_turn(index: int):
    assert torch.equal(turn_back(turn(IMAGE, index), index), IMAGE)


def test_the_eight_turns_are_different_and_the_first_is_none():
    turned = {tuple(turn(IMAGE, index).flatten().tolist()) for index in range(8)}
    assert len(turned) == 8
    assert torch.equal(turn(IMAGE, 0), IMAGE)


@pytest.mark.parametrize("index", range(8))
def test_turns_are_those_of_monai(index: int):
    steps = [Rotate90(k=index % 4, spatial_axes=(0, 1))]
    if index >= 4:
        steps.append(Flip(spatial_axis=1))
    np.testing.assert_array_equal(turn(IMAGE, index)[0].numpy(), np.asarray(Compose(steps)(IMAGE[0])))


def test_a_model_that_treats_pixels_alike_is_not_changed():
    result = self_ensemble(lambda inputs: inputs["cloudy"] * 2 + 1, {"cloudy": IMAGE})
    torch.testing.assert_close(result, IMAGE * 2 + 1)


def test_a_model_that_leans_to_one_side_leans_no_more():
    ramp = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)
    result = self_ensemble(lambda inputs: inputs["cloudy"] + ramp, {"cloudy": torch.zeros(1, 1, 8, 8)})
    torch.testing.assert_close(result, torch.zeros(1, 1, 8, 8), atol=1e-6, rtol=0)


def test_all_images_turn_together_and_constants_do_not():
    seen = []

    def forward(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(tuple(inputs["sar"].shape))
        assert torch.equal(inputs["sar"], inputs["cloudy"] + 5)
        assert inputs["mean"] is mean
        return inputs["cloudy"]

    mean = torch.ones(1, 2)
    result = self_ensemble(forward, {"cloudy": IMAGE, "sar": IMAGE + 5, "mean": mean})
    torch.testing.assert_close(result, IMAGE)
    assert set(seen) == {(1, 2, 3, 4), (1, 2, 4, 3)}


def test_a_model_that_enlarges_is_turned_back_at_its_own_size():
    def forward(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return inputs["cloudy"].repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    torch.testing.assert_close(self_ensemble(forward, {"cloudy": IMAGE}), forward({"cloudy": IMAGE}))
