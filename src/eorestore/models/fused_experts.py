"""Experts and the network that fuses them as one model: a small image in, a large one out; knows no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from eorestore.config import ExpertConfig
from eorestore.errors import CheckpointError
from eorestore.models.catalogue import SizeRule
from eorestore.models.checkpoint import Checkpoint
from eorestore.models.expert_facts import ExpertFacts, joined_rule
from eorestore.models.expert_fusion import ExpertFusion
from eorestore.models.experts import ExpertSet, load_experts
from eorestore.models.model import Model, Output, Prepared, SceneSample


class FusedExperts(Model):
    """`fusion` of what `experts` make of the small image.

    Its size rule is what all of them demand together; where one expert has no reach, tiles are blended.
    """

    def __init__(self, experts: ExpertSet, fusion: ExpertFusion) -> None:
        super().__init__(fusion.settings)
        self.experts, self.fusion = experts, fusion
        own = SizeRule(**{name: getattr(fusion, name) for name in SizeRule.__dataclass_fields__})
        for name, value in joined_rule(own, experts.facts).items():
            setattr(self, name, value)
        self.extras = fusion.extras

    @property
    def expert_names(self) -> tuple[str, ...]:
        """What the experts are called, in the order of `experts_of`."""
        return tuple(facts.name for facts in self.experts.facts)

    def prepare(self, scene: SceneSample) -> Prepared:
        """What the fusion learns of the scene."""
        return self.fusion.prepare(scene)

    def forward(self, *, low: Tensor, profile: Tensor | None = None) -> Output:
        """(batch, band, y, x) to (batch, band, scale * y, scale * x), with the extras of the fusion."""
        images, features = self.experts(low)
        if not self.fusion.settings.feature_channels:
            features = None
        output: Output = self.fusion(low=low, experts=images, features=features, profile=profile)
        return output

    def experts_of(self, low: Tensor) -> Tensor:
        """What every expert makes of (batch, band, y, x): (batch, expert, band, scale * y, scale * x)."""
        images: Tensor = self.experts(low)[0]
        return images


def whole_model(checkpoint: Checkpoint, *, device: str = "cpu", workers: int = 1) -> Model:
    """What a checkpoint restores with: its network, or, where that fuses experts, those together with it.

    Raises what `fused_experts` does.
    """
    if not isinstance(checkpoint.model, ExpertFusion):
        return checkpoint.model
    return fused_experts(checkpoint.model, checkpoint.config, device=device, workers=workers).eval()


def fused_experts(
    fusion: ExpertFusion, config: Mapping[str, Any], *, device: str = "cpu", workers: int = 1
) -> FusedExperts:
    """The fusion of a checkpoint with its experts, which are loaded from where they were, and must be the same.

    Args:
        fusion: the network.
        config: the checkpoint's `config.json`, with `experts`, each as ExpertFacts has it.
        device: where the experts run.
        workers: experts that run at the same time.

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
    return FusedExperts(load_experts(wanted, scale=fusion.scale, features=features, workers=workers), fusion)
