"""Models that enlarge whole images, by name, and how each is run; knows no score and no file of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from eorestore.data.expert_pictures import is_pictures
from eorestore.errors import UsageError
from eorestore.models.catalogue import read_config, resolve
from eorestore.models.checkpoint import Checkpoint, load_checkpoint
from eorestore.models.fused_experts import whole_model
from eorestore.models.model import Model, Output, SceneSample
from eorestore.processing import Processor
from eorestore.processing.resize import enlarge
from eorestore.processing.table import rgb_processor
from eorestore.restorer.inference import Execution, forward_keywords, run_model
from eorestore.restorer.maps import SIGMA
from eorestore.tiling.ensembling import turn, turn_back
from eorestore.tiling.tiles import Tile, plan_tiles

BICUBIC = "bicubic"
TASK = "super-resolution"
SCALE = 4  # of the bicubic enlargement where no network says another
WHOLE_SIDE = 1500  # pixels of the small image; above, a network of declared reach is run in tiles, which is exact
_TILE = 512
_INPUTS = ({"low"}, {"low", "experts"})


@runtime_checkable
class HasExperts(Protocol):
    """A network that runs experts itself and fuses them."""

    @property
    def expert_names(self) -> tuple[str, ...]:
        """Of the experts, in the order of `experts_of`."""
        ...

    def experts_of(self, low: Tensor) -> Tensor:
        """(batch, band, y, x) -> (batch, expert, band, scale * y, scale * x), what each expert gives."""
        ...


@dataclass(frozen=True)
class ImageModel:
    """One way to enlarge an image; without a checkpoint it is the bicubic one."""

    name: str
    scale: int
    checkpoint: Checkpoint | None = None
    device: str = "cpu"

    @property
    def takes_experts(self) -> bool:
        """Whether it fuses images that are given to it."""
        return self.checkpoint is not None and "experts" in forward_keywords(self.checkpoint.model)

    @property
    def wanted_experts(self) -> tuple[str, ...]:
        """Names of the experts that it was trained to fuse, in their order; none for a model that fuses nothing."""
        named = [] if self.checkpoint is None else self.checkpoint.config.get("experts", [])
        return tuple(one["name"] for one in named)

    @property
    def expert_names(self) -> tuple[str, ...]:
        """Of the experts that it runs itself; none for any other model."""
        network = None if self.checkpoint is None else self.checkpoint.model
        return tuple(network.expert_names) if isinstance(network, HasExperts) else ()

    def enlarged(self, low: Tensor, *, experts: Tensor | None = None, tta: bool = False) -> Tensor:
        """The image (band, scale * y, scale * x) of (band, y, x), encoded, in no way clipped or rounded.

        experts: (expert, band, scale * y, scale * x), for a model that takes them. tta: mean over eight turns.
        """
        if self.checkpoint is None:
            return enlarge(low, factor=self.scale)
        network = self.checkpoint.model
        if not self.takes_experts:
            return _in_tiles(network, low, self._execution(tta=tta))
        if experts is None:
            raise UsageError(f"{self.name} fuses the images of experts", fix="name their folder: --expert-outputs DIR")
        return _fused(network, low, experts, self._execution(tta=False), turns=8 if tta else 1)

    def with_sigma(self, low: Tensor, *, experts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The image and the error that the model expects, both (band, scale * y, scale * x). Raises UsageError."""
        network = None if self.checkpoint is None else self.checkpoint.model
        if network is None or SIGMA not in network.extras:
            raise UsageError(f"{self.name} gives no sigma", fix="choose a fusion of experts")
        inputs = _inputs(network, low) | ({} if experts is None else {"experts": experts[None]})
        both = run_model(network, inputs, self._execution(tta=False), extras=(SIGMA,))[0]
        bands = network.extras[SIGMA]
        return both[:-bands], both[-bands:]

    def experts_of(self, low: Tensor, *, tta: bool = False) -> Tensor:
        """What its experts give for (band, y, x): (expert, band, scale * y, scale * x). Raises UsageError."""
        network = None if self.checkpoint is None else self.checkpoint.model
        if not isinstance(network, Model) or not isinstance(network, HasExperts):
            raise UsageError(f"{self.name} runs no experts", fix="ask a fused model")
        apart = _in_tiles(_ExpertsApart(network), low, self._execution(tta=tta))
        return apart.reshape(len(network.expert_names), -1, *apart.shape[-2:])

    def _execution(self, *, tta: bool) -> Execution:
        return Execution(batch=1, device=self.device, tta=tta)


def is_image_model(name: str) -> bool:
    """Whether a model enlarges images. Raises as `models.catalogue.resolve` does."""
    if name == BICUBIC:
        return True
    found = resolve(name)
    return found.kind == "checkpoint" and found.path is not None and read_config(found.path)["task"] == TASK


