"""Which items a training sees at which step: a pure function of (seed, position), so nothing needs replaying."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from eorestore.errors import DataError
from eorestore.tasks.task import Samples


class Loaded(NamedTuple):
    """A batch, with the epoch and the item indices that it is made of."""

    epoch: int
    items: list[int]
    batch: dict[str, Tensor]


@dataclass(frozen=True)
class BatchPlan:
    """An endless row of batches over `items` items, shuffled anew for every epoch.

    size: items of a batch in each of `processes` processes; this one is number `rank`. An epoch's last items that
    do not fill a batch for every process are left out. together: items in a row that stay neighbours, so that what
    they share is computed once. Raises DataError where an epoch has no batch at all.
    """

    items: int
    size: int
    seed: int
    rank: int = 0
    processes: int = 1
    together: int = 1

    def __post_init__(self) -> None:
        if self.per_epoch == 0:
            raise DataError(
                f"an epoch has {self.items} items, fewer than a batch of {self.size} x {self.processes} processes",
                fix="lower training.batch or raise data.items_per_epoch",
            )

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.items // (self.size * self.processes)

    def epoch(self, number: int) -> list[list[int]]:
        """The item indices of every batch of an epoch."""
        groups = np.random.default_rng((self.seed, number)).permutation(-(-self.items // self.together))
        order = (groups[:, None] * self.together + np.arange(self.together)).ravel()
        order = order[order < self.items]
        used = order[: self.per_epoch * self.processes * self.size]
        mine = used.reshape(self.per_epoch, self.processes, self.size)[:, self.rank]
        rows: list[list[int]] = mine.tolist()
        return rows


def stream(samples: Samples, plan: BatchPlan, *, start: int, workers: int) -> Iterator[Loaded]:
    """Batches of `plan` from number `start` on, without end; `workers` processes load ahead."""
    first_epoch, skip = divmod(start, plan.per_epoch)
    for epoch in count(first_epoch):
        # before the loader starts its workers, since each of them gets a copy of the samples
        samples.set_epoch(epoch)
        rows = plan.epoch(epoch)[skip:]
        for items, batch in zip(rows, _loader(samples, rows, workers), strict=True):
            yield Loaded(epoch, items, batch)
        skip = 0


def in_order(samples: Samples, indices: range, *, size: int, workers: int) -> DataLoader[dict[str, Tensor]]:
    """The items `indices` of epoch 0, in order, in batches of up to `size`."""
    samples.set_epoch(0)
    rows = list(indices)
    return _loader(samples, [rows[at : at + size] for at in range(0, len(rows), size)], workers)


def _loader(samples: Samples, batches: list[list[int]], workers: int) -> DataLoader[dict[str, Tensor]]:
    return DataLoader(
        samples,  # type: ignore[arg-type]  # the loader needs __len__ and __getitem__ only
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
