"""What a model is made of and what it costs, and inputs of any size to try it with; knows no particular model."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eorestore.models.model import Model, SceneSample

_PERTURBATION = 0.02  # moves zero-initialised layers off zero, small beside an initial weight


@dataclass(frozen=True)
class Part:
    """Number of parameters of one part; `total` = trainable + frozen.

    without_gradient: trainable parameters in tensors that a backward pass leaves without any gradient.
    """

    name: str
    total: int
    trainable: int
    frozen: int
    without_gradient: int


def parameters_by_part(model: Model) -> tuple[Part, ...]:
    """The parameters of each part, the model's direct children, in order.

    The gradient is measured by one backward pass through a copy whose parameters are all perturbed, since a
    zero-initialised layer blocks the gradient of those before it.
    """
    reached = _reached_by_gradient(model)
    parts: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        parts.setdefault(name.split(".")[0], []).append((name, parameter))
    return tuple(
        Part(
            name=part,
            total=sum(parameter.numel() for _, parameter in members),
            trainable=sum(parameter.numel() for _, parameter in members if parameter.requires_grad),
            frozen=sum(parameter.numel() for _, parameter in members if not parameter.requires_grad),
            without_gradient=sum(
                parameter.numel() for name, parameter in members if parameter.requires_grad and name not in reached
            ),
        )
        for part, members in parts.items()
    )


def multiply_adds(model: Model, *, height: int, width: int) -> int:
    """Multiply-adds (MACs) of one image of that size in convolutions, linear maps and attention, `prepare` left out.

    Work element by element is not counted, the dynamic filters of GLF-CR (0.1 % of it) among it. Nothing is computed:
    tensors without memory pass through the model, so the largest size takes seconds. height and width are multiples
    of the model's `multiple_of`.
    """
    inputs = example_inputs(model, height=height, width=width)
    shape_of = copy.deepcopy(model).eval().to("meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shape_of(**{name: value.to("meta") for name, value in inputs.items()})
    return int(counter.get_total_flops()) // 2


def example_inputs(model: Model, *, height: int, width: int, batch: int = 1, seed: int = 0) -> dict[str, Tensor]:
    """Random normalised inputs for every keyword that the model's forward needs, `mask`, and what `prepare` adds.

    The left half is masked, and all items of a batch belong to one scene.
    """
    generator = torch.Generator().manual_seed(seed)
    bands: int = getattr(model.settings, "bands", 13)
    channels = {"cloudy": bands, "sar": getattr(model.settings, "sar_bands", 2), "estimate": bands}
    features: tuple[int, ...] = getattr(model.settings, "feature_channels", ())
    channels |= {"low": bands, "multispectral": bands} | ({"features": sum(features)} if features else {})
    inputs = {name: torch.rand(batch, count, height, width, generator=generator) for name, count in channels.items()}
    enlarged = (getattr(model.settings, "experts", 1), bands, model.scale * height, model.scale * width)
    inputs["experts"] = torch.rand(batch, *enlarged, generator=generator)
    guide_bands: int = getattr(model.settings, "guide_bands", 0)
    if guide_bands:
        size = (batch, guide_bands, model.scale * height, model.scale * width)
        inputs["guide"] = torch.rand(*size, generator=generator)
    inputs["mask"] = torch.zeros(batch, 1, height, width)
    inputs["mask"][..., : width // 2] = 1
    prepared: Mapping[str, Tensor] = {}
    if model.needs_scene:
        scene = {name: inputs[name][:1] for name in ("cloudy", "sar", "mask", "low", "multispectral")}
        learned = model.prepare(SceneSample(overview=scene, windows=(scene,)))
        maps = {name: value.expand(batch, -1, -1, -1) for name, value in learned.maps.items()}
        prepared = maps | {name: value[None] for name, value in learned.constants.items()}
    wanted = inspect.signature(model.forward).parameters.values()
    optional = {parameter.name for parameter in wanted if parameter.default is not parameter.empty}
    names = {parameter.name for parameter in wanted} - (
        set() if model.needs_scene else optional - {"mask", "features", "guide"}
    )
    return {name: value for name, value in (inputs | dict(prepared)).items() if name in names}


def _reached_by_gradient(model: Model) -> set[str]:
    trial = copy.deepcopy(model).cpu().float().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trial.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=_PERTURBATION)
    if not any(parameter.requires_grad for parameter in trial.parameters()):
        return set()
    side = max(trial.multiple_of, 16)
    with torch.enable_grad():
        output = trial(**example_inputs(trial, height=side, width=side))
        size = torch.stack([value.square().mean() for value in (output.image, *output.extras.values())]).sum()
        torch.autograd.backward(size)
    return {name for name, value in trial.named_parameters() if value.grad is not None and bool(value.grad.ne(0).any())}
