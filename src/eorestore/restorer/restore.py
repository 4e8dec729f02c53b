"""A loaded model ready for scenes, and restoring a Raster in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eorestore.errors import GridError, UsageError
from eorestore.models.catalogue import SizeRule
from eorestore.models.checkpoint import Checkpoint, load_checkpoint
from eorestore.models.model import Model, Prepared
from eorestore.models.table import build_model
from eorestore.processing import BandScale, BandScaling, Processor
from eorestore.processing.normalize import backscatter_scaling
from eorestore.raster import BandSet, Raster
from eorestore.restorer.plan import ModelFacts, model_facts, plan_scene
from eorestore.restorer.scene import MaskOfWindow, MemoryPixels, PackedMask, Scene
from eorestore.restorer.stream import Execution, Progress, Sink, Stream, forward_keywords
from eorestore.restorer.survey import Survey, automatic_mask, network_mask, survey
from eorestore.tiling.tiles import TilePlan


@dataclass(frozen=True)
class Restored:
    """A restored scene: the raster, and for each pixel where it comes from (`tiling.compositing.Source`)."""

    raster: Raster
    source: NDArray[np.uint8]
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Restorer:
    """Model, processor and tiling of one name."""

    name: str
    model: Model
    processor: Processor
    facts: ModelFacts
    sha256: str | None = None
    execution: Execution = field(default_factory=Execution)

    @property
    def primary(self) -> str:
        """The input that is restored."""
        return next(iter(self.processor.inputs))

    def check(self, inputs: Mapping[str, BandSet], *, names: Mapping[str, str]) -> None:
        """Whether the inputs can serve; `names` is for messages. Raises UsageError, BandError, UnitError."""
        wanted = [key for key in self.processor.inputs if key in forward_keywords(self.model) or key == self.primary]
        for key in wanted:
            if key not in inputs:
                raise UsageError(f"{self.name} needs a {key} scene", fix=f"give it with --{key}")
            self.processor.check(key, inputs[key], source=names[key])

    def plan(self, size: tuple[int, int]) -> TilePlan:
        """Tiles for a scene of `size` (height, width)."""
        return plan_scene(size, self.facts)

    def look(self, scene: Scene, mask: MaskOfWindow | None) -> tuple[Survey, Prepared]:
        """The pass over the scene before it is restored: mask, statistics, what the model learns from it."""
        found = survey(scene, self.processor, mask=mask, wants_sample=self.model.needs_scene)
        nothing = found.mask is not None and found.masked_share == 0
        if found.sample is None or nothing:
            return found, Prepared()
        with torch.inference_mode():
            return found, self.model.prepare(found.sample)

    def run(
        self,
        scene: Scene,
        sink: Sink,
        *,
        mask: PackedMask | None,
        prepared: Prepared,
        factor: int,
        begin: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Restore scene rows from `begin` on and hand them to `sink`."""
        stream = Stream(
            self.model,
            self.processor,
            scene,
            plan=self.plan(scene.size),
            mask=mask,
            prepared=prepared,
            factor=factor,
            execution=self.execution,
        )
        stream.run(sink, begin=begin, progress=progress)


def load_restorer(
    model: str | Checkpoint,
    *,
    bands: BandSet,
    tile: int | None = None,
    overlap: int | None = None,
    execution: Execution | None = None,
) -> Restorer:
    """A shipped model, a run, a checkpoint folder or a baseline, ready to restore scenes with `bands`.

    Baselines take their processor from the scene's own bands. Raises UnknownNameError, MissingError,
    CheckpointError, UsageError.
    """
    execution = execution or Execution()
    _check_device(execution.device)
    if isinstance(model, Checkpoint):
        facts = _facts_of(model, tile, overlap)
        return _from_checkpoint(model, facts, execution)
    facts = model_facts(model, tile=tile, overlap=overlap)
    if facts.resolved.path is None:
        name = facts.resolved.name
        network = build_model(name, {}).eval()
        return Restorer(name, network, baseline_processor(bands), facts, None, execution)
    return _from_checkpoint(load_checkpoint(facts.resolved.path), facts, execution)