def load_image_models(
    names: Sequence[str], *, scale: int | None = None, run_experts: bool = True
) -> tuple[ImageModel, ...]:
    """The models that names, runs and checkpoint folders mean, and `bicubic`, all of one scale.

    scale: asked for; by default that of the networks, or 4. run_experts: whether a fusion is loaded with its experts,
    or is given their images. Raises UsageError for what enlarges nothing, for two
    scales or a name twice, and as `models.catalogue.resolve` and `models.checkpoint.load_checkpoint` do.
    """
    if not names:
        raise UsageError("no model is named", fix=f"name at least one, such as {BICUBIC}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = {name: _load(name) for name in names if name != BICUBIC}
    scales = {loaded.model.scale for loaded in networks.values()} | ({scale} if scale is not None else set())
    if len(scales) > 1:
        found = ", ".join(f"{name} {loaded.model.scale}" for name, loaded in networks.items())
        raise UsageError(
            f"models and --scale enlarge by different factors: {found or BICUBIC}, --scale {scale or 'not given'}",
            fix="evaluate each factor by itself",
        )
    factor = scales.pop() if scales else SCALE
    found_models = [_model(name, networks.get(name), factor, device, run_experts=run_experts) for name in names]
    labels = [model.name for model in found_models]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise UsageError(f"two models are called {', '.join(twice)}", fix="name each model once, or rename a folder")
    return tuple(found_models)


def shared_processor(models: Sequence[ImageModel], *, scale: int) -> Processor:
    """The processor of all networks, or that of RGB pictures where there is none.

    Raises UsageError where two networks see images differently.
    """
    known = [(model.name, model.checkpoint.processor) for model in models if model.checkpoint is not None]
    if not known:
        return rgb_processor(scale)
    first, processor = known[0]
    for name, other in known[1:]:
        if (other.inputs["low"], other.output) != (processor.inputs["low"], processor.output):
            raise UsageError(
                f"{first} and {name} take other bands or scale them differently", fix="evaluate each by itself"
            )
    return processor


class _ExpertsApart(Model):
    """The images of a fused network's experts, their bands one after another in one image."""

    def __init__(self, fused: HasExperts) -> None:
        network = cast(Model, fused)
        super().__init__(network.settings)
        self.fused = network
        for name in ("scale", "multiple_of", "reach", "phase", "tiling"):
            setattr(self, name, getattr(network, name))

    def forward(self, *, low: Tensor) -> Output:
        """(batch, band, y, x) -> (batch, expert * band, scale * y, scale * x)."""
        return Output(cast(HasExperts, self.fused).experts_of(low).flatten(1, 2))


def _load(name: str) -> Checkpoint:
    found = resolve(name)
    if found.kind == "preset":
        raise UsageError(f"{name} is a preset and has no weights", fix=f"train it first: eorestore train -c {name}")
    if found.path is None:
        raise UsageError(f"the baseline {name} does not enlarge images", fix=f"name {BICUBIC}, or a model of {TASK}")
    config = read_config(found.path)
    if config["task"] != TASK or set(config["inputs"]) not in _INPUTS:
        raise UsageError(
            f"{name} is a model of {config['task']} that takes {', '.join(config['inputs'])}, not one that enlarges",
            fix=f"name {BICUBIC}, or a model of {TASK} that takes low",
        )
    return load_checkpoint(found.path)


def _model(name: str, checkpoint: Checkpoint | None, scale: int, device: str, *, run_experts: bool) -> ImageModel:
    if checkpoint is None:
        return ImageModel(name, scale)
    experts = checkpoint.config.get("experts", [])
    if run_experts and experts and not any(is_pictures(one["source"]) for one in experts):
        checkpoint = replace(checkpoint, model=whole_model(checkpoint, device=device))
    checkpoint.model.to(device)
    return ImageModel(name, scale, checkpoint, device)


def _in_tiles(network: Model, low: Tensor, execution: Execution) -> Tensor:
    """The image (band, y, x) of a network; in tiles where it is large and the network's reach is known."""
    if max(low.shape[-2:]) <= WHOLE_SIDE or network.reach is None or network.tiling != "crop":
        return run_model(network, _inputs(network, low), execution)[0]
    plan = plan_tiles(
        (low.shape[-2], low.shape[-1]),
        tile=_TILE,
        mode="crop",
        reach=network.reach,
        multiple_of=network.multiple_of,
        phase=network.phase,
    )
    learned = _learned(network, low)

    def core(tile: Tile) -> Tensor:
        window = tile.window
        inputs = {"low": low[None, :, window.rows, window.columns], **learned}
        rows = _within(tile.core.row - window.row, tile.core.height, network.scale)
        columns = _within(tile.core.column - window.column, tile.core.width, network.scale)
        return run_model(network, inputs, execution)[0, :, rows, columns]

    return torch.cat([torch.cat([core(tile) for tile in row], dim=-1) for row in plan.rows], dim=-2)


def _within(start: int, length: int, scale: int) -> slice:
    return slice(scale * start, scale * (start + length))


def _fused(network: Model, low: Tensor, experts: Tensor, execution: Execution, *, turns: int) -> Tensor:
    """The fusion of given images; turned by hand, since a self-ensemble turns what has the size of `low` alone."""
    total: Tensor | None = None
    for index in range(turns):
        inputs = {"low": turn(low[None], index), "experts": turn(experts[None], index)}
        image = turn_back(run_model(network, {**inputs, **_learned(network, inputs["low"][0])}, execution), index)
        total = image if total is None else total + image
    return cast(Tensor, total)[0] / turns


def _inputs(network: Model, low: Tensor) -> dict[str, Tensor]:
    return {"low": low[None], **_learned(network, low)}


def _learned(network: Model, low: Tensor) -> Mapping[str, Any]:
    """What `prepare` learns of the whole image, as keywords of forward."""
    if not network.needs_scene:
        return {}
    seen = {"low": low[None]}
    with torch.inference_mode():
        prepared = network.prepare(SceneSample(seen, (seen,)))
    if prepared.maps:
        raise UsageError("a model that prepares maps of the scene is not scored on images", fix="leave it out")
    return {name: value[None] for name, value in prepared.constants.items()}
