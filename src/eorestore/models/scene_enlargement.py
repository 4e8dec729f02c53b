"""A network in stages, with self-ensemble and exact projection, as one model that enlarges a scene; trains nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eorestore.layers.resampling import enlarge
from eorestore.layers.sensor import project
from eorestore.models.model import Model, Output
from eorestore.processing.sensor import Sensor
from eorestore.processing.unsharp import adaptive_unsharp
from eorestore.tiling.ensembling import turn, turn_back
from eorestore.tiling.overlapping import overlapping_patches
from eorestore.tiling.shifted import shifted_passes

_UNSHARP_REACH = 4  # pixels of the input, which are at least 2 of the result each

Ensemble = Literal["none", "mean", "median"]
_PIXELS = 512 * 512  # that go through a local network at a time: a later stage is many times as large as its tile


@dataclass(frozen=True)
class Stages:
    """How a scene goes through a network.

    factor: enlargement in all, a power of the network's own. sensor: with which the result agrees. ensemble: of the
    eight flips and turns. share: of the way from projected bicubic enlargement to the network's projected image; 0 for
    a scene on which the network shows no gain. project: whether the result is projected. passes, patch, overlap,
    shifts, offset, seed: how an image is cut for the network, see `tiling.overlapping` and `tiling.shifted`; `whole`
    does not. sigma: weights of 1, of the variance over flips and turns, and of the variance of the plain enlargement
    within 5 x 5 pixels, whose sum is the variance of the error. sharpen: strength of an unsharp mask at the end, which
    breaks the agreement; energy: the scene's largest, see `processing.unsharp`.
    """

    factor: int = 2
    sensor: Sensor = field(default_factory=Sensor)
    ensemble: Ensemble = "mean"
    share: float = 1.0
    project: bool = True
    passes: Literal["whole", "overlapping", "shifted"] = "whole"
    patch: int = 128
    overlap: float = 0.28
    shifts: int = 6
    offset: float = 0.33
    seed: int = 0
    sigma: tuple[float, float, float] = (0.0, 1.0, 0.0)
    sharpen: float = 0.0
    energy: float = 0.0


class SceneEnlargement(Model):
    """image = base + share * (project(ensemble(stages)) - base), base = project(bicubic).

    Every stage enlarges by the network's scale and is projected on the input, so that the next one starts from an image
    that agrees with it. Both ends of the blend agree with the input, so the blend does. Bands go through one by one.
    A guide reaches each stage as its means over the pixels that the stage makes.
    `sigma` is one standard deviation of the error as `Stages.sigma` has it.
    """

    multiple_of = 1

    def __init__(self, network: Model, stages: Stages, *, bands: int = 1) -> None:
        super().__init__(network.settings)
        self.network, self.stages = network, stages
        self.scale, self.bands, self.extras = stages.factor, bands, {"sigma": bands}
        reach, own = network.reach, network.scale
        total, factor = 0, 1
        while factor < stages.factor and reach is not None:
            total += -(-reach // factor)  # of a later stage, in pixels of the input
            factor *= own
            total += stages.sensor.reach(factor) if stages.project or factor < stages.factor else 0
        if stages.ensemble == "median" and stages.project:
            total += stages.sensor.reach(stages.factor)  # a median of images that agree does not agree by itself
        self.reach = None if reach is None else max(total, stages.sensor.reach(stages.factor) + 4)
        if stages.sharpen and self.reach is not None:
            self.reach += _UNSHARP_REACH
        if stages.passes != "whole":
            self.reach = None  # where patches begin depends on where the tile does
        self.tiling = "blend" if self.reach is None else "crop"

    def forward(self, *, low: Tensor, guide: Tensor | None = None) -> Output:
        """(batch, band, y, x) to (batch, band, factor * y, factor * x), float32; guide: of the size of the result."""
        batch, bands, height, width = low.shape
        single = low.float().reshape(batch * bands, 1, height, width)
        hints = None if guide is None else guide.repeat_interleave(bands, dim=0)
        base = self._projected(enlarge(single, factor=self.scale), single, self.scale)
        image, spread = base, torch.zeros_like(base)
        if self.stages.share > 0:
            found, spread = self._ensemble(single, hints)
            image = base + self.stages.share * (found - base)
        size = (batch, bands, height * self.scale, width * self.scale)
        flat, turned, rough = self.stages.sigma
        sigma = (flat + turned * spread**2 + rough * local_variance(base)).sqrt()
        return Output(self._sharpened(image).reshape(size), {"sigma": sigma.reshape(size)})

    def base(self, low: Tensor) -> Tensor:
        """The projected bicubic enlargement of (batch, band, y, x)."""
        return self._projected(enlarge(low.float(), factor=self.scale), low.float(), self.scale)

    def _ensemble(self, low: Tensor, guide: Tensor | None) -> tuple[Tensor, Tensor]:
        turns = range(1 if self.stages.ensemble == "none" else 8)
        images = [
            turn_back(self._staged(turn(low, index), None if guide is None else turn(guide, index)), index)
            for index in turns
        ]
        if len(images) == 1:
            return images[0], torch.zeros_like(images[0])
        stack = torch.stack(images)
        spread = stack.std(0, correction=0)
        if self.stages.ensemble == "mean":
            return stack.mean(0), spread
        ordered = stack.sort(0).values
        return self._projected((ordered[3] + ordered[4]) / 2, low, self.scale), spread

    def _staged(self, low: Tensor, guide: Tensor | None) -> Tensor:
        image, factor = low, 1
        while factor < self.scale:
            factor *= self.network.scale
            image = self._through(image, None if guide is None else _averaged(guide, self.scale // factor))
            if factor < self.scale or self.stages.project:
                image = project(image, low, self.stages.sensor, factor=factor)
        return image

    def _through(self, image: Tensor, guide: Tensor | None) -> Tensor:
        """One stage."""
        if guide is not None:
            output: Output = self.network(low=image, guide=guide)
            return output.image.float()
        plan, scale = self.stages, self.network.scale

        def predict(patches: Tensor) -> Tensor:
            found: Output = self.network(low=patches)
            return found.image.float()

        if plan.passes == "overlapping":
            return overlapping_patches(predict, image, scale=scale, patch=plan.patch, overlap=plan.overlap)
        if plan.passes == "shifted":
            return shifted_passes(
                predict, image, scale=scale, patch=plan.patch, passes=plan.shifts, offset=plan.offset, seed=plan.seed
            )
        return predict(image) if self.network.reach is None else self._in_strips(image)

    def _in_strips(self, image: Tensor) -> Tensor:
        """One stage of a local network, strip by strip, each with all that its pixels see: the same in less memory."""
        network, (height, width) = self.network, image.shape[-2:]
        reach, scale = network.reach or 0, network.scale
        rows = max(_PIXELS // (width * len(image)), 2 * reach, 1)
        if rows >= height:
            return network(low=image).image.float()  # type: ignore[no-any-return]
        strips = []
        for first in range(0, height, rows):
            last, top = min(first + rows, height), max(first - reach, 0)
            seen = network(low=image[..., top : last + reach, :]).image.float()
            strips.append(seen[..., (first - top) * scale : (last - top) * scale, :])
        return torch.cat(strips, dim=-2)

    def _sharpened(self, image: Tensor) -> Tensor:
        if self.stages.sharpen == 0:
            return image
        values = image[:, 0].cpu().numpy()
        whole = np.ones(values.shape[1:], dtype=bool)
        sharp = adaptive_unsharp(values, valid=whole, strength=self.stages.sharpen, largest=self.stages.energy)
        return torch.from_numpy(sharp).to(image.device)[:, None]

    def _projected(self, image: Tensor, low: Tensor, factor: int) -> Tensor:
        return project(image, low, self.stages.sensor, factor=factor) if self.stages.project else image


def _averaged(guide: Tensor, factor: int) -> Tensor:
    """Means of blocks of factor x factor pixels of (batch, band, y, x)."""
    return guide if factor == 1 else F.avg_pool2d(guide, factor)


def local_variance(image: Tensor) -> Tensor:
    """Variance of (batch, band, y, x) within 5 x 5 pixels, the outermost pixels repeated."""
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    middle = padded[..., 2:-2, 2:-2]
    # differences to the pixel itself: squares of values far from 0 would lose the variance to rounding
    rows, columns = image.shape[-2:]
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for down in range(5):
        for across in range(5):
            apart = padded[..., down : down + rows, across : across + columns] - middle
            total, squares = total + apart, squares + apart**2
    return (squares / 25 - (total / 25) ** 2).clamp_min(0.0)