def restore_raster(
    model: str | Checkpoint | Restorer,
    rasters: Mapping[str, Raster],
    *,
    mask: NDArray[np.bool_] | str | None = "auto",
    execution: Execution | None = None,
) -> Restored:
    """Restore a scene in memory.

    Args:
        model: a name, a checkpoint, or a loaded Restorer.
        rasters: by the model's keywords: `cloudy` (reflectance) and, for most models, `sar`, on one grid.
        mask: (y, x), True where a pixel is to be restored; `auto`, `csmask`; None restores every pixel.
        execution: batch, device, precision, self-ensemble.

    Returns:
        The raster with the bands of `cloudy`; pixels outside the mask are untouched.
    """
    restorer = model if isinstance(model, Restorer) else load_restorer(model, bands=rasters["cloudy"].bands)
    if execution is not None:
        restorer = replace(restorer, execution=execution)
    inputs = {key: MemoryPixels(raster) for key, raster in rasters.items()}
    for key, raster in rasters.items():
        if not raster.grid.same_as(rasters["cloudy"].grid):
            raise GridError(f"the {key} raster lies on another grid", fix="warp it onto the grid of the cloudy one")
    restorer.check({key: raster.bands for key, raster in rasters.items()}, names={key: key for key in rasters})
    scene = Scene(inputs, restorer.primary)
    found, prepared = restorer.look(scene, mask_of(scene, mask))
    original = rasters[restorer.primary]
    values, source = np.empty_like(original.values), np.empty(original.grid.size, np.uint8)

    def sink(first: int, raw: NDArray[Any], origin: NDArray[np.uint8]) -> None:
        rows = slice(first, first + raw.shape[1])
        values[:, rows], source[rows] = raw, origin

    if found.masked_share == 0:
        return Restored(original, np.where(original.valid, np.uint8(1), np.uint8(0)))
    factor = 1 if found.sample is None else found.sample.factor
    restorer.run(scene, sink, mask=found.mask, prepared=prepared, factor=factor)
    return Restored(replace(original, values=np.where(original.valid, values, original.values)), source)


def mask_of(scene: Scene, mask: NDArray[np.bool_] | str | None) -> MaskOfWindow | None:
    """A mask as a function of a window: an array, `auto`, `csmask`, or None (also `none`) for everything."""
    if mask is None or (isinstance(mask, str) and mask == "none"):
        return None
    if isinstance(mask, str):
        makers = {"auto": automatic_mask, "csmask": network_mask}
        if mask not in makers:
            raise UsageError(f"no mask is called {mask!r}", fix="use auto, csmask, none or an array")
        return makers[mask](scene)
    if mask.shape != scene.size:
        raise UsageError(f"the mask is {mask.shape}, the scene {scene.size}", fix="give a mask of the scene's size")
    return lambda window: mask[window.rows, window.columns]


def baseline_processor(bands: BandSet) -> Processor:
    """Reflectance passes as it is, without a clip; SAR is scaled as GLF-CR scales it."""
    optical = BandScaling(tuple(BandScale(band.name, band.unit, 0.0, 1.0, clip=False) for band in bands))
    return Processor({"cloudy": optical, "sar": backscatter_scaling()}, optical)


def _check_device(name: str) -> None:
    kind, _, index = name.partition(":")
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in counts or (index and not index.isdigit()):
        raise UsageError(f"no device is called {name!r}", fix="use cpu, cuda, cuda:1 or mps")
    if int(index or 0) >= counts[kind]:
        raise UsageError(f"there is no device {name} here", fix="use --device cpu")


def _from_checkpoint(checkpoint: Checkpoint, facts: ModelFacts, execution: Execution) -> Restorer:
    model = checkpoint.model.to(execution.device)
    return Restorer(facts.resolved.name, model, checkpoint.processor, facts, checkpoint.sha256, execution)


def _facts_of(checkpoint: Checkpoint, tile: int | None, overlap: int | None) -> ModelFacts:
    from eorestore.models.catalogue import Resolved

    config = checkpoint.config
    resolved = Resolved("checkpoint", str(config["model"]), None)
    chosen = config["overlap"] if overlap is None else overlap
    return ModelFacts(resolved, SizeRule.from_config(config), tile or config["tile"], chosen, config)
