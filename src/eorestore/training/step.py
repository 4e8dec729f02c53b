"""One training step, and the check that stops a run at the first value that is not finite; knows no optimiser."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from eorestore.errors import TrainingError
from eorestore.losses.weighted import WeightedSum
from eorestore.models.model import Output

Batch = Mapping[str, Tensor]
Losses = WeightedSum[[Output, Batch]]
Predict = Callable[[Batch], Output]

_LEAST_ANSWER = 1e-3  # of the target's deviation


class Step(Protocol):
    """What a batch teaches: (predict, batch, losses) -> the loss to minimise and its terms by name."""

    def __call__(self, predict: Predict, batch: Batch, losses: Losses, /) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, with its gradient, and every term without."""
        ...


def default_step(predict: Predict, batch: Batch, losses: Losses, /) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the losses."""
    return losses(predict(batch), batch)


def predictor(model: nn.Module, names: tuple[str, ...], *, autocast: torch.autocast) -> Predict:
    """A call of `model` with those entries of a batch that its forward names; the result is float32."""

    def predict(batch: Batch) -> Output:
        with autocast:
            output: Output = model(**{name: batch[name] for name in names if name in batch})
        extras = {name: value.float() for name, value in output.extras.items()}
        return Output(output.image.float(), extras)

    return predict


def forward_names(model: nn.Module, sample: Batch) -> tuple[str, ...]:
    """The keywords of the model's forward. Raises TrainingError where `sample` lacks one that has no default."""
    parameters = inspect.signature(type(model).forward).parameters.values()
    wanted = [item for item in parameters if item.kind is inspect.Parameter.KEYWORD_ONLY]
    missing = [item.name for item in wanted if item.default is inspect.Parameter.empty and item.name not in sample]
    if missing:
        raise TrainingError(
            f"{type(model).__name__} takes {', '.join(missing)}; the samples hold {', '.join(sorted(sample))}",
            fix="choose a model or a task that fit each other",
        )
    return tuple(item.name for item in wanted)


def check_finite(total: Tensor, terms: Batch, batch: Batch, *, step: int, epoch: int, items: list[int]) -> None:
    """Raises TrainingError naming step, items, terms and batch entries where the loss is NaN or infinite."""
    if bool(torch.isfinite(total)):
        return
    bad_terms = [name for name, term in terms.items() if not bool(torch.isfinite(term))] or ["the sum"]
    bad_inputs = [
        name for name, value in batch.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    cause = f"; {', '.join(bad_inputs)} of the batch hold NaN or infinite values" if bad_inputs else ""
    raise TrainingError(
        f"loss {', '.join(bad_terms)} is {total.item()} at step {step} (epoch {epoch}, items {items}){cause}",
        fix="look at those items" if bad_inputs else "lower training.learning_rate, or set training.precision=fp32",
    )


def check_gradient(norm: Tensor, *, step: int, epoch: int, items: list[int]) -> None:
    """Raises TrainingError where the gradient norm is NaN or infinite, before it reaches the weights."""
    if not bool(torch.isfinite(norm)):
        raise TrainingError(
            f"the gradient norm is {norm.item()} at step {step} (epoch {epoch}, items {items})",
            fix="lower training.learning_rate, or find the loss whose gradient is not finite there",
        )


def answers_of(image: Tensor, batch: Batch) -> Tensor:
    """How many items of a batch have an image (batch, band, y, x) that depends on what went in, and of how many.

    What all items share is taken off, since zero padding alone draws a pattern at the edges; what is left of an image
    must vary over its valid pixels (all, where the batch has no `valid`) by a thousandth of what its target varies by.
    One item alone cannot be judged and is not counted, nor is one whose target is constant, or that has none.
    """
    if image.shape[0] < 2 or "target" not in batch:
        return torch.zeros(2, dtype=torch.int64, device=image.device)
    valid = batch.get("valid", torch.ones_like(image[:, :1], dtype=torch.bool))
    spread = [_deviation(values - values.mean(dim=0), valid) for values in (image, batch["target"])]
    judged = spread[1] > 0
    return torch.stack([(judged & (spread[0] > _LEAST_ANSWER * spread[1])).sum(), judged.sum()])


def check_answers(answers: Tensor, *, step: int) -> None:
    """Raises TrainingError where none of the items that `answers_of` could judge depends on what went in."""
    depend, judged = answers.tolist()
    if judged and not depend:
        raise TrainingError(
            f"the output turned constant: after step {step} it is the same whatever goes in",
            fix="lower training.learning_rate, add training.warmup, or start from the weights of another run",
        )


def _deviation(values: Tensor, valid: Tensor) -> Tensor:
    """Standard deviation over bands and valid pixels of every item."""
    seen = valid.expand(values.shape)
    count = seen.sum(dim=(1, 2, 3)).clamp_min(1)
    known = torch.where(seen, values, values.new_zeros(()))
    mean = known.sum(dim=(1, 2, 3)) / count
    squares = torch.where(seen, known - mean[:, None, None, None], values.new_zeros(())).square()
    return (squares.sum(dim=(1, 2, 3)) / count).sqrt()
