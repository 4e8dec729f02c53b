"""A discriminator trained in turn with the model, inside the same update; knows no task and no loop.

One update: the model's losses get a term, `weight` times what the discriminator thinks of the restored images; once the
model has its gradient, the discriminator gets its own from the same images; then both move (Goodfellow et al. 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from eorestore.config import AdversaryConfig, TrainingSettings
from eorestore.errors import ConfigError, TrainingError
from eorestore.losses.adversarial import discriminator_loss, generator_loss
from eorestore.losses.weighted import WeightedSum
from eorestore.models.model import Output
from eorestore.models.patch_discriminator import PatchDiscriminator, PatchDiscriminatorSettings
from eorestore.training.step import Batch, Losses

TERM = "adversarial"
CONDITIONS = ("cloudy", "sar")
_BETAS = (0.5, 0.999)  # of pix2pix and of most adversarial trainings since


class _Pair(NamedTuple):
    """The images of a batch, as the discriminator sees them: with what is seen beside them."""

    real: Tensor
    fake: Tensor


class Adversary:
    """A patch discriminator, its optimiser, and the images of the last batch.

    Where a pixel is not valid both images hold the target, so nothing is learned there.

    Args:
        config: see AdversaryConfig.
        settings: those of the model's training: clipping, precision, memory format.
        sample: one training item, for its bands and size.
        names: what the model sees of a batch.
        seed: of the first weights; the global random state is left as it was.
        device: where the batches are.
        average: the mean of a tensor over all processes.

    Raises:
        TrainingError: nothing to condition on.
        ConfigError: samples smaller than a patch.
    """

    def __init__(
        self,
        config: AdversaryConfig,
        settings: TrainingSettings,
        *,
        sample: Batch,
        names: tuple[str, ...],
        seed: int,
        device: torch.device,
        average: Callable[[Tensor], Tensor],
    ) -> None:
        self.config = config
        self._settings = settings
        self._average = average
        self._conditions = tuple(name for name in CONDITIONS if name in names and name in sample and config.condition)
        if config.condition and not self._conditions:
            raise TrainingError(
                f"the adversary is to see {' or '.join(CONDITIONS)}; the model takes {', '.join(names)}",
                fix="set adversary.condition=false",
            )
        bands = sum(sample[name].shape[0] for name in ("target", *self._conditions))
        shape = PatchDiscriminatorSettings(bands=bands, channels=config.channels, layers=config.layers)
        side = min(sample["target"].shape[-2:])
        if side < shape.least_side:
            raise ConfigError(
                f"the adversary needs images of {shape.least_side} pixels a side with layers {config.layers}; the "
                f"training's have {side}",
                fix="lower adversary.layers or raise data.crop",
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = PatchDiscriminator(shape)
        self.discriminator.to(device)
        if settings.channels_last:
            self.discriminator.to(memory_format=torch.channels_last)
        self._weights = list(self.discriminator.parameters())
        self.optimizer = torch.optim.AdamW(self._weights, lr=config.learning_rate, betas=_BETAS, weight_decay=0.0)
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")
        self._last: _Pair | None = None

    def joins(self, step: int) -> bool:
        """Whether the adversary takes part in update `step`, counted from 0."""
        return step >= self.config.start_step

    def added_to(self, losses: Losses) -> Losses:
        """`losses` and the adversarial term."""
        return WeightedSum({**losses.losses, TERM: self.loss}, {**losses.weights, TERM: self.config.weight})

    def loss(self, output: Output, batch: Batch, /) -> Tensor:
        """What the model is to make small; the images are kept for the discriminator's turn."""
        pair = self._pair(output.image, batch)
        self._last = _Pair(pair.real, pair.fake.detach())
        # The discriminator has its turn later; until then it only passes the gradient on.
        self.discriminator.requires_grad_(requires_grad=False)
        return generator_loss(self._scores(pair.fake), kind=self.config.kind)

    def learn(self) -> Tensor:
        """Add the gradient of the discriminator's loss on the images of the last batch; the loss, without gradient."""
        if self._last is None:
            raise TrainingError(
                "the discriminator has seen no images", fix="call the adversary's loss before it learns"
            )
        self.discriminator.requires_grad_(requires_grad=True)
        real, fake = (self._scores(image) for image in self._last)
        self._last = None
        total = discriminator_loss(real, fake, kind=self.config.kind)
        torch.autograd.backward(total / self._settings.accumulate)
        return total.detach()

    def clip(self) -> Tensor:
        """The gradient's norm before it was clipped, after it was averaged over all processes."""
        for weight in self._weights:
            if weight.grad is not None:
                weight.grad.copy_(self._average(weight.grad))
        return torch.nn.utils.clip_grad_norm_(self._weights, self._settings.gradient_clip or math.inf)

    def update(self, share: float) -> None:
        """One update of the discriminator, at `share` of its learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = share * self.config.learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _pair(self, image: Tensor, batch: Batch) -> _Pair:
        valid = batch["valid"]
        real = torch.where(valid, batch["target"], torch.nan_to_num(batch["target"], posinf=0.0, neginf=0.0))
        fake = torch.where(valid, image, real)
        # A band that is missing is NaN throughout; to the discriminator it is 0.
        beside = [torch.nan_to_num(batch[name]) for name in self._conditions]
        return _Pair(torch.cat([real, *beside], dim=1), torch.cat([fake, *beside], dim=1))

    def _scores(self, seen: Tensor) -> Tensor:
        with self._autocast:
            scores: Tensor = self.discriminator(seen)
        return scores.float()


def smoke_adversary(config: AdversaryConfig | None) -> AdversaryConfig | None:
    """The same adversary, in from the second step, so that a training of three steps sees it come."""
    return None if config is None else replace(config, start_step=min(config.start_step, 1))
