"""A sum of named losses with weights, in stages or not, every term kept for the log; knows no loss by itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, ParamSpec

from torch import Tensor

from eorestore.errors import ConfigError, UnknownNameError

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class WeightedSum(Generic[Arguments]):
    """total = sum of weight * loss over `weights`.

    losses: every loss there is, by name; all take the same arguments and return a scalar.
    weights: the losses to use, by name, at the start of a training.
    later: (share of a training, weights) in order; from that share on those weights hold and none of those before.

    Raises UnknownNameError and ConfigError.
    """

    losses: Mapping[str, Callable[Arguments, Tensor]]
    weights: Mapping[str, float]
    later: tuple[tuple[float, Mapping[str, float]], ...] = ()

    def __post_init__(self) -> None:
        for weights in (self.weights, *(weights for _, weights in self.later)):
            self._check(weights)
        starts = [0.0, *(start for start, _ in self.later), 1.0]
        if any(not before < after for before, after in itertools.pairwise(starts)):
            raise ConfigError(
                f"stages of losses start at {starts[1:-1]} of a training", fix="give rising shares between 0 and 1"
            )

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> tuple[Tensor, dict[str, Tensor]]:
        """(total, terms) of the first stage: terms by name, without their weights and without gradient."""
        terms = {name: self.losses[name](*args, **kwargs) for name in self.weights}
        weighted = [self.weights[name] * term for name, term in terms.items()]
        total = sum(weighted[1:], start=weighted[0])
        return total, {name: term.detach() for name, term in terms.items()}

    def stage(self, share: float) -> int:
        """The stage, counted from 0, of an update before which `share` of all are done."""
        return sum(share >= start for start, _ in self.later)

    def at(self, share: float) -> WeightedSum[Arguments]:
        """The sum that holds in that stage, alone."""
        return self.stages()[self.stage(share)][1]

    def stages(self) -> tuple[tuple[float, WeightedSum[Arguments]], ...]:
        """(share of the training that it lasts, its sum) of every stage."""
        starts = (0.0, *(start for start, _ in self.later))
        ends = (*starts[1:], 1.0)
        weights = (self.weights, *(weights for _, weights in self.later))
        return tuple(
            (end - start, replace(self, weights=chosen, later=()))
            for start, end, chosen in zip(starts, ends, weights, strict=True)
        )

    def _check(self, weights: Mapping[str, float]) -> None:
        if not weights:
            raise ConfigError("no loss is named", fix=f"give a weight to one of: {', '.join(self.losses)}")
        for name, weight in weights.items():
            if name not in self.losses:
                raise UnknownNameError("loss", name, self.losses)
            if not math.isfinite(weight) or weight < 0:
                raise ConfigError(f"the weight of loss {name} is {weight}", fix="give a number of at least 0")
