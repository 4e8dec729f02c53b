"""Bootstrap intervals of paired differences, by place and scene; knows no model and no metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean difference with the percentile interval of its bootstrap; `count` differences in `places` places."""

    mean: float
    low: float
    high: float
    count: int
    places: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired_interval(
    differences: Mapping[str, Sequence[float]], *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Interval:
    """The mean over places of each place's mean difference, and its percentile interval (Efron 1979).

    Every resample draws places with replacement, then scenes with replacement within each drawn place (the cluster
    bootstrap of Davison & Hinkley 1997, section 3.8). With one place only the scenes vary, with one scene a place
    only the places.

    Args:
        differences: by place, one number a scene.
        resamples: how many.
        level: share of the resamples inside the interval.
        seed: of the draws; equal seeds give equal intervals.

    Raises:
        DataError: no difference at all, or one that is not finite.
    """
    groups = [np.asarray(values, dtype=np.float64) for values in differences.values() if len(values)]
    if not groups:
        raise DataError("there is no pair to compare", fix="score both models on the same scenes")
    if not all(np.isfinite(group).all() for group in groups):
        raise DataError("a difference is not finite", fix="compare scores that every scene has")
    generator = np.random.default_rng(seed)
    means = _resampled_means(groups, resamples, generator)
    tail = (1 - level) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(
        mean=math.fsum(float(group.mean()) for group in groups) / len(groups),
        low=float(low),
        high=float(high),
        count=sum(group.size for group in groups),
        places=len(groups),
    )


def _resampled_means(
    groups: Sequence[NDArray[np.float64]], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The statistic of every resample, shape (resamples,)."""
    drawn = generator.integers(len(groups), size=(resamples, len(groups)))
    values = np.empty(drawn.shape)
    for number, group in enumerate(groups):
        here = drawn == number
        scenes = generator.integers(group.size, size=(int(here.sum()), group.size))
        values[here] = group[scenes].mean(axis=1)
    means: NDArray[np.float64] = values.mean(axis=1)
    return means
