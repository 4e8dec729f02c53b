"""The named sum of losses."""

import pytest
import torch

from eorestore.errors import ConfigError, UnknownNameError
from eorestore.losses.weighted import WeightedSum

LOSSES = {"double": lambda x: 2 * x.sum(), "square": lambda x: (x**2).sum()}


def test_total_is_the_weighted_sum_and_terms_come_unweighted():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    total, terms = WeightedSum(LOSSES, {"double": 0.5, "square": 3.0})(x)
    assert total.item() == pytest.approx(0.5 * 6 + 3 * 5)
    assert {name: term.item() for name, term in terms.items()} == {"double": 6.0, "square": 5.0}
    assert not any(term.requires_grad for term in terms.values())
    total.backward()
    assert torch.allclose(x.grad, 0.5 * 2 + 3 * 2 * x.detach())


def test_a_loss_that_is_not_named_is_not_computed():
    def unaffordable(x):
        raise AssertionError(f"computed for {x}")

    total, terms = WeightedSum(LOSSES | {"unaffordable": unaffordable}, {"square": 1.0})(torch.ones(2))
    assert total.item() == 2
    assert set(terms) == {"square"}


def test_an_unknown_loss_fails_with_the_nearest_name():
    with pytest.raises(UnknownNameError) as failure:
        WeightedSum(LOSSES, {"sqare": 1.0})
    assert failure.value.suggestion == "square"


def test_every_stage_has_its_own_weights_from_its_share_on():
    losses = WeightedSum(
        LOSSES, {"double": 1.0}, later=((0.25, {"double": 0.5, "square": 2.0}), (0.5, {"square": 3.0}))
    )
    seen = [losses.at(step / 200).weights for step in (0, 49, 50, 99, 100, 199)]
    first, second, third = {"double": 1.0}, {"double": 0.5, "square": 2.0}, {"square": 3.0}
    assert seen == [first, first, second, second, third, third]
    assert [losses.stage(share) for share in (0.0, 0.25, 0.5, 1.0)] == [0, 1, 2, 2]
    assert losses.at(0.7)(torch.ones(2))[0].item() == 6
    assert [share for share, _ in losses.stages()] == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("steps", [7, 10, 300, 30011])
def test_a_stage_begins_at_the_first_step_that_its_share_has_come_to(steps):
    for share in (0.1, 0.3, 0.7):
        losses = WeightedSum(LOSSES, {"double": 1.0}, later=((share, {"square": 1.0}),))
        first = next(step for step in range(steps) if losses.stage(step / steps))
        assert (first - 1) / steps < share <= first / steps


def test_without_stages_there_is_one_that_lasts():
    losses = WeightedSum(LOSSES, {"double": 1.0})
    assert losses.at(0.99).weights == losses.weights
    assert losses.stages() == ((1.0, losses),)


@pytest.mark.parametrize("starts", [(0.5, 0.5), (0.6, 0.4), (0.0, 0.5), (0.5, 1.0)])
def test_stages_out_of_order_are_refused(starts):
    with pytest.raises(ConfigError, match="stages of losses start at"):
        WeightedSum(LOSSES, {"double": 1.0}, later=tuple((start, {"square": 1.0}) for start in starts))


def test_a_loss_of_a_later_stage_is_checked_at_once():
    with pytest.raises(UnknownNameError, match="no loss is called 'sqare'"):
        WeightedSum(LOSSES, {"double": 1.0}, later=((0.5, {"sqare": 1.0}),))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_weight_is_refused(weight):
    with pytest.raises(ConfigError, match="the weight of loss square"):
        WeightedSum(LOSSES, {"square": weight})


def test_no_loss_at_all_is_refused():
    with pytest.raises(ConfigError, match="no loss is named"):
        WeightedSum(LOSSES, {})
