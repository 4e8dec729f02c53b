"""A sum of named losses with weights, every term kept for the log; knows no loss by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, ParamSpec

from torch import Tensor

from eorestore.errors import ConfigError, UnknownNameError

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True)
class WeightedSum(Generic[Arguments]):
    """total = sum of weight * loss over `weights`.

    losses: every loss there is, by name; all take the same arguments and return a scalar.
    weights: the losses to use, by name. Raises UnknownNameError and ConfigError.
    """

    losses: Mapping[str, Callable[Arguments, Tensor]]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.weights:
            raise ConfigError("no loss is named", fix=f"give a weight to one of: {', '.join(self.losses)}")
        for name, weight in self.weights.items():
            if name not in self.losses:
                raise UnknownNameError("loss", name, self.losses)
            if not math.isfinite(weight) or weight < 0:
                raise ConfigError(f"the weight of loss {name} is {weight}", fix="give a number of at least 0")

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> tuple[Tensor, dict[str, Tensor]]:
        """(total, terms): terms by name, without their weights and without gradient."""
        terms = {name: self.losses[name](*args, **kwargs) for name in self.weights}
        weighted = [self.weights[name] * term for name, term in terms.items()]
        total = sum(weighted[1:], start=weighted[0])
        return total, {name: term.detach() for name, term in terms.items()}
