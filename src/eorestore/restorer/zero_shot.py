"""Zero-shot enlargement of a scene: a network that has learned it, made ready to restore it; knows no file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.data.single_scene import Piece, hold_back
from eorestore.errors import DataError, UsageError
from eorestore.layers.sensor import observe
from eorestore.models.catalogue import WEIGHTS_FOLDER, Resolved, SizeRule, resolve
from eorestore.models.checkpoint import load_checkpoint
from eorestore.models.model import Model
from eorestore.models.scene_enlargement import SceneEnlargement, Stages
from eorestore.models.table import build_model
from eorestore.models.zero_shot_sr import ZeroShotSR
from eorestore.processing import BandScale, BandScaling, Processor
from eorestore.processing.filling import REACH as FILLED
from eorestore.processing.filling import fill_near
from eorestore.processing.sensor import Sensor
from eorestore.processing.unsharp import largest_energy
from eorestore.raster import Pixels, Unit
from eorestore.restorer.deviation import Observe
from eorestore.restorer.enlargement import Enlargement, scene_scaling
from eorestore.restorer.inference import Execution
from eorestore.restorer.plan import LOW, ModelFacts
from eorestore.restorer.restore import Restorer
from eorestore.restorer.scene import physical, spread
from eorestore.restorer.scene_learning import Judgement, Learned, Progress, judge_scene, learn_scene
from eorestore.restorer.scene_uncertainty import calibrated
from eorestore.restorer.zero_shot_recipe import NAME, SceneTask

log = logging.getLogger(__name__)

FALL_BACK = "bicubic, projected"
_WHOLE, _SIDE, _COUNT = 1024, 256, 16  # a scene up to 1024 pixels is seen whole, a larger one by 16 windows
_LARGEST_BANDS = 16
_TILE, _OVERLAP, _PATCH_TILE = 256, 64, 1024
_LARGE_TILES = {8: 160, 16: 112}  # sides by scale, where tiles of 256 would take many gigabytes


@dataclass(frozen=True)
class SceneNetwork:
    """The network that a scene is enlarged by, and what is to be said of it.

    method: what is returned. judged: errors in the unit of the first band. range: of that band, by which errors in the
    scale of the network are multiplied. start: hash of the weights it began with; None for drawn ones.
    """

    model: SceneEnlargement
    method: str
    learned: Learned
    start: str | None
    range: float
    task: SceneTask
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """For a tag."""
        taken = self.learned
        return f"{self.method}; {taken.steps} steps, seed {self.task.recipe.seed}, kept step {taken.kept_step}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        inference = self.task.recipe.inference
        return {
            "method": self.method,
            "scale": self.task.scale,
            "stages": stage_factors(self.task.scale, self.model.network.scale),
            "sensor": inference.sensor,
            "share_of_network": self.model.stages.share,
            "judged": None if self.learned.after is None else self._judged(self.learned.after),
            "judged_before": None if self.learned.before is None else self._judged(self.learned.before),
            "learned": self.learned.to_json(),
            "start": self.start,
            "sharpened": inference.sharpen,
            "consistent": inference.project and not inference.sharpen,
            "recipe": self.task.recipe.to_dict(),
            **self.facts,
        }

    def stages_json(self) -> dict[str, Any]:
        """What was decided on the way, so that `learned_before` finds it again."""
        found = self.model.stages
        return {"share": found.share, "sigma": list(found.sigma), "sharpen": found.sharpen, "energy": found.energy}

    def _judged(self, found: Judgement) -> dict[str, float | int]:
        errors = {"bicubic": found.bicubic, "network": found.network, "blend": found.blend}
        told = {f"rmse_{name}": round(value * self.range, 6) for name, value in errors.items()}
        return {**told, "gain": round(found.gain, 4), "pixels": found.pixels}


def scene_restorer(
    task: SceneTask, pixels: Pixels, execution: Execution, *, tile: int | None = None
) -> tuple[Restorer, Enlargement]:
    """A restorer for one scene whose network has not yet learned anything: it has the sizes that tiling needs.

    task: settled. tile: side in pixels of the scene; by default 256, smaller at x8 and x16, and larger where
    patches are cut in it.

    Raises UsageError, UnknownNameError, CheckpointError.
    """
    recipe = task.recipe
    network, sha256 = begin(task)
    model = SceneEnlargement(network, stages(task), bands=len(pixels.bands)).eval()
    scaling = scaling_of(task, pixels)
    rule = SizeRule(scale=task.scale, reach=None if model.reach is None else model.reach + FILLED, tiling=model.tiling)
    if tile is None:
        whole = _LARGE_TILES.get(task.scale, _TILE)
        tile = whole if recipe.inference.passes == "whole" else max(_PATCH_TILE, 2 * recipe.inference.patch)
    config = {"parameters": sum(weight.numel() for weight in network.parameters())}
    facts = ModelFacts(Resolved("checkpoint", NAME, None), rule, tile, _OVERLAP, config, recipe.inference.project)
    processor = Processor({LOW: scaling}, scaling, task.scale)
    ranges = {band.name: (band.low, band.high) for band in scaling.bands}
    done = Enlargement(task.scale, recipe.inference.project, (), ranges)
    # a batch of the memory that one of x2 takes
    execution = replace(execution, batch=max(1, execution.batch * 4 // task.scale**2))
    return Restorer(NAME, model, processor, facts, sha256, execution), done


def learn(task: SceneTask, pixels: Pixels, restorer: Restorer, *, progress: Progress | None = None) -> SceneNetwork:
    """The network after it has learned the scene, or the decision for bicubic enlargement where it shows no gain.

    Raises DataError where nothing in the scene is valid, TrainingError as `learn_scene`.
    """
    recipe, scaling = task.recipe, restorer.processor.inputs[LOW]
    pieces = scene_pieces(pixels, scaling, held_back=recipe.learning.held_back)
    model: SceneEnlargement = restorer.model  # type: ignore[assignment]
    span = scaling.bands[0].high - scaling.bands[0].low
    learned = learned_from(model.network, pieces, task, stages=model.stages, span=span, progress=progress)
    chosen, method = decide(learned.after, task)
    network = learned.network.to(memory_format=torch.channels_last)
    final = SceneEnlargement(network, replace(model.stages, share=chosen, sharpen=0.0), bands=model.bands).eval()
    energy = _energy(final, pieces) if recipe.inference.sharpen else 0.0
    enlarging, uncertainty = calibrated(final, pieces)
    if uncertainty is None:
        log.warning("the scene is too small to tell its uncertainty: sigma is that of flips and turns alone")
    if recipe.inference.sharpen:
        sharp = replace(enlarging.stages, sharpen=recipe.inference.sharpen, energy=energy)
        enlarging = SceneEnlargement(network, sharp, bands=model.bands).eval()
    told = {"uncertainty": None if uncertainty is None else uncertainty.to_json()}
    return SceneNetwork(enlarging, method, learned, restorer.sha256, span, task, told)


def learned_from(
    network: Model,
    pieces: Sequence[Piece],
    task: SceneTask,
    *,
    stages: Stages,
    span: float,
    progress: Progress | None = None,
) -> Learned:
    """A copy of the network after it has learned, or as it came where the pieces are too small to learn from.

    span: of the scale of the pieces, in the scene's unit. Raises TrainingError as `learn_scene`.
    """
    recipe = task.recipe
    generator = np.random.default_rng(recipe.seed)
    learning = replace(recipe.learning, noise=recipe.learning.noise / span)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        try:
            return learn_scene(network, pieces, learning, stages=stages, generator=generator, progress=progress)
        except DataError as error:
            log.warning("%s; the weights are used as they came", error.message)
            judged = judge_scene(network, pieces, stages)
            return Learned(network, 0, 0, error.message, 0.0, 0, judged, judged)


def learned_before(restorer: Restorer, weights: Mapping[str, Tensor], told: Mapping[str, Any]) -> SceneEnlargement:
    """The model of an interrupted run: its weights, and what was decided."""
    model: SceneEnlargement = restorer.model  # type: ignore[assignment]
    model.network.load_state_dict(dict(weights))
    decided = told["stages"]
    found = replace(model.stages, **{**decided, "sigma": tuple(decided["sigma"])})
    network = model.network.to(memory_format=torch.channels_last)
    return SceneEnlargement(network, found, bands=model.bands).eval()


def decide(judged: Judgement | None, task: SceneTask) -> tuple[float, str]:
    """The share of the network in the result, and what that makes the result; said in the log."""
    margin = task.recipe.inference.margin
    if margin < 0:
        return 1.0, NAME
    if judged is None:
        log.warning("nothing was left to judge the network on: the scene is enlarged by %s", FALL_BACK)
        return 0.0, FALL_BACK
    if judged.gain < margin or judged.share == 0:
        log.info(
            "the network takes away %.2f %% of the error of %s, less than %.2f %%: the latter is returned",
            100 * judged.gain, FALL_BACK, 100 * margin,
        )  # fmt: skip
        return 0.0, FALL_BACK
    log.info("the network takes away %.2f %% of the error of %s", 100 * judged.gain, FALL_BACK)
    return judged.share, NAME


def begin(task: SceneTask) -> tuple[Model, str | None]:
    """The network as it begins, and the hash of its weights. Raises UsageError, UnknownNameError, CheckpointError."""
    recipe, own = task.recipe.network, own_scale(task)
    settings = {"scale": own, **recipe.settings}
    shipped = WEIGHTS_FOLDER / f"zero-shot-x{own}"
    # the shipped one by its place: a run of the same name is not meant
    start = recipe.start if recipe.start != "auto" else str(shipped) if shipped.is_dir() else shipped.name
    if start == "none":
        return build_model("zero-shot-sr", settings, seed=task.recipe.seed).eval(), None
    resolved = resolve(start)
    if resolved.path is None:
        raise UsageError(f"{start} has no weights to begin with", fix="give network.start=none, or a trained one")
    checkpoint = load_checkpoint(Path(resolved.path))
    model = checkpoint.model
    if not isinstance(model, ZeroShotSR) or model.settings.bands != 1:
        raise UsageError(f"{start} is no network of one band", fix="choose zero-shot-x2, or train zero-shot-sr")
    if model.scale != own:
        raise UsageError(
            f"{start} enlarges {model.scale} times, each stage here {own} times", fix="give network.start=auto or none"
        )
    different = {key: value for key, value in recipe.settings.items() if getattr(model.settings, key, None) != value}
    if different:
        raise UsageError(
            f"{start} is not of {', '.join(f'{key} {value}' for key, value in different.items())}",
            fix="give network.start=none, which draws its weights, or leave the settings out",
        )
    return model.eval(), checkpoint.sha256


def own_scale(task: SceneTask) -> int:
    """Enlargement of one stage."""
    if not task.recipe.network.gradual:
        return task.scale
    return 3 if task.scale == 3 else 2


def stage_factors(scale: int, own: int) -> list[int]:
    """Enlargement after every stage."""
    found, factor = [], 1
    while factor < scale:
        factor *= own
        found.append(factor)
    return found


def stages(task: SceneTask) -> Stages:
    """How the scene goes through the network. Raises UsageError for a sensor that is none."""
    chosen = task.recipe.inference
    return Stages(
        task.scale,
        Sensor.parse(chosen.sensor),
        chosen.ensemble,
        1.0,
        chosen.project,
        chosen.passes,
        chosen.patch,
        chosen.overlap,
        chosen.shifts,
        chosen.offset,
        task.recipe.seed,
        sharpen=chosen.sharpen,
    )


def observation(task: SceneTask) -> Observe:
    """The sensor's operator on arrays. Raises UsageError for a sensor that is none."""
    sensor = Sensor.parse(task.recipe.inference.sensor)

    def observed(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return observe(torch.from_numpy(image), sensor, factor=task.scale).numpy()

    return observed


def scaling_of(task: SceneTask, pixels: Pixels) -> BandScaling:
    """The scale of every band for the network: affine, never clipped. Raises UsageError for kelvin bounds of others."""
    chosen = task.recipe.inference
    if chosen.normalize == "percentile":
        return scene_scaling(pixels)
    units = {band.unit for band in pixels.bands}
    if units != {Unit.KELVIN}:
        raise UsageError(
            f"absolute bounds in kelvin for {', '.join(sorted(map(str, units)))}",
            fix="give inference.normalize=percentile",
        )
    low, high = chosen.kelvin
    return BandScaling(tuple(BandScale(band.name, band.unit, low, high, clip=False) for band in pixels.bands))


def scene_pieces(pixels: Pixels, scaling: BandScaling, *, held_back: float, guide: Tensor | None = None) -> list[Piece]:
    """Windows of the scene, or the scene, one band each, scaled, gaps filled by what is near. Raises DataError.

    guide: (band, y, x) on the scene's grid.
    """
    found = []
    whole = max(pixels.grid.size) <= _WHOLE
    windows = spread(pixels.grid.size, 1, _WHOLE) if whole else spread(pixels.grid.size, _COUNT, _SIDE)
    names = pixels.bands.names[:: max(1, -(-len(pixels.bands) // _LARGEST_BANDS))]
    blank = np.array([(band.low + band.high) / 2 for band in scaling.bands], np.float32)
    processor = Processor({LOW: scaling}, scaling)
    for window in windows:
        raster = physical(pixels, pixels.read_raw(window), window)
        if not raster.valid.any():
            continue
        encoded = torch.from_numpy(processor.encode_one(LOW, fill_near(raster, otherwise=blank)))
        valid = torch.from_numpy(np.ascontiguousarray(raster.valid))
        judged = hold_back(valid, held_back, origin=(window.row, window.column))
        hint = None if guide is None else guide[:, window.rows, window.columns]
        found += [Piece(_row(encoded, raster.bands.names, name), valid, judged, hint) for name in names]
    if not found:
        raise DataError("no pixel of the scene is valid", fix="look at its nodata value with eorestore info")
    return found


def _energy(model: SceneEnlargement, pieces: Sequence[Piece]) -> float:
    """The largest Laplacian energy of the scene, enlarged without the network."""
    with torch.inference_mode():
        return max(
            largest_energy(
                model.base(piece.image[None])[0].numpy(),
                valid=np.kron(piece.valid.numpy(), np.ones((model.scale, model.scale), dtype=bool)),
            )
            for piece in pieces
        )


def _row(encoded: Tensor, names: Sequence[str], name: str) -> Tensor:
    row = names.index(name)
    return encoded[row : row + 1].float()
