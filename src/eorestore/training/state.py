"""Everything that a training needs to resume exactly: tensors as safetensors, the rest as JSON, in one folder a step.

```
state/step-00000500/  state.json  weights.safetensors  optimizer.safetensors  averaged.safetensors
                      discriminator.safetensors  discriminator-optimizer.safetensors
```
A folder is written under another name, flushed to the disk and renamed; the one before goes only then.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eorestore.errors import TrainingError, WriteError

FORMAT = 1
_DISCRIMINATOR = "discriminator.safetensors"
_DISCRIMINATOR_OPTIMIZER = "discriminator-optimizer.safetensors"


@dataclass(frozen=True)
class Ranked:
    """A kept checkpoint: the step it stands at and its validation score."""

    step: int
    score: float


@dataclass(frozen=True)
class Progress:
    """Where a training stands, besides its tensors.

    step: optimiser updates done; the data position follows from it. best: the kept checkpoints, best first.
    seconds: time spent training. identity: what must be equal on resuming, lest the run be another one.
    """

    step: int
    best: tuple[Ranked, ...]
    seconds: float
    identity: Mapping[str, Any]


class Trained(NamedTuple):
    """A network and the optimiser of its parameters."""

    network: nn.Module
    optimizer: torch.optim.Optimizer


def save_state(
    folder: Path,
    progress: Progress,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    averaged: nn.Module | None,
    discriminator: Trained | None = None,
) -> Path:
    """Write folder/step-N atomically, then remove older ones. Raises WriteError."""
    target = folder / f"step-{progress.step:08d}"
    partial = folder / f".{target.name}.partial"
    values = asdict(progress) | {"identity": dict(progress.identity), "format": FORMAT}
    try:
        for torn in folder.glob(".step-*"):
            remove_folder(torn)
        partial.mkdir(parents=True)
        _write_tensors(partial / "weights.safetensors", model.state_dict())
        _write_tensors(partial / "optimizer.safetensors", _flatten(model, optimizer))
        if averaged is not None:
            _write_tensors(partial / "averaged.safetensors", averaged.state_dict())
        if discriminator is not None:
            _write_tensors(partial / _DISCRIMINATOR, discriminator.network.state_dict())
            _write_tensors(partial / _DISCRIMINATOR_OPTIMIZER, _flatten(*discriminator))
        (partial / "state.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
        replace_folder(partial, target)
        for old in _steps(folder)[:-1]:
            remove_folder(old)
    except OSError as error:
        raise WriteError(
            f"the training state could not be written to {folder}: {error.strerror or error}",
            fix="make room on the disk, then go on with --resume",
        ) from error
    return target


def load_state(
    folder: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    averaged: nn.Module | None,
    identity: Mapping[str, Any],
    discriminator: Trained | None = None,
) -> Progress | None:
    """Bring model, optimiser, averaged weights and discriminator to the newest state in `folder`; None without one.

    Raises TrainingError where the state is of another run or cannot be read.
    """
    steps = _steps(folder)
    if not steps:
        return None
    newest = steps[-1]
    values = json.loads((newest / "state.json").read_text(encoding="utf-8"))
    if values["format"] != FORMAT:
        raise TrainingError(
            f"{newest} has state format {values['format']}; this version reads {FORMAT}",
            fix="resume with the version that began the run",
        )
    before = values["identity"]
    other = [key for key, value in identity.items() if key in before and before[key] != value]
    if other:
        found = ", ".join(f"{key} was {before[key]}, now {identity[key]}" for key in other)
        raise TrainingError(f"the run in {folder.parent} is another one: {found}", fix="start it under another --name")
    try:
        model.load_state_dict(load_file(newest / "weights.safetensors"))
        _unflatten(model, optimizer, load_file(newest / "optimizer.safetensors"))
        if averaged is not None:
            averaged.load_state_dict(load_file(newest / "averaged.safetensors"))
        if discriminator is not None:
            discriminator.network.load_state_dict(load_file(newest / _DISCRIMINATOR))
            _unflatten(*discriminator, load_file(newest / _DISCRIMINATOR_OPTIMIZER))
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise TrainingError(
            f"{newest} does not fit this run: {' '.join(str(error).split())}",
            fix="start afresh under another --name",
        ) from error
    best = tuple(Ranked(**row) for row in values["best"])
    return Progress(values["step"], best, values["seconds"], values["identity"])


def replace_folder(partial: Path, target: Path) -> None:
    """Flush `partial` to the disk and rename it to `target`; an older `target` stands until then."""
    for path in [*partial.rglob("*"), partial]:
        _flush(path)
    old = target.with_name(f".{target.name}.old")
    remove_folder(old)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    _flush(target.parent)
    remove_folder(old)


def remove_folder(folder: Path) -> None:
    """Remove what a process that was killed left behind, if there is any."""
    if folder.exists():
        shutil.rmtree(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # cloned, since safetensors refuses tensors that share memory and channels_last ones
    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    save_file(plain, path)


def _flatten(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}.{names[parameter]}": value
        for parameter, entries in optimizer.state.items()
        for key, value in entries.items()
    }


def _unflatten(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    optimizer.state.clear()
    for flat, value in tensors.items():
        key, name = flat.split(".", 1)
        parameter = parameters[name]
        # moments in the parameter's memory format, since another order of elements may round differently;
        # the count of steps stays on the CPU, where the optimiser made it
        entry = value if key == "step" else torch.empty_like(parameter).copy_(value)
        optimizer.state[parameter][key] = entry
