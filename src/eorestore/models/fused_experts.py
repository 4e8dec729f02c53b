"""Experts and the network that fuses them as one model: a small image in, a large one out; knows no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eorestore.config import ExpertConfig
from eorestore.errors import CheckpointError, UsageError
from eorestore.layers.reflection import reflect_pad
from eorestore.models.catalogue import SizeRule
from eorestore.models.checkpoint import Checkpoint
from eorestore.models.expert_facts import ExpertFacts, joined_rule
from eorestore.models.expert_fusion import ExpertFusion, reduce_groups
from eorestore.models.experts import ExpertSet, load_experts
from eorestore.models.model import Model, Output, Prepared, SceneSample


@dataclass(frozen=True)
class Routing:
    """Which tiles run all experts: the hardest ones of a scene, up to a share; the others run the first expert alone.

    How hard a tile is, is told before any expert runs: by its detail, the mean over bands and pixels of what a 5x5
    mean takes away, since experts disagree where there is detail. share: of tiles that may be hard, above 0, at most 1.
    tile: side of the blocks of the scene by which the limit is found, in pixels.
    """

    share: float
    tile: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(
                f"a budget of {100 * self.share:g} % of the tiles", fix="give more than 0 % and at most 100 %"
            )


class FusedExperts(Model):
    """`fusion` of what `experts` make of the small image.

    Its size rule is what all of them demand together; where one expert has no reach, tiles are blended. So they are
    with `routing`, lest a border of an easy and a hard tile shows.
    """

    def __init__(self, experts: ExpertSet, fusion: ExpertFusion, *, routing: Routing | None = None) -> None:
        super().__init__(fusion.settings)
        self.experts, self.fusion, self.routing = experts, fusion, routing
        own = SizeRule(**{name: getattr(fusion, name) for name in SizeRule.__dataclass_fields__})
        for name, value in joined_rule(own, experts.facts).items():
            setattr(self, name, value)
        if routing is not None:
            self.tiling, self.needs_scene = "blend", True
        self.extras, self.joint = fusion.extras, fusion.joint
        self.calls = {"easy": 0, "hard": 0}

    @property
    def expert_names(self) -> tuple[str, ...]:
        """What the experts are called, in the order of `experts_of`."""
        return tuple(facts.name for facts in self.experts.facts)

    def prepare(self, scene: SceneSample) -> Prepared:
        """What the fusion learns of the scene, and with `routing` the detail from which on a tile is hard."""
        learned = self.fusion.prepare(scene)
        if self.routing is None:
            return learned
        found = torch.cat([_blocks(window["low"], self.routing.tile) for window in scene.windows])
        limit = found.quantile(1 - self.routing.share) if self.routing.share < 1 else found.new_tensor(-1.0)
        return Prepared(learned.maps, {**learned.constants, "hard_from": limit[None]}, learned.warnings)

    def forward(
        self, *, low: Tensor, profile: Tensor | None = None, hard_from: Tensor | None = None, together: int = 1
    ) -> Output:
        """(batch, band, y, x) to (batch, band, scale * y, scale * x), with the extras of the fusion.

        Args:
            low: the small image, normalised.
            profile: what the fusion learned of the scene.
            hard_from: (batch or 1, 1), what `prepare` found with `routing`. Of an easy tile the weights are those of
                the first expert, difficulty and edges 0, and sigma knows of no disagreement.
            together: so many items, one after another, are bands of one scene, and easy or hard as one.
        """
        if hard_from is None:
            return self._fused(low, profile, together)
        limits = hard_from.reshape(-1)
        hard = reduce_groups(_detail(low), together) >= (limits if len(limits) == len(low) else limits[0])
        self.calls["hard"] += int(hard.sum())
        self.calls["easy"] += int((~hard).sum())
        if bool(hard.all()):
            return self._fused(low, profile, together)
        images, _ = self.experts.experts[0](low)
        extras = {name: images.new_zeros(len(images), bands, *images.shape[-2:]) for name, bands in self.extras.items()}
        extras["sigma"] = self.fusion.sigma_of(images.new_zeros(len(images), 1, *images.shape[-2:])).clone()
        if "gates" in extras:
            extras["gates"][:, 0] = 1
        if bool(hard.any()):
            own = None if profile is None else profile.expand(len(low), -1)[hard]
            fused = self._fused(low[hard], own, together)
            images = images.clone()
            images[hard] = fused.image
            for name, values in fused.extras.items():
                extras[name][hard] = values
        return Output(images, extras)

    def experts_of(self, low: Tensor) -> Tensor:
        """What every expert makes of (batch, band, y, x): (batch, expert, band, scale * y, scale * x)."""
        images: Tensor = self.experts(low)[0]
        return images

    def _fused(self, low: Tensor, profile: Tensor | None, together: int) -> Output:
        images, features = self.experts(low)
        if not self.fusion.settings.feature_channels:
            features = None
        output: Output = self.fusion(low=low, experts=images, features=features, profile=profile, together=together)
        return output


def _detail(low: Tensor) -> Tensor:
    """(batch,): how much of each image a 5x5 mean takes away."""
    smooth = F.avg_pool2d(reflect_pad(low, 2), 5, stride=1)
    return (low - smooth).abs().mean(dim=(1, 2, 3))


def _blocks(low: Tensor, side: int) -> Tensor:
    """The detail of the blocks of (group, band, y, x), mean over groups; those at the far edges are smaller."""
    height, width = low.shape[-2:]
    parts = [
        low[..., row : row + side, column : column + side]
        for row in range(0, height, side)
        for column in range(0, width, side)
    ]
    return torch.stack([_detail(part).mean() for part in parts])


def tiles_run(model: Model) -> dict[str, int]:
    """How many tiles, or groups of bands of one, a fusion inside `model` took for easy and for hard since loading."""
    found = [part.calls for part in model.modules() if isinstance(part, FusedExperts)]
    return dict(found[0]) if found else {}


def whole_model(
    checkpoint: Checkpoint, *, device: str = "cpu", workers: int = 1, routing: Routing | None = None
) -> Model:
    """What a checkpoint restores with: its network, or, where that fuses experts, those together with it.

    Raises what `fused_experts` does, and UsageError for a routing of a network that fuses nothing.
    """
    if isinstance(checkpoint.model, ExpertFusion):
        fused = fused_experts(checkpoint.model, checkpoint.config, device=device, workers=workers, routing=routing)
        return fused.eval()
    if routing is not None:
        raise UsageError("a share of tiles is a budget for fused experts", fix="give the memory in MB, or choose sr-x4")
    return checkpoint.model


def fused_experts(
    fusion: ExpertFusion,
    config: Mapping[str, Any],
    *,
    device: str = "cpu",
    workers: int = 1,
    routing: Routing | None = None,
) -> FusedExperts:
    """The fusion of a checkpoint with its experts, which are loaded from where they were, and must be the same.

    Args:
        fusion: the network.
        config: the checkpoint's `config.json`, with `experts`, each as ExpertFacts has it.
        device: where the experts run.
        workers: experts that run at the same time.
        routing: which tiles run all of them; every one without it.

    Raises what `load_experts` does; CheckpointError where the checkpoint names none.
    """
    named = [ExpertFacts.from_json(one) for one in config.get("experts", [])]
    if len(named) != fusion.settings.experts:
        raise CheckpointError(
            f"the checkpoint names {len(named)} experts for a fusion of {fusion.settings.experts}",
            fix="train it with `experts` in the preset",
        )
    wanted = [ExpertConfig(one.source, sha256=one.sha256, device=device) for one in named]
    features = bool(fusion.settings.feature_channels)
    experts = load_experts(wanted, scale=fusion.scale, features=features, workers=workers)
    return FusedExperts(experts, fusion, routing=routing)
