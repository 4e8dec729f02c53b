"""A loaded model ready for scenes: checked against them, and run over them; knows no file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eorestore.errors import MaskError, UsageError
from eorestore.models.catalogue import SizeRule
from eorestore.models.checkpoint import Checkpoint, load_checkpoint
from eorestore.models.fused_experts import Routing, whole_model
from eorestore.models.mask_rim import missed_rim, with_wider_mask
from eorestore.models.model import Model, Prepared, SceneSample
from eorestore.models.table import build_model
from eorestore.processing import Processor
from eorestore.processing.normalize import backscatter_scaling
from eorestore.processing.table import sentinel2_20m_processor
from eorestore.raster import BandSet, Pixels
from eorestore.restorer.coarse_bands import MULTISPECTRAL
from eorestore.restorer.consistency import SarFit, fit_sar
from eorestore.restorer.enlargement import Enlargement, fitted, plain_scaling
from eorestore.restorer.inference import Execution, forward_keywords
from eorestore.restorer.maps import NO_MAPS, MapStack, check_maps, model_maps
from eorestore.restorer.plan import LOW, ModelFacts, enlarging, model_facts, plan_scene
from eorestore.restorer.requirements import check_inputs, lenient
from eorestore.restorer.rows import Progress, Sink
from eorestore.restorer.scene import MaskOfWindow, PackedMask, Scene
from eorestore.restorer.speeds import Work
from eorestore.restorer.stream import Stream
from eorestore.restorer.survey import Survey, automatic_mask, network_mask, survey
from eorestore.tiling.tiles import TilePlan

_RIM_MISSED = (
    "the mask leaves out the rim of clouds or shadows: {0} pixels beside it stay as they are, but do not count as "
    "clear; --mask-margin {0} restores them, too"
)
_EVERYTHING = "without a mask, what the built-in one leaves out is taken for clear to learn from, and restored as well"
_LEAST_CLOUD = 0.05  # of a scene, below which the whole of it may as well lie in haze or shadow

logger = logging.getLogger(__name__)


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

    @property
    def wanted(self) -> tuple[str, ...]:
        """Inputs of the processor that the model takes, the one that is restored among them."""
        keywords = forward_keywords(self.model)
        return tuple(key for key in self.processor.inputs if key in keywords or key == self.primary)

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """What makes `sigma` honest, where the checkpoint has it; see `models.checkpoint.write_calibration`."""
        return self.facts.config.get("calibration")

    @property
    def scale(self) -> int:
        """Output pixels per input pixel along an axis."""
        return self.processor.scale

    def fitted(self, pixels: Pixels, *, consistent: bool | None) -> tuple[Restorer, Enlargement | None]:
        """The restorer as it serves a scene, and how; itself and None where it does not enlarge. Raises UsageError."""
        if self.facts.rule.scale == 1:
            return replace(self, facts=enlarging(self.facts, consistent)), None
        return fitted(self, pixels, consistent=consistent)

    def with_model(self, model: Model) -> Restorer:
        """The same with another network of the same wiring, such as one adapted to a scene."""
        return replace(self, model=model.to(self.execution.device).eval())

    def check(self, inputs: Mapping[str, BandSet], *, names: Mapping[str, str]) -> None:
        """Whether the inputs can serve; `names` is for messages. Raises UsageError, BandError, UnitError."""
        check_inputs(
            self.name,
            self.processor,
            inputs=inputs,
            names=names,
            wanted=self.wanted,
            optional=self.model.optional_inputs,
            primary=self.primary,
        )

    def absent(self, scene: Scene) -> tuple[str, ...]:
        """Inputs that the model takes and the scene lacks."""
        return tuple(key for key in self.wanted if key not in scene.inputs)

    def maps(self, save: Sequence[str], scene: Scene) -> MapStack:
        """The maps among `save` that the model gives. Raises UsageError for a name that it does not give."""
        check_maps(save, model=self.name, extras=self.model.extras, sar="sar" in scene.inputs)
        return model_maps(
            save,
            extras=self.model.extras,
            output=self.processor.output,
            bands=scene.optical.bands,
            calibration=self.calibration,
        )

    def compare(self, scene: Scene, mask: PackedMask | None, *, margin: int = 0) -> SarFit:
        """What the clear pixels say of SAR and optics, for the consistency map. Raises MaskError, UsageError.

        margin: pixels beside the mask that are not clear (`Prepared.margin`).
        """
        hidden = None if mask is None else mask.widened(margin)
        return fit_sar(scene, hidden, restored=self.processor.output.names)

    def plan(self, size: tuple[int, int]) -> TilePlan:
        """Tiles for a scene of `size` (height, width)."""
        return plan_scene(size, self.facts)

    def look(self, scene: Scene, mask: MaskOfWindow | None) -> tuple[Survey, Prepared]:
        """The pass over the scene before it is restored: mask, statistics, what the model learns from it."""
        guessed = self._clear_by_thresholds(scene) if mask is None else None
        wanted = self.model.needs_scene and guessed is None
        found = survey(scene, self.processor, mask=mask, wants_sample=wanted, absent=self.absent(scene))
        found = found if guessed is None else replace(found, sample=guessed)
        nothing = found.mask is not None and found.masked_share == 0
        if found.sample is None or nothing:
            return found, Prepared()
        margin = self._missed_rim(found.sample)
        with torch.inference_mode():
            prepared = self.model.prepare(with_wider_mask(found.sample, margin))
        if guessed is not None:
            prepared = replace(prepared, warnings=(*prepared.warnings, _EVERYTHING))
        elif margin:
            warnings = (*prepared.warnings, _RIM_MISSED.format(margin))
            prepared = replace(prepared, margin=margin, warnings=warnings)
        for warning in prepared.warnings:
            logger.warning(warning)
        return found, prepared

    def sample(self, scene: Scene, mask: MaskOfWindow | None) -> SceneSample:
        """The scene as `prepare` and `adaptation.adapt` see it, clear pixels or none. Raises DataError as `survey`."""
        sample = self._clear_by_thresholds(scene) if mask is None else None
        if sample is None:
            sample = survey(scene, self.processor, mask=mask, wants_sample=True, absent=self.absent(scene)).sample
        if sample is None:
            raise MaskError("the scene gives no sample", fix="give a mask that leaves something clear")
        return with_wider_mask(sample, self._missed_rim(sample))

    def _clear_by_thresholds(self, scene: Scene) -> SceneSample | None:
        """The scene under the built-in mask, for a model that learns from what is clear and restores every pixel.

        None for other models, without the bands that the mask needs, and where it finds hardly any cloud: then the
        whole scene may lie in haze or shadow.
        """
        if not self.model.doubts_mask:
            return None
        try:
            mask = automatic_mask(scene)
        except MaskError:
            return None
        found = survey(scene, self.processor, mask=mask, wants_sample=True, absent=self.absent(scene))
        return found.sample if found.masked_share >= _LEAST_CLOUD else None

    def _missed_rim(self, sample: SceneSample) -> int:
        """Pixels beside the mask that are not clear, for a model that doubts it."""
        if not self.model.doubts_mask:
            return 0
        scaling = self.processor.inputs[self.primary]
        pieces = ((scaling.decode(window[self.primary][0].numpy()), window["mask"]) for window in sample.windows)
        return missed_rim([(torch.from_numpy(values)[None], mask) for values, mask in pieces])

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
        maps: MapStack = NO_MAPS,
    ) -> Work:
        """Restore scene rows from `begin` on and hand them to `sink`, with the maps of `self.maps`."""
        stream = Stream(
            self.model,
            self.processor,
            scene,
            plan=self.plan(scene.size),
            mask=mask,
            prepared=prepared,
            factor=factor,
            execution=self.execution,
            absent=self.absent(scene),
            maps=maps,
        )
        stream.run(sink, begin=begin, progress=progress)
        return stream.work


def load_restorer(
    model: str | Checkpoint,
    *,
    bands: BandSet,
    tile: int | None = None,
    overlap: int | None = None,
    scale: int | None = None,
    share: float | None = None,
    execution: Execution | None = None,
) -> Restorer:
    """A shipped model, a run, a checkpoint folder or a baseline, ready to restore scenes with `bands`.

    Baselines take their processor from the scene's own bands. One that enlarges still has to be fitted to a scene, see
    `restorer.enlargement`. Raises UnknownNameError, MissingError, CheckpointError, UsageError.
    """
    execution = execution or Execution()
    _check_device(execution.device)
    if isinstance(model, Checkpoint):
        facts = _facts_of(model, tile, overlap)
        return _from_checkpoint(model, facts, execution)
    facts = model_facts(model, tile=tile, overlap=overlap, scale=scale, share=share)
    if facts.resolved.path is None:
        name, enlarged = facts.resolved.name, facts.rule.scale
        network = build_model(name, {} if enlarged == 1 else {"scale": enlarged}).eval().to(execution.device)
        sharpens = MULTISPECTRAL in forward_keywords(network)
        own = sentinel2_20m_processor() if sharpens else baseline_processor(bands, scale=enlarged)
        processor = lenient(own, network.optional_inputs)
        return Restorer(name, network, processor, facts, None, execution)
    routing = None if share is None else Routing(share, tile=facts.tile)
    return _from_checkpoint(load_checkpoint(facts.resolved.path), facts, execution, routing=routing)


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


def baseline_processor(bands: BandSet, *, scale: int = 1) -> Processor:
    """Reflectance passes as it is, without a clip; SAR is scaled as GLF-CR scales it. What is enlarged stands alone."""
    optical = plain_scaling(bands)
    if scale > 1:
        return Processor({LOW: optical}, optical, scale)
    return Processor({"cloudy": optical, "sar": backscatter_scaling()}, optical)


def _check_device(name: str) -> None:
    kind, _, index = name.partition(":")
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in counts or (index and not index.isdigit()):
        raise UsageError(f"no device is called {name!r}", fix="use cpu, cuda, cuda:1 or mps")
    if int(index or 0) >= counts[kind]:
        raise UsageError(f"there is no device {name} here", fix="use --device cpu")


def _from_checkpoint(
    checkpoint: Checkpoint, facts: ModelFacts, execution: Execution, *, routing: Routing | None = None
) -> Restorer:
    model = whole_model(checkpoint, device=execution.device, routing=routing).to(execution.device)
    processor = lenient(checkpoint.processor, model.optional_inputs)
    return Restorer(facts.resolved.name, model, processor, facts, checkpoint.sha256, execution)


def _facts_of(checkpoint: Checkpoint, tile: int | None, overlap: int | None) -> ModelFacts:
    from eorestore.models.catalogue import Resolved

    config = checkpoint.config
    resolved = Resolved("checkpoint", str(config["model"]), None)
    chosen = config["overlap"] if overlap is None else overlap
    return ModelFacts(resolved, SizeRule.from_config(config), tile or config["tile"], chosen, config)
