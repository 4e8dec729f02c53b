"""Tensors through a model: padding, precision, self-ensemble, and maps seen at a window; knows no file and no scene."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eorestore.errors import DataError, UsageError
from eorestore.models.model import Model, Output
from eorestore.raster import Window
from eorestore.tiling.ensembling import self_ensemble


@dataclass(frozen=True)
class Execution:
    """How a model is run. precision: fp32 or bf16 (autocast). tta: mean over eight flips and turns."""

    batch: int = 4
    device: str = "cpu"
    precision: str = "fp32"
    tta: bool = False


def forward_keywords(model: Model) -> tuple[str, ...]:
    """Names of the keywords of a model's forward."""
    return tuple(inspect.signature(model.forward).parameters)


def run_model(
    model: Model, inputs: Mapping[str, Tensor], execution: Execution, *, extras: Sequence[str] = ()
) -> Tensor:
    """The restored image (batch, band, y, x) as float32 on the CPU, and behind its bands those of the named extras.

    Pads to `multiple_of` and crops. Raises UsageError for a keyword that forward does not take, DataError for an
    extra that is not as the model declares it.
    """
    unknown = set(inputs) - set(forward_keywords(model))
    if unknown:
        raise UsageError(f"the model takes no {', '.join(sorted(unknown))}", fix="check processor and prepare")
    height, width = next(value.shape[-2:] for value in inputs.values() if value.ndim == 4)
    padded = {
        key: _pad(value, model.multiple_of, (height, width)).to(execution.device) for key, value in inputs.items()
    }
    kind = torch.device(execution.device).type
    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=execution.precision == "bf16"):

        def forward(batch: Mapping[str, Tensor]) -> Tensor:
            return _stacked(model(**batch), extras, declared=model.extras)

        image = self_ensemble(forward, padded) if execution.tta else forward(padded)
    return image[..., : height * model.scale, : width * model.scale].float().cpu()


def is_finite(image: Tensor) -> bool:
    """Whether every value is. A sum in NumPy tells far sooner, unless finite values overflow it."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(image.numpy(), axis=None)
    return bool(np.isfinite(total)) or bool(torch.isfinite(image).all())


def sample_map(scene_map: Tensor, window: Window, factor: int) -> Tensor:
    """A map (1, band, y, x) over the overview, seen at a window of the scene: cut out, or interpolated linearly."""
    if factor == 1:
        return scene_map[..., window.rows, window.columns]
    height, width = scene_map.shape[-2:]
    rows = 2 * (torch.arange(window.row, window.row + window.height) + 0.5) / (height * factor) - 1
    columns = 2 * (torch.arange(window.column, window.column + window.width) + 0.5) / (width * factor) - 1
    down, across = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([across, down], dim=-1)[None].to(scene_map.dtype)
    return F.grid_sample(scene_map, places, mode="bilinear", padding_mode="border", align_corners=False)


def _stacked(output: Output, extras: Sequence[str], *, declared: Mapping[str, int]) -> Tensor:
    if not extras:
        return output.image
    for name in extras:
        found = output.extras.get(name)
        if found is None or found.shape[1] != declared[name] or found.shape[-2:] != output.image.shape[-2:]:
            shape = "nothing" if found is None else tuple(found.shape)
            raise DataError(
                f"the model gave {shape} as {name} of an image of {tuple(output.image.shape)}",
                fix=f"correct `extras` of the model, which says {declared[name]} bands",
            )
    return torch.cat([output.image.float(), *(output.extras[name].float() for name in extras)], dim=1)


def _pad(value: Tensor, multiple: int, size: tuple[int, int]) -> Tensor:
    bottom, right = -size[0] % multiple, -size[1] % multiple
    if value.ndim != 4 or value.shape[-2:] != size or (bottom == 0 and right == 0):
        return value
    reflects = bottom < size[0] and right < size[1]
    return F.pad(value, (0, right, 0, bottom), mode="reflect" if reflects else "replicate")
