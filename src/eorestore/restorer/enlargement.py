"""A model that enlarges, fitted to the bands and values of one scene; knows no file format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eorestore.errors import UsageError
from eorestore.models.back_projection import BackProjected
from eorestore.models.band_groups import BandGroups
from eorestore.models.model import Model
from eorestore.processing import BandScale, BandScaling, Processor
from eorestore.processing.band_grouping import Grouping, group_bands
from eorestore.raster import BandSet, Pixels, Unit
from eorestore.raster.encoding import Encoding
from eorestore.restorer.inference import forward_keywords
from eorestore.restorer.plan import LOW, ModelFacts, enlarging
from eorestore.restorer.scene import physical, spread

if TYPE_CHECKING:
    from eorestore.restorer.restore import Restorer

_PERCENTILES = (1.0, 99.0)
_SIDE, _COUNT, _EVERY = 512, 16, 2
_WHITE = 255.0


@dataclass(frozen=True)
class Enlargement:
    """How a scene goes through a model that enlarges.

    scale: output pixels per input pixel along an axis. consistent: whether the result is back-projected. groups: names
    of the bands that go through together; none where they are the model's own. ranges: by band, the physical values
    that the model sees as 0 and 1.
    """

    scale: int
    consistent: bool
    groups: tuple[tuple[str, ...], ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        groups = [list(group) for group in self.groups]
        ranges = {name: list(ends) for name, ends in self.ranges.items()}
        return {"scale": self.scale, "consistent": self.consistent, "band_groups": groups, "ranges": ranges}


def fitted(restorer: Restorer, pixels: Pixels, *, consistent: bool | None) -> tuple[Restorer, Enlargement]:
    """The restorer as it serves a scene of any bands, and what was done.

    Where the bands of the scene are those of the model, its processor is used, without clipping. Otherwise they go
    through it in groups, with a processor made of the scene's own bands: levels as a share of the highest, all else
    from the 1st to the 99th percentile of each band of the scene, taken once. So a dark band beside a bright one has
    the contrast that networks learn on pictures.

    Args:
        restorer: as loaded.
        pixels: the scene.
        consistent: back-project the result; None does it for networks and leaves baselines as they are.

    Raises:
        UsageError: a model that wants more than one small image.
    """
    facts = enlarging(restorer.facts, consistent)
    model: Model = restorer.model
    unknown = set(forward_keywords(model)) - {LOW, "profile", "hard_from", "together"}
    if unknown:
        raise UsageError(
            f"{restorer.name} also takes {', '.join(sorted(unknown))}",
            fix="choose a model that enlarges a scene by itself",
        )
    bands, scaling = pixels.bands, restorer.processor.inputs[LOW]
    groups: Grouping | None = None
    if not facts.config:
        scaling = plain_scaling(bands)
    elif {band.name: band.unit for band in scaling.bands} == {band.name: band.unit for band in bands}:
        scaling = BandScaling(tuple(replace(band, clip=False) for band in scaling.bands))
    else:
        groups = group_bands(bands, like=scaling.names)
        model, scaling = BandGroups(model, groups), scene_scaling(pixels)
        facts = _regrouped(facts, groups)
    if facts.consistent:
        model = BackProjected(model)
    done = Enlargement(
        facts.rule.scale,
        facts.consistent,
        () if groups is None else tuple(map(tuple, groups.names(bands))),
        {band.name: (band.low, band.high) for band in scaling.bands} if facts.config else {},
    )
    # groups are further images of the batch: as many tiles fewer keep the memory
    batch = max(restorer.execution.batch // (1 if groups is None else len(groups.groups)), 1)
    processor = Processor({LOW: scaling}, scaling, facts.rule.scale)
    execution = replace(restorer.execution, batch=batch)
    return replace(restorer, model=model.eval(), processor=processor, facts=facts, execution=execution), done


def plain_scaling(bands: BandSet) -> BandScaling:
    """Values as they are."""
    return BandScaling(tuple(BandScale(band.name, band.unit, 0.0, 1.0, clip=False) for band in bands))


def scene_scaling(pixels: Pixels) -> BandScaling:
    """Physical values of a scene mapped to about 0 ... 1, one gain and offset a band, nothing clipped."""
    highest = {band.name: _highest_level(band.unit, pixels.encoding) for band in pixels.bands}
    measured = _measured_ends(pixels) if None in highest.values() else {}
    rows = [
        (band, measured[band.name] if top is None else (0.0, top))
        for band, top in zip(pixels.bands, highest.values(), strict=True)
    ]
    return BandScaling(tuple(BandScale(band.name, band.unit, low, high, clip=False) for band, (low, high) in rows))


def _highest_level(unit: Unit, encoding: Encoding) -> float | None:
    """The highest level of a picture's band; None for what is no level."""
    if unit is not Unit.LEVEL:
        return None
    return float(np.iinfo(encoding.dtype).max * encoding.scale + encoding.offset) if encoding.is_integer else _WHITE


def _measured_ends(pixels: Pixels) -> dict[str, tuple[float, float]]:
    """Robust least and largest value of each band, from windows spread over the scene; always the same for a scene."""
    seen = []
    for window in spread(pixels.grid.size, _COUNT, _SIDE):
        piece = physical(pixels, pixels.read_raw(window), window)
        seen.append(piece.values[:, ::_EVERY, ::_EVERY][:, piece.valid[::_EVERY, ::_EVERY]])
    values = np.concatenate(seen, axis=1)
    if values.shape[1] == 0:
        return dict.fromkeys(pixels.bands.names, (0.0, 1.0))
    low, high = np.percentile(values, _PERCENTILES, axis=1)
    # A constant band has no range; any width keeps the division finite.
    high = np.where(high > low, high, low + 1.0)
    return {name: (float(low[row]), float(high[row])) for row, name in enumerate(pixels.bands.names)}


def _regrouped(facts: ModelFacts, groups: Grouping) -> ModelFacts:
    """The facts with the calibration of sigma, which has a factor for each of the model's bands, for the scene's."""
    calibration = facts.config.get("calibration")
    if calibration is None:
        return facts
    factors = [calibration["scale"][place] for _, place in groups.taken]
    return replace(facts, config={**facts.config, "calibration": {**calibration, "scale": factors}})
