"""A thermal scene sharpened by an optical one in memory: methods judged on the scene itself, one taken; no file.

The scene made coarser by the whole factor, with the guide at the scene's own resolution, has a known answer: the scene.
On squares of it that no network learned from, every method is compared with projected bicubic enlargement. That the
best one there is the best one scale finer is the assumption of the whole method (Wald et al. 1997 call it the synthesis
property, tested at reduced resolution).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import BandError, MaskError, UnitError, UsageError
from eorestore.processing.area_to_point_kriging import atprk
from eorestore.processing.block_means import block_mean, filled_from_nearest, project, repeated, smooth_enlargement
from eorestore.processing.guided_sharpening import nesting_factor, sharpen
from eorestore.processing.regression_sharpening import Sharpened, tsharp
from eorestore.raster import MemoryPixels, Raster, Unit
from eorestore.restorer.guide import GuidedMethod, parse_method
from eorestore.restorer.guided_network import UNGUIDED, GuidedNetwork, guided_network, regressors_of
from eorestore.restorer.scene_learning import Case, Progress, held_back_cases
from eorestore.restorer.zero_shot import FALL_BACK, scaling_of, scene_pieces, stages
from eorestore.restorer.zero_shot_recipe import SCALES, SceneTask, ZeroShotRecipe

log = logging.getLogger(__name__)

_LARGEST_SCALE = 16
_LEAST_SHARE = 0.5  # of a pixel that the guide must cover to be believed there, as in regression_sharpening
_LEAST_JUDGED = 4  # coarse pixels
_SURE = 2.0  # standard errors
Squares = NDArray[np.float64]
_Enlarge = Callable[[Case], NDArray[np.floating]]
_Regress = Callable[..., Sharpened]
_REGRESSIONS: Mapping[str, _Regress] = {"tsharp": tsharp, "atprk": atprk}


@dataclass(frozen=True)
class GuidedScene:
    """A sharpened scene and how it came about.

    raster: kelvin on the guide's grid; its block means are the scene. method: what was done. judged: root mean square
    errors in kelvin on the held-back squares, by method; empty where nothing was left to judge. pixels: that were
    judged. worse: whether a method that was asked for by name did worse there than projected bicubic enlargement.
    deviation: largest difference in kelvin between block means of the result and the scene. details: of the method.
    """

    raster: Raster
    method: str
    wanted: GuidedMethod
    judged: Mapping[str, float]
    pixels: int
    worse: bool
    regressors: tuple[str, ...]
    deviation: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {
            "method": self.method,
            "asked_for": self.wanted,
            "rmse_kelvin": {name: round(value, 6) for name, value in self.judged.items()},
            "judged_pixels": self.pixels,
            "worse_than_bicubic": self.worse,
            "regressors": list(self.regressors),
            "deviation_kelvin": self.deviation,
            **self.details,
        }


def guided_task(recipe: ZeroShotRecipe, scale: int, size: tuple[int, int]) -> SceneTask:
    """The task for a scene of (height, width) pixels; scales that have no stages are enlarged at once.

    Raises UsageError for a scale outside of 2 ... 16, and for settings that a guided enlargement does not have.
    """
    if not 2 <= scale <= _LARGEST_SCALE:
        raise UsageError(f"--scale {scale} is not offered with a guide", fix=f"choose 2 to {_LARGEST_SCALE}")
    chosen = recipe.inference
    if chosen.sensor != "mean":
        raise UsageError(
            f"a sensor {chosen.sensor} with a guide", fix="leave out --psf: a pixel is the mean of finer ones"
        )
    if chosen.passes != "whole" or chosen.sharpen:
        raise UsageError(
            "patches, shifts and the unsharp mask do not go with a guide",
            fix="leave out --shifts and --sharpen, and inference.passes",
        )
    settled = recipe.settled(min(known for known in SCALES if known >= scale), size)
    if scale not in SCALES:
        settled = replace(settled, network=replace(settled.network, gradual=False))
    return SceneTask(settled, scale)


def sharpen_scene(
    low: Raster,
    guide: Raster,
    task: SceneTask,
    *,
    method: GuidedMethod = "auto",
    regressors: Sequence[str] = ("ndvi",),
    tile: int = 256,
    progress: Progress | None = None,
) -> GuidedScene:
    """The scene on the guide's grid, by the method asked for or by the best one on the scene itself.

    Args:
        low: one band in kelvin.
        guide: bands in reflectance on a grid of task.scale times as many pixels over the same ground.
        task: from `guided_task`.
        method: "auto" compares all and takes the best, if that takes away the recipe's margin of the error of projected
            bicubic enlargement, and more than twice the standard error over coarse pixels of what it takes away;
            otherwise the latter is returned. "network" is blended with the latter as the unguided one.
        regressors: see `processing.guide_features`.
        tile: side in pixels of the scene that goes through the network at once.
        progress: of the network's learning.

    Raises:
        GridError, BandError, UnitError: the two rasters do not go together. MaskError: no pixel of `low` is valid.
        UnknownNameError: no such method or regressor. CheckpointError and its like: as `zero_shot.begin`.
    """
    method = parse_method(method)
    _check(low, guide, task)
    hints = regressors_of(guide, regressors)
    pixels = MemoryPixels(low)
    scaling = scaling_of(task, pixels)
    span = scaling.bands[0].high - scaling.bands[0].low
    pieces = scene_pieces(pixels, scaling, held_back=task.recipe.learning.held_back, guide=hints.coarse(task.scale))
    cases = held_back_cases(pieces, stages(task))
    ways: dict[str, _Enlarge] = {FALL_BACK: _bicubic}
    ways |= {name: _regression(way) for name, way in _REGRESSIONS.items() if method in ("auto", name)}
    network: GuidedNetwork | None = None
    if method in ("auto", "network"):
        network = guided_network(task, pieces, hints, scaling, progress=progress)
        ways |= {UNGUIDED: partial(network.on_case, guided=False), "network": partial(network.on_case, guided=True)}
    errors = {name: _squares(cases, way) * (span**2, 1.0) for name, way in ways.items()} if cases else {}
    chosen, worse = _decide(errors, method, margin=max(task.recipe.inference.margin, 0.0))
    judged = {name: _root_mean(squares) for name, squares in errors.items()}
    image, details = _image(chosen, low, guide, task, regressors=regressors, network=network, tile=tile)
    valid = repeated(low.valid, factor=task.scale)
    values = np.where(valid, image, 0.0).astype(np.float32)
    raster = Raster(values[None], valid, low.bands, guide.grid)
    means, _ = block_mean(values.astype(np.float64), np.ones_like(valid), factor=task.scale)
    apart = float(np.abs(means - low.values[0])[low.valid].max())
    count = sum(int(case.chosen.sum()) for case in cases)
    return GuidedScene(raster, chosen, method, judged, count, worse, hints.names, float(f"{apart:.3g}"), details)


def _check(low: Raster, guide: Raster, task: SceneTask) -> None:
    if len(low.bands) != 1:
        raise BandError(
            f"{len(low.bands)} bands to sharpen: {', '.join(low.bands.names)}", fix="give a file of one band"
        )
    (band,) = low.bands
    if band.unit is not Unit.KELVIN:
        raise UnitError(f"{band.name} is in {band.unit}", fix="give temperature in kelvin")
    if not low.valid.any():
        raise MaskError("no pixel of the scene is valid", fix="look at its nodata value with eorestore info")
    factor = nesting_factor(low, guide)
    if factor != task.scale:
        raise UsageError(f"a guide for a scale of {factor}, and {task.scale} is asked for", fix="warp it to that scale")


def _decide(errors: Mapping[str, Squares], method: GuidedMethod, *, margin: float) -> tuple[str, bool]:
    """What is done, and whether that was worse than projected bicubic enlargement; said in the log."""
    if FALL_BACK not in errors:
        done = FALL_BACK if method == "auto" else method
        log.warning("nothing was left to judge on: the scene is enlarged by %s", done)
        return done, False
    judged = {name: _root_mean(squares) for name, squares in errors.items()}
    plain = judged[FALL_BACK]
    log.info("held-back squares, K: %s", ", ".join(f"{name} {value:.4g}" for name, value in judged.items()))
    if method != "auto":
        worse = judged[method] > plain
        if worse:
            log.warning("%s does worse than %s on squares of the scene: try --method auto", method, FALL_BACK)
        return method, worse
    best = min(judged, key=lambda name: judged[name])
    sure = judged[best] < plain * (1 - margin) and _surely_less(errors[best], errors[FALL_BACK])
    if not sure:
        log.info("no method is surely better than %s: the latter is returned", FALL_BACK)
    return (best if sure else FALL_BACK), False


def _image(
    chosen: str,
    low: Raster,
    guide: Raster,
    task: SceneTask,
    *,
    regressors: Sequence[str],
    network: GuidedNetwork | None,
    tile: int,
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """(factor * y, factor * x) in kelvin, whose block means are the scene, and what is to be said of it."""
    known, means = low.valid, low.values[0].astype(np.float64)
    if chosen in ("network", UNGUIDED) and network is not None:
        image = network.enlarged(low, guided=chosen == "network", tile=tile)
        return project(image, means, known, factor=task.scale), network.to_json()
    told = {} if network is None else network.to_json()
    if chosen in _REGRESSIONS:
        found = sharpen(low, guide, method="tsharp" if chosen == "tsharp" else "atprk", regressors=regressors)
        more = {"coefficients": found.coefficients, "r2": found.r2, "variogram": found.variogram}
        return project(found.raster.values[0].astype(np.float64), means, known, factor=task.scale), {**told, **more}
    middle = float(means[known].mean())
    image = smooth_enlargement(filled_from_nearest(means - middle, known), factor=task.scale)
    return project(image + middle, means, known, factor=task.scale), told


def _squares(cases: Sequence[Case], enlarge: _Enlarge) -> Squares:
    """Sums of squared errors over the judged pixels of each coarse pixel, and their number: (coarse pixel, 2)."""
    found = []
    for case in cases:
        chosen = case.chosen.numpy()
        apart = np.where(chosen, enlarge(case) - case.image[0, 0].numpy(), 0.0) ** 2
        factor = chosen.shape[-1] // case.low.shape[-1]
        means, _ = block_mean(apart, np.ones_like(chosen), factor=factor)
        _, shares = block_mean(apart, chosen, factor=factor)
        seen = shares > 0
        found.append(np.stack([means[seen], shares[seen]], axis=1) * factor**2)
    return np.concatenate(found)


def _root_mean(squares: Squares) -> float:
    return math.sqrt(float(squares[:, 0].sum() / squares[:, 1].sum()))


def _surely_less(squares: Squares, others: Squares) -> bool:
    """Whether the mean gain over coarse pixels is more than twice its standard error."""
    gain = others[:, 0] - squares[:, 0]
    if len(gain) < _LEAST_JUDGED:
        return False
    return float(gain.mean()) > _SURE * float(gain.std(ddof=1)) / math.sqrt(len(gain))


def _bicubic(case: Case) -> NDArray[np.float64]:
    low = case.low[0, 0].double().numpy()
    return smooth_enlargement(low, factor=case.image.shape[-1] // low.shape[-1])


def _regression(regress: _Regress) -> _Enlarge:
    def enlarged(case: Case) -> NDArray[np.floating]:
        if case.guide is None:
            raise ValueError("a case without its guide")
        low = case.low[0, 0].double().numpy()
        factor = case.image.shape[-1] // low.shape[-1]
        _, share = block_mean(low.repeat(factor, 0).repeat(factor, 1), case.valid.numpy(), factor=factor)
        features = case.guide[0].double().numpy()
        covered = features[-1] >= _LEAST_SHARE
        return regress(low, share > 0, features[:-1], covered, factor=factor).image

    return enlarged
