"""When ZSSR lowers its learning rate, and when it stops: by a line through its last errors; knows no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eorestore.errors import ConfigError

_LEAST_ERRORS = 3  # through two goes every line


@dataclass(frozen=True)
class SlopeSettings:
    """Of the rule of ZSSR (Shocher, Cohen, Irani, CVPR 2018).

    first: the rate at the start. least: learning is over below it. fall: by which a rate is divided.
    test_every, check_every: steps between errors, and between lines. window: steps that a line covers.
    ratio: the rate falls where the falling slope, so many times, is within its standard error.
    """

    first: float = 1e-3
    least: float = 9e-6
    fall: float = 10.0
    test_every: int = 50
    check_every: int = 60
    window: int = 256
    ratio: float = 1.5

    def __post_init__(self) -> None:
        if (
            min(self.test_every, self.check_every, self.window) < 1
            or min(self.first, self.least) <= 0
            or self.fall <= 1
        ):
            raise ConfigError(
                "slope rule: rates are above 0, steps at least 1, and a rate falls by more than 1",
                fix="leave them out: the defaults are the paper's",
            )


class SlopeRule:
    """The learning rate, and the errors that it hangs on.

    A line goes through errors of one rate only: after a fall the rule waits until its window has filled again.
    """

    def __init__(self, settings: SlopeSettings) -> None:
        self.settings, self.rate = settings, settings.first
        self._errors: list[tuple[int, float]] = []
        self._fell = 0

    @property
    def over(self) -> bool:
        """Whether the rate is so low that nothing more will be learned."""
        return self.rate < self.settings.least

    def note(self, step: int, error: float) -> None:
        """An error after so many steps."""
        self._errors.append((step, error))

    def check(self, step: int) -> None:
        """Lower the rate where it is time to look and the errors fall no more."""
        s = self.settings
        if step % s.check_every or step - self._fell < s.window:
            return
        recent = [(when, error) for when, error in self._errors if when > step - s.window]
        if falls_no_more(recent, ratio=s.ratio):
            self.rate /= s.fall
            self._fell = step


def falls_no_more(errors: Sequence[tuple[int, float]], *, ratio: float) -> bool:
    """Whether `ratio` times the falling slope of the line through (step, error) is within the slope's standard error.

    With residuals r about the least-squares line and n errors, that standard error is
    sqrt(sum r^2 / (n - 2) / sum (step - mean step)^2). False for fewer than three errors; true for equal ones.
    """
    if len(errors) < _LEAST_ERRORS:
        return False
    steps, values = (np.array(column, dtype=np.float64) for column in zip(*errors, strict=True))
    steps -= steps.mean()
    spread = float((steps**2).sum())
    slope = float((steps * values).sum()) / spread
    rest = values - values.mean() - slope * steps
    standard_error = float(np.sqrt((rest**2).sum() / (len(values) - 2) / spread))
    return -ratio * slope <= standard_error
