"""Test-time adaptation: a copy of a network learns from the scene's own clear pixels; knows no file.

Internal learning, as in zero-shot super-resolution (Shocher et al. 2018), for clouds: clouds are simulated over the
pixels that are clear, which are thereby known, and the network learns to rebuild them from what is left of the same
scene. A quarter of the ground is never a target: skies over it decide whether, and after how many steps, the adapted
weights are better than those that came; if they never are by more than chance, by 0.2 dB in the mean and under every
one of these skies, those that came stay. Skies over the same ground would not do, for a network that has learned this
ground by heart does well under all of them. Half-way between old and new weights is judged, too (Wortsman et al. 2022):
it gains less, and more surely.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from eorestore.data.cloud_pairs import MASK_MARGIN, grow_mask
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.errors import MaskError, UsageError
from eorestore.losses.likelihood import gaussian_nll
from eorestore.losses.pixel import log_mse
from eorestore.metrics.fidelity import psnr
from eorestore.models.model import Model, Output, Prepared, SceneSample
from eorestore.processing import Processor
from eorestore.raster import Band, BandSet, Grid, Raster
from eorestore.restorer.inference import forward_keywords

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]

_SKIES, _HELD_BACK = 16, 6
_COVER = (0.2, 0.6)
_CLOUD_SIZE_PX = (20.0, 150.0)
_LEAST_CLOUD_PX = 8.0
_CROP, _BATCH = 64, 6
_LEAST_KNOWN = 0.05  # of a crop: pasted cloud over clear ground
_LEAST_CLEAR = 0.01  # of a window: with less there is nothing to learn from
_LEAST_HIDDEN, _LEAST_LEFT = 0.1, 0.3  # of what is clear: must be hidden by a sky, and be left by it
_LEAST_JUDGED = 0.01  # of what is clear: must be hidden, in the part that the sky is for
_BLOCK = 48  # pixels: side of the squares of which one in four is kept for judging
_DRAWS = 20
_SHRINKING = 0.85  # of cover and of clouds' size, from one fruitless draw to the next
_CHECKS = 4  # times that the held-back skies are scored
_SHARES = (0.5, 1.0)  # of the way from the weights that came to the new ones
_ERRORS = 2.0  # standard errors by which the held-back skies must gain, and none of them may lose
_LEAST_GAIN = 0.2  # dB in their mean: less says nothing about the real clouds
_LEARNING_RATE = 5e-4
_WARMUP = 10
_SIGMA_WEIGHT = 0.1
_METRES = 10.0  # a pixel, for the length of shadows


@dataclass(frozen=True)
class Adapted:
    """The adapted network, and what is to be said of it.

    kept_step: step whose weights were kept; 0 for those that came. kept_share: of the way from those that came to those
    of the step. before, after: PSNR in dB under the held-back skies.
    """

    model: Model
    steps: int
    seed: int
    kept_step: int
    kept_share: float
    before: float
    after: float

    @property
    def words(self) -> str:
        """What was done, for a tag."""
        share = "" if self.kept_share in (0, 1) else f" by {self.kept_share:g}"
        return f"{self.steps} steps, seed {self.seed}, kept step {self.kept_step}{share}"

    def to_json(self) -> dict[str, int | float]:
        """All but the weights, as plain values."""
        numbers = {"psnr_before": round(self.before, 4), "psnr_after": round(self.after, 4)}
        kept = {"kept_step": self.kept_step, "kept_share": self.kept_share}
        return {"steps": self.steps, "seed": self.seed, **kept, **numbers}


@dataclass(frozen=True)
class _Sky:
    """A window of the scene with clouds pasted over its clear pixels.

    maps: everything of the window's size, (1, band, y, x), with `target` and the bool `known` (pasted over clear
    ground). constants: what `prepare` found besides, each with a batch axis.
    """

    maps: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]


class _Kept(NamedTuple):
    """step, share: see `Adapted`. before, after: mean score under the held-back skies."""

    step: int
    share: float
    before: float
    after: float


def adapt(
    model: Model,
    processor: Processor,
    sample: SceneSample,
    *,
    steps: int,
    seed: int = 0,
    learning_rate: float | None = None,
    progress: Progress | None = None,
) -> Adapted:
    """A copy of `model` after `steps` updates on the clear pixels of one scene; the same for the same seed.

    Args:
        model: as loaded; it is not changed.
        processor: its own; decodes the windows to reflectance, over which clouds are simulated.
        sample: the scene, as `prepare` sees it.
        steps: updates.
        seed: of clouds, crops and their order.
        learning_rate: of AdamW; it falls to a tenth. None takes 5e-4.
        progress: is given (steps done, steps).

    Raises:
        UsageError: a model without weights, or steps below 1.
        MaskError: too few clear pixels to paste clouds over and learn from the rest.
    """
    if steps < 1:
        raise UsageError(f"--adapt {steps}", fix="give a number of steps of at least 1, such as 100")
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UsageError("the model has no weights that could adapt", fix="leave out --adapt, or choose a network")
    _check_size(model, sample)
    generator = np.random.default_rng([seed, steps])
    device = next(model.parameters()).device
    corner = (int(generator.integers(_BLOCK)), int(generator.integers(_BLOCK)))

    def pasted(*, judged: bool) -> _Sky:
        part = functools.partial(_part, corner=corner, judged=judged)
        return _pasted(model, processor, sample, part=part, generator=generator, device=device)

    held_back = [pasted(judged=True) for _ in range(_HELD_BACK)]
    skies = [pasted(judged=False) for _ in range(_SKIES)]
    network = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        kept = _learn(
            network,
            skies,
            held_back,
            steps=steps,
            learning_rate=learning_rate or _LEARNING_RATE,
            generator=generator,
            progress=progress,
        )
    adapted = Adapted(network.eval(), steps, seed, kept.step, kept.share, kept.before, kept.after)
    log.info(
        "adapted in %s: %.2f dB instead of %.2f dB under held-back simulated clouds",
        adapted.words, kept.after, kept.before,
    )  # fmt: skip
    return adapted


def _check_size(model: Model, sample: SceneSample) -> None:
    height, width = sample.windows[0]["mask"].shape[-2:]
    if min(height, width) < model.multiple_of:
        raise MaskError(
            f"{height} x {width} pixels are too few to adapt to; the model works on multiples of {model.multiple_of}",
            fix="leave out --adapt, or give a larger scene",
        )


def _learn(
    network: Model,
    skies: Sequence[_Sky],
    held_back: Sequence[_Sky],
    *,
    steps: int,
    learning_rate: float,
    generator: np.random.Generator,
    progress: Progress | None,
) -> _Kept:
    """Trains in place and leaves the best weights there."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    network.eval()
    began = _scores(network, held_back)
    came = copy.deepcopy(network.state_dict())
    kept, best, most = _Kept(0, 0.0, float(began.mean()), float(began.mean())), came, 0.0
    judged = copy.deepcopy(network)
    every = max(1, math.ceil(steps / _CHECKS))
    for step in range(steps):
        network.train()
        rate = learning_rate * min(1.0, (step + 1) / _WARMUP) * (1 - 0.9 * step / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = _batch(network, skies, generator=generator)
        optimizer.zero_grad()
        torch.autograd.backward(_loss(_forward(network, batch), batch))
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
        if (step + 1) % every and step + 1 < steps:
            continue
        for share in _SHARES:
            judged.load_state_dict(_between(came, network.state_dict(), share))
            now = _scores(judged, held_back)
            gain = now - began
            # One lucky sky lifts the mean, and its error as well.
            sure = float(gain.mean() - _ERRORS * gain.std() / math.sqrt(len(gain)))
            if sure > most and gain.mean() >= _LEAST_GAIN and bool((gain > 0).all()):
                most, best = sure, copy.deepcopy(judged.state_dict())
                kept = _Kept(step + 1, share, kept.before, float(now.mean()))
    network.load_state_dict(best)
    return kept


def _between(came: Mapping[str, Tensor], now: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights at `share` of the way; whole numbers, such as counters, are those of `now`."""
    return {name: came[name].lerp(value, share) if value.is_floating_point() else value for name, value in now.items()}


def _pasted(
    model: Model,
    processor: Processor,
    sample: SceneSample,
    *,
    part: Callable[[int, int], Tensor],
    generator: np.random.Generator,
    device: torch.device,
) -> _Sky:
    """A random window under a new sky. Raises MaskError where no draw leaves enough of both, hidden and clear."""
    for draw in range(_DRAWS):
        window = sample.windows[int(generator.integers(len(sample.windows)))]
        observed, hidden = window["cloudy"], window["mask"] > 0.5
        clear = float((~hidden).float().mean())
        if clear < _LEAST_CLEAR:
            continue
        scene = _reflectance(observed, processor)
        shrunk = _SHRINKING**draw
        sizes = (max(shrunk * _CLOUD_SIZE_PX[0], _LEAST_CLOUD_PX), max(shrunk * _CLOUD_SIZE_PX[1], 2 * _LEAST_CLOUD_PX))
        settings = CloudSettings(cover=shrunk * float(generator.uniform(*_COVER)), size_px=sizes)
        sky = simulate_clouds(scene, settings, generator=generator)
        pasted = torch.from_numpy(grow_mask(sky.cloud | sky.shadow, MASK_MARGIN))[None, None]
        known = pasted & ~hidden
        left = ~(pasted | hidden)
        if float(known.float().mean()) < _LEAST_HIDDEN * clear or float(left.float().mean()) < _LEAST_LEFT * clear:
            continue
        known = known & part(*known.shape[-2:])
        if float(known.float().mean()) < _LEAST_JUDGED * clear:
            continue
        encoded = torch.from_numpy(processor.encode_one("cloudy", replace(scene, values=sky.image)))[None]
        # Real clouds stay as they are: a second cloud over the first would be something that no scene shows.
        cloudy = torch.where(hidden, observed, encoded)
        maps = {key: value for key, value in window.items() if key in processor.inputs} | {"cloudy": cloudy}
        maps["mask"] = (pasted | hidden).float()
        found = Prepared()
        if model.needs_scene:
            with torch.no_grad():
                found = model.prepare(SceneSample(maps, (maps,)))
        maps |= dict(found.maps) | {"target": observed, "known": known}
        constants = {name: value[None].to(device) for name, value in found.constants.items()}
        return _Sky({name: value.to(device) for name, value in maps.items()}, constants)
    raise MaskError(
        "too few clear pixels to adapt to: clouds pasted over them leave nothing to learn from",
        fix="leave out --adapt, or give a tighter mask or a larger scene",
    )


def _part(height: int, width: int, *, corner: tuple[int, int], judged: bool) -> Tensor:
    """Bool (1, 1, y, x): one square in four, or the other three; small windows have smaller squares."""
    side = max(1, min(_BLOCK, height // 4, width // 4))
    rows = (torch.arange(height) + corner[0]) // side % 2 == 0
    columns = (torch.arange(width) + corner[1]) // side % 2 == 0
    chosen = (rows[:, None] & columns[None])[None, None]
    return chosen if judged else ~chosen


def _reflectance(encoded: Tensor, processor: Processor) -> Raster:
    scaling = processor.inputs["cloudy"]
    values = scaling.decode(encoded[0].cpu().numpy()).astype(np.float32)
    height, width = values.shape[1:]
    grid = Grid("", (_METRES, 0.0, 0.0, 0.0, -_METRES, 0.0), height, width)
    bands = BandSet(tuple(Band(band.name, band.unit) for band in scaling.bands))
    return Raster(values, np.ones((height, width), dtype=bool), bands, grid)


def _batch(network: Model, skies: Sequence[_Sky], *, generator: np.random.Generator) -> dict[str, Tensor]:
    """Random crops, turned and flipped, each with something known in it."""
    items = [_crop(network, skies, generator=generator) for _ in range(_BATCH)]
    return {name: torch.cat([item[name] for item in items]) for name in items[0]}


def _crop(network: Model, skies: Sequence[_Sky], *, generator: np.random.Generator) -> dict[str, Tensor]:
    multiple = network.multiple_of
    for _ in range(_DRAWS):
        sky = skies[int(generator.integers(len(skies)))]
        height, width = sky.maps["known"].shape[-2:]
        side = min(-(-_CROP // multiple) * multiple, min(height, width) // multiple * multiple)
        row, column = int(generator.integers(height - side + 1)), int(generator.integers(width - side + 1))
        place = (..., slice(row, row + side), slice(column, column + side))
        if float(sky.maps["known"][place].float().mean()) >= _LEAST_KNOWN:
            break
    turns, flip = int(generator.integers(4)), bool(generator.integers(2))

    def turned(value: Tensor) -> Tensor:
        value = torch.rot90(value[place], turns, (-2, -1))
        return value.flip(-1) if flip else value

    return {name: turned(value) for name, value in sky.maps.items()} | dict(sky.constants)


def _forward(network: Model, batch: Mapping[str, Tensor]) -> Output:
    output: Output = network(**{name: batch[name] for name in forward_keywords(network) if name in batch})
    return output


def _loss(output: Output, batch: Mapping[str, Tensor]) -> Tensor:
    known = batch["known"]
    loss = log_mse(output.image, batch["target"], valid=known)
    if "sigma" in output.extras:
        sigma = output.extras["sigma"]
        loss = loss + _SIGMA_WEIGHT * gaussian_nll(output.image.detach(), batch["target"], sigma=sigma, valid=known)
    return loss


def _scores(network: Model, skies: Sequence[_Sky]) -> Tensor:
    """PSNR (sky,) over the known pixels, each window cut to the multiple that the network takes."""
    found = []
    with torch.no_grad():
        for sky in skies:
            height, width = (side - side % network.multiple_of for side in sky.maps["known"].shape[-2:])
            batch = {name: value[..., :height, :width] for name, value in sky.maps.items()} | dict(sky.constants)
            image = _forward(network, batch).image
            found.append(psnr(image, batch["target"], valid=batch["known"]))
    return torch.cat(found).nan_to_num(0.0)
