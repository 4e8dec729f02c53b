"""FLOPs of a model, forward and in a training step; knows no task, no file and no clock but its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from eorestore.models.model import Model, Output
from eorestore.models.parts import example_inputs

Losses = Callable[[Output, Mapping[str, Tensor]], tuple[Tensor, Mapping[str, Tensor]]]


@dataclass(frozen=True)
class TrainingCost:
    """One training step of a model.

    parameters: all of them, frozen ones included. flops: of the model's forward and backward pass over the batch,
    2 x MAC of convolutions and matrix products; the loss, with any network in it, is not counted.
    seconds: of forward, loss and backward, once.
    """

    parameters: int
    flops: int
    seconds: float


def parameter_count(model: Model) -> int:
    """All parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())


def forward_flops(model: Model, inputs: Mapping[str, Tensor]) -> int:
    """FLOPs (2 x MAC) of convolutions and matrix products in one forward pass."""
    with torch.inference_mode(), _counter() as counter:
        model(**inputs)
    return int(counter.get_total_flops())


def training_cost(model: Model, losses: Losses, *, crop: int, batch: int) -> TrainingCost:
    """What one training step of `model` costs, by running it on random input; weights stay as they are.

    The gradient that enters the model is the loss's own, so a part that no loss reaches costs no backward pass.
    Raises what the losses raise, MissingError among it.
    """
    inputs = example_inputs(model, height=crop, width=crop, batch=batch)
    was_training = model.training
    model.train()
    with torch.random.fork_rng(devices=[]):
        with _counter() as forward:
            output: Output = model(**inputs)
        ends, gradients = _loss_gradients(output, losses, _made_up_batch(output, inputs))
        with _counter() as backward:
            if ends:
                torch.autograd.backward(ends, gradients)
        began = time.perf_counter()
        output = model(**inputs)
        ends, gradients = _loss_gradients(output, losses, _made_up_batch(output, inputs))
        if ends:
            torch.autograd.backward(ends, gradients)
        seconds = time.perf_counter() - began
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    flops = int(forward.get_total_flops() + backward.get_total_flops())
    return TrainingCost(parameter_count(model), flops, seconds)


def _counter() -> FlopCounterMode:
    return FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward_flops}
    )


def _convolution_backward_flops(
    grad_shape: Sequence[int],
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: int,
    output_mask: Sequence[bool],
    **_: object,
) -> int:
    """Each of the two gradients costs what the forward pass does.

    torch's own formula takes the weight gradient of a grouped convolution for that of a full one, which makes a
    depthwise layer `groups` times too dear.
    """
    positions = math.prod((x_shape if transposed else grad_shape)[2:])
    forward = 2 * x_shape[0] * positions * math.prod(weight_shape)
    return forward * (int(output_mask[0]) + int(output_mask[1]))


def _made_up_batch(output: Output, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a loss may ask for, of the right shapes."""
    image = output.image.detach()
    count, _, height, width = image.shape
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(count, 1, height, width)
    mask[..., : width // 2] = 1
    return {
        "cloudy": torch.rand(image.shape, generator=generator),
        "sar": torch.rand(count, 2, height, width, generator=generator),
        "mask": mask,
        "target": torch.rand(image.shape, generator=generator),
        "valid": torch.ones(count, 1, height, width, dtype=torch.bool),
        "cloud": mask > 0.5,
        "shadow": torch.zeros(count, 1, height, width, dtype=torch.bool),
        **inputs,
    }


def _loss_gradients(output: Output, losses: Losses, batch: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that the loss reaches and its gradients there."""
    found = {"": output.image, **output.extras}
    ends = {name: value for name, value in found.items() if value.requires_grad}
    leaves = {name: value.detach().requires_grad_() for name, value in ends.items()}
    seen = {name: leaves.get(name, value) for name, value in found.items()}
    total, _ = losses(Output(seen[""], {name: value for name, value in seen.items() if name}), batch)
    if not leaves:
        return [], []
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    reached = [(end, gradient) for end, gradient in zip(ends.values(), gradients, strict=True) if gradient is not None]
    return [end for end, _ in reached], [gradient for _, gradient in reached]
