"""A network learns from one scene how to enlarge it, and is judged on what it did not see; knows no file.

Internal learning (ZSSR: Shocher, Cohen, Irani, CVPR 2018): the sensor's operator makes the scene coarser, the network
learns the way back, and the same way is then taken once more from the scene itself.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from eorestore.data.single_scene import PairSettings, Piece, ScenePairs, plan_degradation, sensor_degradation
from eorestore.errors import TrainingError
from eorestore.layers.sensor import observe, project
from eorestore.losses.detail import detail_loss
from eorestore.losses.pixel import mse
from eorestore.models.model import Model, Output
from eorestore.models.scene_enlargement import SceneEnlargement, Stages
from eorestore.processing.sensor import Sensor
from eorestore.restorer.zero_shot_recipe import LearningRecipe

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]

_EXPLOSIONS = 3  # in a row
_RIM = 2  # coarse pixels at an edge that are not judged: nothing is known of what lies behind it
_SHARES = 20  # steps of the share of the network that is tried
_DOUBT = 6  # coarse pixels that speak for bicubic enlargement before any is judged


@dataclass(frozen=True)
class Judgement:
    """Errors on squares of the scene that were no target, in its own scale: root mean squares.

    bicubic: of projected bicubic enlargement. network: of the network's projected image. blend: of the best blend of
    both. share: of the network in it. pixels: that were judged.
    """

    bicubic: float
    network: float
    blend: float
    share: float
    pixels: int

    @property
    def gain(self) -> float:
        """Share of the bicubic error that the blend takes away."""
        return 0.0 if self.bicubic <= 0 else 1 - self.blend / self.bicubic


@dataclass(frozen=True)
class Learned:
    """The network, and what is to be said of how it came about.

    kept_step: whose weights were kept, 0 for those that came. steps: that were taken. stopped: why, where not at the
    end. before, after: what was judged; None where nothing was left to judge.
    """

    network: Model
    kept_step: int
    steps: int
    stopped: str | None
    seconds: float
    crop: int
    before: Judgement | None
    after: Judgement | None
    history: tuple[Mapping[str, float], ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {
            "steps": self.steps,
            "kept_step": self.kept_step,
            "stopped": self.stopped,
            "crop": self.crop,
            "seconds": round(self.seconds, 3),
        }


def learn_scene(
    network: Model,
    pieces: Sequence[Piece],
    recipe: LearningRecipe,
    *,
    stages: Stages,
    generator: np.random.Generator,
    progress: Progress | None = None,
) -> Learned:
    """A copy of `network` after it learned from the pieces; the same for the same generator.

    Args:
        network: enlarges one band by its own scale; it is not changed.
        pieces: of the scene, scaled, one band each.
        recipe: with its automatic numbers filled in.
        stages: how the scene will be enlarged; judged in the same way.
        generator: of crops, turns and noise.
        progress: is given (steps done, steps).

    Raises:
        DataError: too few pixels to learn from.
        TrainingError: the loss is not finite from the first step on.
    """
    with _threads(1 if in_bf16(recipe) else torch.get_num_threads()):
        return _learned(network, pieces, recipe, stages=stages, generator=generator, progress=progress)


def judge_scene(network: Model, pieces: Sequence[Piece], stages: Stages) -> Judgement | None:
    """How a network does on the held-back squares of a scene made coarser; None where nothing is left to judge."""
    return _Judge(pieces, stages)(network)


class Case(NamedTuple):
    """A piece made coarser, and where what comes back is judged.

    image: (1, band, factor * y, factor * x). low: (1, band, y, x). chosen, valid: bool, and guide: (1, band, ...), of
    the size of the image.
    """

    image: Tensor
    low: Tensor
    chosen: Tensor
    guide: Tensor | None
    valid: Tensor


def held_back_cases(pieces: Sequence[Piece], stages: Stages, *, judged: bool = True, rim: int = _RIM) -> list[Case]:
    """The pieces with anything to judge, made coarser by the whole factor.

    judged: what was held back, or all that is valid. rim: coarse pixels at the edges that are left out.
    """
    factor, found = stages.factor, []
    for piece in pieces:
        height, width = (side // factor * factor for side in piece.size)
        if min(height, width) // factor < 2 * rim + 2:
            continue
        image = piece.image[None, :, :height, :width]
        chosen = (piece.valid & piece.judged if judged else piece.valid)[:height, :width].clone()
        edge = rim * factor
        chosen[:edge], chosen[-edge:], chosen[:, :edge], chosen[:, -edge:] = False, False, False, False
        if bool(chosen.any()):
            low = observe(image, stages.sensor, factor=factor)
            guide = None if piece.guide is None else piece.guide[None, :, :height, :width]
            found.append(Case(image, low, chosen, guide, piece.valid[:height, :width]))
    return found


def _learned(
    network: Model,
    pieces: Sequence[Piece],
    recipe: LearningRecipe,
    *,
    stages: Stages,
    generator: np.random.Generator,
    progress: Progress | None,
) -> Learned:
    began = time.perf_counter()
    judge = _Judge(pieces, stages)
    network = copy.deepcopy(network).eval()
    before = judge(network)
    if recipe.steps == 0:
        return Learned(network, 0, 0, None, time.perf_counter() - began, 0, before, before)
    degrade = (
        plan_degradation if recipe.degradation == "plan" else sensor_degradation(stages.sensor, noise=recipe.noise)
    )
    settings = PairSettings(
        network.scale, recipe.crop, recipe.batch, recipe.scales, recipe.least_scale, recipe.busy_share, recipe.jitter
    )
    pairs = ScenePairs(pieces, settings, degrade=degrade, generator=generator)
    training = _Training(network, recipe, stages.sensor)
    kept, best, weights, waited = 0, before, copy.deepcopy(network.state_dict()), 0
    history: list[dict[str, float]] = []
    stopped, step = None, 0
    every = recipe.judge_every or recipe.steps
    while step < recipe.steps and stopped is None:
        network.train()
        loss, rate = training.step(pairs.draw(), step)
        history.append({"step": step, "loss": loss, "learning_rate": rate})
        step += 1
        if progress is not None:
            progress(step, recipe.steps)
        stopped = training.trouble
        if stopped is None and recipe.seconds and time.perf_counter() - began > recipe.seconds:
            stopped = f"{recipe.seconds:g} seconds were over"
        if step % every and step < recipe.steps and stopped is None:
            continue
        now = judge(network.eval())
        if now is None or best is None or now.network < best.network * (1 - recipe.least_gain):
            waited = 0
        else:
            waited += 1
        if training.trouble is None and (now is None or best is None or now.network < best.network):
            kept, best, weights = step, now, copy.deepcopy(network.state_dict())
        if now is not None:
            history[-1] |= {"judged": now.network, "bicubic": now.bicubic}
        if waited >= recipe.patience and step < recipe.steps and stopped is None:
            stopped = f"no gain in {waited} judgements"
    network.load_state_dict(weights)
    seconds = time.perf_counter() - began
    learned = Learned(network.eval(), kept, step, stopped, seconds, pairs.crop, before, best, tuple(history))
    log.info(
        "learned from the scene: %d steps in %.1f s, kept those of step %d%s",
        step, seconds, kept, "" if stopped is None else f"; stopped, {stopped}",
    )  # fmt: skip
    return learned


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Crops are so small that a second thread of bf16 costs more than it brings, much more beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Training:
    """One optimiser over one network."""

    def __init__(self, network: Model, recipe: LearningRecipe, sensor: Sensor) -> None:
        self._network, self._recipe, self._sensor = network, recipe, sensor
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._bf16 = in_bf16(recipe)
        network.to(memory_format=torch.channels_last)
        self._first: float | None = None
        self._exploded = 0
        self.trouble: str | None = None

    def step(self, batch: Mapping[str, Tensor], number: int) -> tuple[float, float]:
        """One update; loss and learning rate. Sets `trouble` where the loss exploded. Raises TrainingError."""
        recipe = self._recipe
        warm = min(1.0, (number + 1) / max(recipe.warmup, 1))
        cosine = 0.5 * (1 + math.cos(math.pi * number / max(recipe.steps, 1)))
        rate = recipe.learning_rate * warm * (recipe.final_rate + (1 - recipe.final_rate) * cosine)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        inputs = {name: batch[name] for name in ("low", "guide") if name in batch}
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            output: Output = self._network(**inputs)
        image = output.image.float()
        if recipe.through_projection and recipe.degradation == "sensor" and recipe.noise == 0:
            image = project(image, batch["low"], self._sensor, factor=self._network.scale)
        loss = _loss(image, batch["target"], batch["known"], recipe)
        value = float(loss.detach())
        if not math.isfinite(value) and self._first is None:
            raise TrainingError(
                "the loss is not finite from the first step on", fix="look at the scene's values with eorestore info"
            )
        self._first = value if self._first is None else self._first
        self._exploded = self._exploded + 1 if not value <= recipe.explosion * self._first else 0
        if self._exploded >= _EXPLOSIONS:
            self.trouble = f"the loss grew to {value:.3g}, from {self._first:.3g}"
        if not math.isfinite(value):
            return value, rate
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        if recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self._network.parameters(), recipe.gradient_clip)
        self._optimizer.step()
        return value, rate


def _loss(image: Tensor, target: Tensor, known: Tensor, recipe: LearningRecipe) -> Tensor:
    weights = {"l1": recipe.l1, "edge": recipe.edge, "high_frequency": recipe.high_frequency}
    total = recipe.mse * mse(image, target, valid=known) if recipe.mse else image.new_zeros(())
    return total + detail_loss(image, target, valid=known, **weights).total if any(weights.values()) else total


class _Judge:
    """Makes the pieces coarser by the whole factor and compares what comes back, where nothing was a target."""

    def __init__(self, pieces: Sequence[Piece], stages: Stages) -> None:
        self._stages = replace(stages, ensemble="none", share=1.0, sharpen=0.0)
        self._cases = held_back_cases(pieces, stages)

    def __call__(self, network: Model) -> Judgement | None:
        """Raises nothing: None where there is nothing to judge."""
        if not self._cases:
            return None
        whole = SceneEnlargement(network, self._stages)
        sums = np.zeros(3)
        pixels = 0
        with torch.no_grad():
            for image, low, chosen, guide, _ in self._cases:
                base = whole.base(low)
                found = whole(low=low) if guide is None else whole(low=low, guide=guide)
                missing = (image - base)[..., chosen].double()
                moved = (found.image - base)[..., chosen].double()
                sums += [float((missing**2).sum()), float((missing * moved).sum()), float((moved**2).sum())]
                pixels += missing.numel()
        return _judgement(sums[0], sums[1], sums[2], pixels, factor=self._stages.factor)


def _judgement(bicubic: float, both: float, moved: float, pixels: int, *, factor: int = 1) -> Judgement:
    """From sums over pixels of the squared error, its product with what the network changes, and that squared.

    The share is the one of least error, drawn towards 0 where few coarse pixels, of factor x factor each, have spoken.
    """
    if not math.isfinite(both) or not math.isfinite(moved):
        plain = math.sqrt(bicubic / pixels)
        return Judgement(plain, math.inf, plain, 0.0, pixels)
    coarse = pixels / factor**2
    share = 0.0 if moved <= 0 else min(max(both / moved, 0.0), 1.0) * coarse / (coarse + _DOUBT)
    share = round(share * _SHARES) / _SHARES

    def root(weight: float) -> float:
        return math.sqrt(max(bicubic - 2 * weight * both + weight**2 * moved, 0.0) / pixels)

    return Judgement(root(0.0), root(1.0), root(share), share, pixels)


def in_bf16(recipe: LearningRecipe) -> bool:
    """Whether a recipe is carried out in bfloat16 here."""
    return recipe.precision == "bf16" or (recipe.precision == "auto" and multiplies_bf16())


def multiplies_bf16() -> bool:
    """Whether the processor multiplies bfloat16 by itself; otherwise it is slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported())
