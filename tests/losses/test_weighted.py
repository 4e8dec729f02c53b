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


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_weight_is_refused(weight):
    with pytest.raises(ConfigError, match="the weight of loss square"):
        WeightedSum(LOSSES, {"square": weight})


def test_no_loss_at_all_is_refused():
    with pytest.raises(ConfigError, match="no loss is named"):
        WeightedSum(LOSSES, {})
