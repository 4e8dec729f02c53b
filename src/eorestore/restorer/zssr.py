"""ZSSR, written anew from its paper: the rival that our zero-shot network is measured against; knows no file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eorestore.errors import ConfigError, DataError
from eorestore.layers.resampling import enlarge
from eorestore.layers.sensor import observe
from eorestore.models.model import Model, Output
from eorestore.models.table import build_model
from eorestore.processing.sensor import Sensor
from eorestore.restorer.slope_rule import SlopeRule, SlopeSettings
from eorestore.tiling.ensembling import turn, turn_back

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]

_LEAST_SIDE = 8  # pixels of a son before it is rescaled
_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True)
class ZssrSettings:
    """The defaults are the paper's where it gives a number, and otherwise stated as ours.

    steps: at most, for each scale. rate: the learning rate of Adam, and when it falls. crop: side of a father in
    pixels, less in a small scene. rescaled, least_scale: share of the fathers that are views at another size, drawn
    between `least_scale` and 1 of their own; ours.
    noise: standard deviation added to sons, in the unit of the scene, for scenes that are noisy.
    rounds: of back-projection, before and after the median. gradual: scales on the way, each below the next and below
    that of the result; every result is a father from then on. Off: much time for little.
    value_range: what the network sees as 0 and 1, (0, 255) for pictures; None for the 1st and 99th percentile of the
    scene. Nothing is clipped. precision: of learning. The result is computed in fp32. device: of torch.
    """

    steps: int = 3000
    rate: SlopeSettings = field(default_factory=SlopeSettings)
    crop: int = 128
    rescaled: float = 0.5
    least_scale: float = 0.75
    noise: float = 0.0
    rounds: int = 10
    gradual: tuple[int, ...] = ()
    value_range: tuple[float, float] | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.steps < 0 or self.rounds < 0 or self.crop < 1 or self.noise < 0 or not 0 < self.least_scale <= 1:
            raise ConfigError(
                "zssr: steps, rounds and noise are at least 0, crop at least 1, least_scale above 0 and at most 1",
                fix="leave them out: the defaults are the paper's",
            )
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ConfigError(f"zssr: value_range is (least, largest), found {self.value_range}", fix="swap them")


@dataclass(frozen=True)
class ZssrResult:
    """image: (band, scale * y, scale * x) float32, in the unit of the scene, on the CPU. steps: over all scales.

    seconds: of learning and enlarging. history: of every test of the reconstruction, `step`, `error` (root mean square,
    in the unit of the scene) and `learning_rate`.
    """

    image: Tensor
    steps: int
    seconds: float
    history: tuple[Mapping[str, float], ...] = field(default=(), repr=False)


def zssr(
    low: Tensor,
    *,
    scale: int,
    sensor: Sensor,
    seed: int,
    settings: ZssrSettings | None = None,
    progress: Progress | None = None,
) -> ZssrResult:
    """A scene enlarged by a network that has seen nothing else; the same for the same seed.

    Shocher, Cohen, Irani, "Zero-shot super-resolution using deep internal learning", CVPR 2018. Fathers are crops of
    the scene or of views of it; the sensor makes their sons, and the network learns the way back: L1, Adam, one pair a
    step. Then eight flips and turns of the scene are enlarged, each turned back and back-projected, and their median is
    back-projected once more. What differs from the paper: views are flips, quarter turns and smaller sizes. Its affine
    shear is left out: it drags pixels from outside of the image into the crops, which in kelvin are holes of 0 K.

    Args:
        low: (band, y, x) float32, finite; all bands go through one network.
        scale: of the result, at least 2.
        sensor: what a pixel of `low` is of finer ones.
        seed: of weights, crops, views and noise.
        settings: by default `ZssrSettings()`.
        progress: is given (steps done, steps at most).

    Raises:
        ConfigError: scales that do not grow.
        DataError: `low` is not (band, y, x), not finite, or too small to make sons of.
    """
    began = time.perf_counter()
    chosen = settings or ZssrSettings()
    scales = (*chosen.gradual, scale)
    if any(first >= second for first, second in pairwise((1, *scales))):
        raise ConfigError(
            f"zssr: scales {scales} do not grow from 2 on", fix="give gradual scales below that asked for"
        )
    _check(low, scale)
    least, span = _range(low, chosen.value_range)
    scene = ((low.detach().float() - least) / span)[None].to(chosen.device)
    generator = np.random.default_rng(seed)
    fathers, history, steps, image = [scene], [], 0, scene
    network: Model | None = None
    for factor in scales:
        bigger = build_model("zssr", {"bands": low.shape[0], "scale": factor}, seed=seed)
        if network is not None:
            bigger.load_state_dict(network.state_dict())  # weights know no scale
        network = bigger.to(chosen.device).to(memory_format=torch.channels_last)
        learning = _Learning(network, fathers, sensor=sensor, settings=chosen, noise=chosen.noise / span)
        notes = learning.run(generator, progress=progress, done=steps, end=steps + chosen.steps)
        history += [{**note, "step": steps + note["step"], "error": note["error"] * span} for note in notes]
        steps += learning.steps
        image = enlarged(network.eval(), scene, sensor, rounds=chosen.rounds)
        fathers = [*fathers, image]
    seconds = time.perf_counter() - began
    log.info("zssr: %d steps, %.1f s", steps, seconds)
    return ZssrResult((image[0] * span + least).cpu(), steps, seconds, tuple(history))


def enlarged(network: Model, low: Tensor, sensor: Sensor, *, rounds: int) -> Tensor:
    """(batch, band, y, x) by the median over eight flips and turns, back-projected before and after it."""
    images = []
    with torch.no_grad():
        for index in range(8):
            output: Output = network(low=turn(low, index))
            image = turn_back(output.image, index)
            images.append(back_projected(image, low, sensor, factor=network.scale, rounds=rounds))
        ordered = torch.stack(images).sort(0).values
        return back_projected((ordered[3] + ordered[4]) / 2, low, sensor, factor=network.scale, rounds=rounds)


def back_projected(image: Tensor, low: Tensor, sensor: Sensor, *, factor: int, rounds: int) -> Tensor:
    """What `rounds` times image += enlarge(low - observe(image)) gives (Irani and Peleg 1991).

    `layers.sensor.project` comes to the end of it in one round; this is what the paper does.
    """
    for _ in range(rounds):
        image = image + enlarge(low - observe(image, sensor, factor=factor), factor=factor)
    return image


class _Learning:
    """One network at one scale; `steps` were taken."""

    def __init__(
        self, network: Model, fathers: Sequence[Tensor], *, sensor: Sensor, settings: ZssrSettings, noise: float
    ) -> None:
        self._network, self._fathers, self._sensor = network, fathers, sensor
        self._settings, self._noise = settings, noise
        height, width = (side // network.scale * network.scale for side in fathers[0].shape[-2:])
        self._scene = fathers[0][..., :height, :width]
        self._son = observe(self._scene, sensor, factor=network.scale)
        self.steps = 0

    def run(
        self, generator: np.random.Generator, *, progress: Progress | None, done: int, end: int
    ) -> list[dict[str, float]]:
        """Learn until the slope rule or the number of steps ends it; what was tested on the way."""
        rule, history = SlopeRule(self._settings.rate), []
        optimizer = torch.optim.Adam(self._network.parameters(), lr=rule.rate)
        self._network.train()
        while self.steps < self._settings.steps and not rule.over:
            target = self._father(generator)
            son = observe(target, self._sensor, factor=self._network.scale)
            if self._noise > 0:
                drawn = generator.standard_normal(tuple(son.shape), dtype=np.float32)
                son = son + self._noise * torch.from_numpy(drawn).to(son.device)
            loss = F.l1_loss(self._through(son), target)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            self.steps += 1
            if progress is not None:
                progress(done + self.steps, end)
            if self.steps % rule.settings.test_every == 0:
                error = self._error()
                rule.note(self.steps, error)
                history.append({"step": float(self.steps), "error": error, "learning_rate": rule.rate})
                log.debug("zssr: step %d, error %.6g, rate %.0e", self.steps, error, rule.rate)
            rule.check(self.steps)
            for group in optimizer.param_groups:
                group["lr"] = rule.rate
        return history

    def _through(self, son: Tensor) -> Tensor:
        bf16 = self._settings.precision == "bf16"
        with torch.autocast(son.device.type, torch.bfloat16, enabled=bf16):
            output: Output = self._network(low=son)
        return output.image.float()

    def _error(self) -> float:
        """Of reconstructing the scene from its own son."""
        with torch.no_grad():
            return float((self._through(self._son) - self._scene).square().mean().sqrt())

    def _father(self, generator: np.random.Generator) -> Tensor:
        """A crop of the scene, or of a view of it; its sides divide by the scale."""
        settings, factor = self._settings, self._network.scale
        image = self._fathers[int(generator.integers(len(self._fathers)))]
        size = 1.0
        if generator.random() < settings.rescaled:
            size = float(generator.uniform(settings.least_scale, 1.0))
        place, sides = [], []
        for length in image.shape[-2:]:
            side = max(min(settings.crop, int(length * size)) // factor, 1) * factor
            source = min(round(side / size), length)
            first = int(generator.integers(length - source + 1))
            place.append(slice(first, first + source))
            sides.append(side)
        crop = image[..., place[0], place[1]]
        if list(crop.shape[-2:]) != sides:
            crop = F.interpolate(crop, size=sides, mode="bicubic", antialias=True, align_corners=False)
        return turn(crop, int(generator.integers(8)))


def _check(low: Tensor, scale: int) -> None:
    if low.ndim != 3:
        raise DataError(f"an image of shape {tuple(low.shape)}", fix="give (band, y, x)")
    height, width = low.shape[-2:]
    if min(height, width) < _LEAST_SIDE * scale:
        raise DataError(
            f"{height} x {width} pixels are too few to learn a scale of {scale} from",
            fix=f"give a scene of at least {_LEAST_SIDE * scale} pixels to a side",
        )
    if not bool(low.isfinite().all()):
        raise DataError("the image has values that are not finite", fix="fill its gaps first")


def _range(low: Tensor, given: tuple[float, float] | None) -> tuple[float, float]:
    """What the network sees as 0, and how much further what it sees as 1 is."""
    if given is not None:
        return given[0], given[1] - given[0]
    values = low.detach().cpu().double().numpy()
    least, largest = (float(value) for value in np.percentile(values, _PERCENTILES))
    if least == largest:
        least, largest = float(values.min()), float(values.max())
    return least, largest - least or 1.0
