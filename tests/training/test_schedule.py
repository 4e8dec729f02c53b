from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR, StepLR

from eorestore.config import TrainingSettings
from eorestore.training.schedule import learning_rate


def rates_of_torch(settings: TrainingSettings) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=settings.learning_rate)
    length = settings.steps - settings.warmup
    after: LRScheduler = {
        "cosine": lambda: CosineAnnealingLR(optimizer, length, eta_min=settings.final_rate * settings.learning_rate),
        "step": lambda: StepLR(optimizer, settings.step_every, settings.step_factor),
        "constant": lambda: ConstantLR(optimizer, factor=1.0),
    }[settings.schedule]()
    scheduler: LRScheduler = after
    if settings.warmup:
        rise = LinearLR(optimizer, start_factor=1 / settings.warmup, total_iters=settings.warmup - 1)
        scheduler = SequentialLR(optimizer, [rise, after], milestones=[settings.warmup])
    rates = []
    for _ in range(settings.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
@pytest.mark.parametrize("warmup", [0, 7])
def test_every_rate_is_that_of_the_torch_scheduler(schedule: str, warmup: int) -> None:
    settings = TrainingSettings(
        steps=60, learning_rate=3e-3, warmup=warmup, schedule=schedule, final_rate=0.05, step_every=11, step_factor=0.4
    )
    ours = [learning_rate(settings, step) for step in range(settings.steps)]
    assert ours == pytest.approx(rates_of_torch(settings), rel=1e-9)


def test_a_cosine_ends_at_the_final_rate_and_stays_there() -> None:
    settings = TrainingSettings(steps=10, learning_rate=1.0, final_rate=0.25)
    assert learning_rate(settings, 10) == learning_rate(settings, 99) == pytest.approx(0.25)
