"""The eight flips and quarter turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Flip, Rotate90

from eorestore.errors import UsageError
from eorestore.tiling.ensembling import self_ensemble, self_ensemble_with_spread, turn, turn_back

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


def leaning(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Another answer in each of the eight turns."""
    image = inputs["cloudy"]
    places = torch.arange(float(image[0, 0].numel())).reshape(image.shape[-2:])
    return image * (1 + torch.sin(places)) + torch.cos(places * 1.7)


def the_eight(forward: Callable[[Mapping[str, torch.Tensor]], torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    return torch.stack([turn_back(forward({"cloudy": turn(image, index)}), index) for index in range(8)])


def test_the_mean_is_the_sum_of_the_eight_in_their_order_bit_by_bit():
    image = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    total = torch.zeros_like(image)
    for turned in the_eight(leaning, image):
        total = total + turned
    assert torch.equal(self_ensemble(leaning, {"cloudy": image}), total / 8)
    assert torch.equal(self_ensemble_with_spread(leaning, {"cloudy": image})[0], total / 8)


def test_the_median_is_numpys():
    image = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    expected = np.median(the_eight(leaning, image).numpy(), axis=0)
    for found in (
        self_ensemble(leaning, {"cloudy": image}, reduce="median"),
        self_ensemble_with_spread(leaning, {"cloudy": image}, reduce="median")[0],
    ):
        np.testing.assert_array_equal(found.numpy(), expected)


def test_one_turn_that_fails_does_not_move_the_median():
    answers = iter([1000.0] + [1.0] * 7)
    found = self_ensemble(lambda inputs: inputs["cloudy"] * 0 + next(answers), {"cloudy": IMAGE}, reduce="median")
    assert torch.equal(found, torch.ones_like(IMAGE))


@pytest.mark.parametrize("reduce", ["mean", "median"])
def test_nan_in_one_turn_is_not_hidden(reduce: str):
    answers = iter([float("nan")] + [1.0] * 7)
    found = self_ensemble(lambda inputs: inputs["cloudy"] * 0 + next(answers), {"cloudy": IMAGE}, reduce=reduce)
    assert found.isnan().all()


@pytest.mark.parametrize("reduce", ["mean", "median"])
def test_the_spread_is_numpys_standard_deviation_of_the_eight(reduce: str):
    image = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    spread = self_ensemble_with_spread(leaning, {"cloudy": image}, reduce=reduce)[1]
    np.testing.assert_allclose(spread.numpy(), the_eight(leaning, image).numpy().std(axis=0), atol=1e-6)


def test_a_model_that_treats_pixels_alike_has_no_spread():
    image = IMAGE + 300.1
    found, spread = self_ensemble_with_spread(lambda inputs: inputs["cloudy"], {"cloudy": image}, reduce="median")
    assert torch.equal(found, image)
    assert torch.equal(spread, torch.zeros_like(image))


def test_another_reduction_is_refused():
    with pytest.raises(UsageError, match="no self-ensemble is called 'max'"):
        self_ensemble(lambda inputs: inputs["cloudy"], {"cloudy": IMAGE}, reduce="max")
