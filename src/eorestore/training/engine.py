"""A model, its averaged copy, the optimiser and the adversary on their device, by Accelerate; knows no schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from eorestore.config import AdversaryConfig, TrainingSettings
from eorestore.models.model import Model
from eorestore.training.adversary import Adversary
from eorestore.training.state import Progress, Trained, load_state, save_state
from eorestore.training.step import Batch, forward_names, predictor

Tensors = tuple[Tensor, ...] | list[Tensor]


class Engine:
    """Holds what an update changes.

    predict, predict_final: the model in training, and the one that is validated and kept: the averaged weights
        where there are any.
    adversary: what is trained against the model, if anything is.
    """

    def __init__(
        self,
        model: Model,
        settings: TrainingSettings,
        *,
        sample: Batch,
        project_dir: Path,
        seed: int,
        adversary: AdversaryConfig | None = None,
    ) -> None:
        self.accelerator = Accelerator(
            mixed_precision="no",  # autocast is entered at each call of a model, the averaged one included
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=settings.accumulate, sync_with_dataloader=False
            ),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            log_with=list(settings.trackers) or None,
            project_dir=project_dir,
        )
        self._settings = settings
        self._layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        names = forward_names(model, sample)
        self.model = model.to(self.device)
        if settings.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self._averaged = _averaged(model, settings.ema)
        self.final: Model = model if self._averaged is None else cast(Model, self._averaged.module)
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._weights,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self._parallel, self._stepper = self.accelerator.prepare(model, self._optimizer)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bf16")
        self.predict = predictor(self._parallel, names, autocast=autocast)
        self.predict_final = predictor(self.final, names, autocast=autocast)
        self.adversary: Adversary | None = None
        if adversary is not None:
            self.adversary = Adversary(
                adversary, settings, sample=sample, names=names, seed=seed, device=self.device, average=self._mean
            )

    @property
    def device(self) -> torch.device:
        """Where the model stands."""
        device: torch.device = self.accelerator.device
        return device

    def place(self, batch: Batch) -> dict[str, Tensor]:
        """The batch on the device and in the memory format of the model."""
        return {
            name: value.to(self.device, non_blocking=True, memory_format=self._layout)
            if value.ndim == 4
            else value.to(self.device, non_blocking=True)
            for name, value in batch.items()
        }

    def accumulating(self) -> AbstractContextManager[Any]:
        """Around each of the `accumulate` backward passes of an update."""
        context: AbstractContextManager[Any] = self.accelerator.accumulate(self._parallel)
        return context

    def clip(self) -> Tensor:
        """The gradient norm before it was clipped."""
        norm: Tensor = self.accelerator.clip_grad_norm_(self._weights, self._settings.gradient_clip or math.inf)
        return norm

    def update(self, rate: float) -> None:
        """One optimiser update at that learning rate, then the averaged weights follow."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._stepper.step()
        self._stepper.zero_grad()
        if self._averaged is not None:
            self._averaged.update_parameters(self.model)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        summed: Tensor = self.accelerator.reduce(values, "sum")
        return summed

    def save(self, folder: Path, progress: Progress) -> None:
        """See save_state."""
        save_state(
            folder,
            progress,
            model=self.model,
            optimizer=self._optimizer,
            averaged=self._averaged,
            discriminator=self._discriminator,
        )

    def load(self, folder: Path, identity: Mapping[str, Any]) -> Progress | None:
        """See load_state."""
        return load_state(
            folder,
            model=self.model,
            optimizer=self._optimizer,
            averaged=self._averaged,
            discriminator=self._discriminator,
            identity=identity,
        )

    @property
    def _discriminator(self) -> Trained | None:
        rival = self.adversary
        return None if rival is None else Trained(rival.discriminator, rival.optimizer)

    def _mean(self, values: Tensor) -> Tensor:
        averaged: Tensor = self.accelerator.reduce(values, "mean")
        return averaged


def _averaged(model: Model, decay: float) -> AveragedModel | None:
    if not decay:
        return None

    @torch.no_grad()
    def follow(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        # A plain average holds decay^n of the first weights after n updates: after 80 at 0.995, two thirds of a network
        # that was not trained. So the average begins short and lengthens up to `decay`.
        done = float(updates)
        kept = min(decay, (1 + done) / (10 + done))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - kept)
        else:
            for mean, now in zip(averaged, current, strict=True):
                mean.copy_(now)

    return AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
