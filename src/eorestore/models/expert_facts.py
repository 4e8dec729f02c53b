"""What is known of a frozen expert without running it, and what a network and its experts demand together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from eorestore.errors import CheckpointError
from eorestore.models.catalogue import SizeRule


@dataclass(frozen=True)
class ExpertFacts:
    """What is to be known of an expert without loading it; plain values, in checkpoints and caches.

    name: to call it by. source: what it was loaded from. sha256: of its weights. scale: enlargement of what it is
    given to what it gives; a network of scale 1 is given the bicubic enlargement. bands: of both.
    feature_channels: 0 where no features are asked for. multiple_of, minimum: of the sides of what enters it.
    """

    name: str
    source: str
    sha256: str
    scale: int
    bands: int
    feature_channels: int
    multiple_of: int
    minimum: int
    reach: int | None
    phase: int
    parameters: int

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ExpertFacts:
        """The inverse of `dataclasses.asdict`. Raises CheckpointError."""
        try:
            return cls(**values)
        except TypeError as error:
            raise CheckpointError(f"an expert is described by other keys: {error}", fix="write the file anew") from None


@dataclass(frozen=True)
class LoadedNetwork:
    """A network of any origin: how to call it, and where its features appear."""

    network: nn.Module
    call: Callable[[Tensor], Tensor]
    facts: ExpertFacts
    features: str | None
    bf16: bool


def joined_rule(rule: SizeRule, facts: Sequence[ExpertFacts]) -> dict[str, Any]:
    """The size rule of a fusion network together with its experts, as `config.json` has it."""
    given = [replace(one, multiple_of=one.multiple_of if one.scale > 1 else 1) for one in facts]
    reaches = [one.reach for one in given]
    reach = None
    if rule.reach is not None and None not in reaches:
        reach = rule.reach + max((one for one in reaches if one is not None), default=0)
    return {
        "scale": rule.scale,
        "multiple_of": math.lcm(rule.multiple_of, *(one.multiple_of for one in given)),
        "reach": reach,
        "phase": math.lcm(rule.phase, *(one.phase for one in given)),
        "tiling": "blend" if reach is None else rule.tiling,
        "needs_scene": rule.needs_scene,
    }
