"""The learning rate as a pure function of the step; knows no optimiser."""

from __future__ import annotations

import math

from eorestore.config import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The rate of update number `step`, counted from 0.

    Update s of the first w = `warmup` has (s + 1) / w of the full rate. After them, with t updates gone of n
    = steps - warmup: `cosine` is final + (1 - final) (1 + cos(pi t / n)) / 2 (Loshchilov and Hutter 2017, without
    restarts), `step` is step_factor ** (t // step_every), `constant` is 1, each times `learning_rate`.
    """
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    gone = step - settings.warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "step":
        return settings.learning_rate * settings.step_factor ** (gone // settings.step_every)
    share = min(1.0, gone / max(1, settings.steps - settings.warmup))
    swing = (1 + math.cos(math.pi * share)) / 2
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * swing)
