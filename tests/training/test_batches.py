from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_training import ToySamples

from eorestore.errors import DataError
from eorestore.training.batches import BatchPlan, in_order, stream


@given(
    items=st.integers(1, 40),
    size=st.integers(1, 5),
    processes=st.integers(1, 3),
    together=st.integers(1, 7),
    epoch=st.integers(0, 5),
)
def test_an_epoch_shows_no_item_twice_over_all_processes(
    items: int, size: int, processes: int, together: int, epoch: int
) -> None:
    if items < size * processes:
        with pytest.raises(DataError, match="fewer than a batch"):
            BatchPlan(items, size, 0, processes=processes)
        return
    plans = [BatchPlan(items, size, 0, rank=rank, processes=processes, together=together) for rank in range(processes)]
    seen = [item for plan in plans for row in plan.epoch(epoch) for item in row]
    assert len(seen) == len(set(seen)) == items // (size * processes) * size * processes
    assert {len(plan.epoch(epoch)) for plan in plans} == {plans[0].per_epoch}


def test_items_that_belong_together_stay_neighbours_in_a_shuffled_order() -> None:
    order = [item for row in BatchPlan(40, 2, 0, together=4).epoch(0) for item in row]
    groups = [order[at : at + 4] for at in range(0, 40, 4)]
    assert all(group == list(range(group[0], group[0] + 4)) and group[0] % 4 == 0 for group in groups)
    assert [group[0] for group in groups] != sorted(group[0] for group in groups)


def test_epochs_and_seeds_have_their_own_order() -> None:
    plan = BatchPlan(50, 5, 1)
    assert plan.epoch(0) == plan.epoch(0)
    assert plan.epoch(0) != plan.epoch(1)
    assert plan.epoch(0) != BatchPlan(50, 5, 2).epoch(0)


@pytest.mark.parametrize("start", [0, 2, 3, 8])
def test_a_stream_may_begin_anywhere(start: int) -> None:
    plan = BatchPlan(7, 2, 4)
    whole = list(islice(stream(ToySamples(7), plan, start=0, workers=0), 12))
    part = list(islice(stream(ToySamples(7), plan, start=start, workers=0), 12 - start))
    assert [(one.epoch, one.items) for one in part] == [(one.epoch, one.items) for one in whole[start:]]
    assert all((a.batch["cloudy"] == b.batch["cloudy"]).all() for a, b in zip(part, whole[start:], strict=True))


def test_validation_sees_every_item_in_order_in_epoch_0() -> None:
    samples = ToySamples(5)
    samples.set_epoch(3)
    sizes = [batch["target"].shape[0] for batch in in_order(samples, range(5), size=2, workers=0)]
    assert sizes == [2, 2, 1]
    assert samples.asked == [(0, index) for index in range(5)]
