"""What a restoration will take: tiles, memory, bytes and time; imports no torch, so that --dry-run is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eorestore.errors import UsageError
from eorestore.models.catalogue import BASELINES, Resolved, SizeRule, read_config, resolve
from eorestore.processing import filling
from eorestore.processing.taps import CONSISTENCY_REACH
from eorestore.tiling.tiles import TilePlan, plan_tiles

BASE_MEGABYTES = 450  # interpreter, torch, GDAL and its cache of 64 MB
_ACTIVATIONS = 260  # float32 values alive per input pixel in a forward of a compact network
_DEFAULT_TILE = 256
_ENLARGED_COPIES = 10  # of an enlarged tile, as it is resized and encoded
LOW = "low"  # the keyword of an image that is enlarged


@dataclass(frozen=True)
class Layout:
    """What a row of the result weighs: bands and dtype of the image, width, and bands of float32 maps."""

    bands: int
    dtype: str
    size: tuple[int, int]
    maps: int = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of all bands."""
        return self.bands * self.size[1] * np.dtype(self.dtype).itemsize

    @property
    def map_bytes(self) -> int:
        """Bytes of one row of all maps."""
        return self.maps * self.size[1] * 4

    @property
    def total_bytes(self) -> int:
        """Bytes of image, source layer and maps together."""
        return self.size[0] * (self.row_bytes + self.map_bytes + self.size[1])


@dataclass(frozen=True)
class ModelFacts:
    """What tiling needs to know of a model before it is loaded.

    consistent: whether what it enlarges is back-projected; see `enlarging`.
    """

    resolved: Resolved
    rule: SizeRule
    tile: int
    overlap: int
    config: Mapping[str, Any]
    consistent: bool = False

    @property
    def primary(self) -> str:
        """The model's keyword for the scene that is restored."""
        if not self.config:
            return LOW if self.rule.scale > 1 else "cloudy"
        return str(next(iter(self.config["processor"]["inputs"])))


def model_facts(
    model: str,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    scale: int | None = None,
    share: float | None = None,
) -> ModelFacts:
    """The size rule of a model by name or path.

    scale: enlargement that is asked for; a model with weights has its own. share: of the tiles that may run all
    experts of a fusion. Raises UnknownNameError, CheckpointError, MissingError, UsageError.
    """
    resolved = resolve(model)
    if resolved.kind == "preset":
        raise UsageError(
            f"{model} is a preset without weights", fix=f"train it first: eorestore train -c {model} --name RUN"
        )
    config = {} if resolved.path is None else read_config(resolved.path)
    if share is not None and not config.get("experts"):
        raise UsageError(
            f"{resolved.name} fuses no experts, and a budget in % is a share of tiles that run all of them",
            fix="give the memory in MB, or choose a fusion such as sr-x4",
        )
    if resolved.path is None:
        rule = BASELINES[resolved.name]
        if scale is not None and rule.scale > 1:
            rule = replace(rule, scale=scale)
        return _of_scale(ModelFacts(resolved, rule, tile or _DEFAULT_TILE, 0, {}), scale)
    rule = SizeRule.from_config(config)
    if share is not None:
        # an easy tile and a hard one differ, and a hard border between them would show
        rule = replace(rule, tiling="blend", needs_scene=True)
    chosen = config["overlap"] if overlap is None else overlap
    return _of_scale(ModelFacts(resolved, rule, tile or config["tile"], chosen, config), scale)


def enlarging(facts: ModelFacts, consistent: bool | None) -> ModelFacts:
    """The facts of a model as it enlarges a scene; those of any other model unchanged.

    The reach grows by that of back-projection and by that of filling pixels without an observation.

    Args:
        facts: as `model_facts` gives them.
        consistent: back-project; None does it for networks and leaves baselines as they are.

    Raises:
        UsageError: a model that does not enlarge, and `consistent` is given.
    """
    rule = facts.rule
    if rule.scale == 1:
        if consistent is not None:
            raise UsageError(
                f"{facts.resolved.name} does not enlarge", fix="leave out --consistent and --no-consistent"
            )
        return facts
    chosen = bool(facts.config) if consistent is None else consistent
    further = filling.REACH + (CONSISTENCY_REACH if chosen else 0)
    reach = None if rule.reach is None else rule.reach + further
    return replace(facts, rule=replace(rule, reach=reach), consistent=chosen)


def _of_scale(facts: ModelFacts, scale: int | None) -> ModelFacts:
    if scale is not None and scale != facts.rule.scale:
        does = f"enlarges {facts.rule.scale} times" if facts.rule.scale > 1 else "does not enlarge"
        raise UsageError(f"{facts.resolved.name} {does}, --scale {scale} was given", fix="leave out --scale")
    return facts


def plan_scene(size: tuple[int, int], facts: ModelFacts) -> TilePlan:
    """Tiles for a scene, or one tile where the scene is smaller."""
    rule = facts.rule
    return plan_tiles(
        size,
        tile=facts.tile,
        overlap=facts.overlap,
        mode=rule.tiling,
        reach=rule.reach,
        multiple_of=rule.multiple_of,
        phase=rule.phase,
    )


def megabytes(
    plan: TilePlan, *, bands: int, dtype: str, facts: ModelFacts, batch: int, masked: bool, maps: int = 0
) -> int:
    """Estimated peak memory in MB: a few strips of rows, the tiles in the model, and what is loaded anyway.

    maps: bands of all maps that are saved besides the `bands` of the image. batch: tiles in the model at a time, each
    group of bands counted as one.
    """
    if facts.rule.scale > 1:
        return _enlarging_megabytes(plan, bands=bands, dtype=dtype, facts=facts, batch=batch, maps=maps)
    width = plan.size[1]
    rows = max(row[0].window.height for row in plan.rows)
    strip = rows * width * bands
    # maps lie in the mosaic, in the rows that wait for their context, and in those on their way to a file
    raw, floats = strip * np.dtype(dtype).itemsize, (strip + 3 * rows * width * maps) * 4
    context = 2 if masked else 1
    strips = raw * (3 + context) + floats * (1 + context)
    tile = max(tile.window.height * tile.window.width for tile in plan)
    depth = _ACTIVATIONS if facts.config else 4 * bands
    model = batch * tile * depth * 4 + 4 * int(facts.config.get("parameters", 0))
    return round(BASE_MEGABYTES + (strips + model) / 1e6)


def _enlarging_megabytes(plan: TilePlan, *, bands: int, dtype: str, facts: ModelFacts, batch: int, maps: int) -> int:
    """The same of a model that enlarges: strips of output rows weigh most."""
    scale = facts.rule.scale
    high = max(row[0].core.height for row in plan.rows) * plan.size[1] * scale**2
    exact = plan.mode == "crop" and not maps
    kept = high * (bands * np.dtype(dtype).itemsize if exact else 4 * (bands + maps))
    # one strip is filled while the one before it is written; blended ones are also divided by their weights
    strips = kept * (2 if exact else 4)
    tile = max(tile.window.height * tile.window.width for tile in plan)
    depth = _ACTIVATIONS if facts.config else 0
    model = batch * tile * depth * 4 + 4 * int(facts.config.get("parameters", 0))
    model += batch * tile * bands * scale**2 * 4 * _ENLARGED_COPIES
    return round(BASE_MEGABYTES + (strips + model) / 1e6)


def fit_budget(
    size: tuple[int, int],
    facts: ModelFacts,
    *,
    budget: int,
    bands: int,
    dtype: str,
    batch: int,
    masked: bool,
    maps: int = 0,
) -> ModelFacts:
    """The facts with the largest tile whose estimate stays within `budget` MB. Raises UsageError where none does."""
    step = max(facts.rule.multiple_of, facts.rule.phase, 16)
    for tile in range(max(facts.tile, step), step - 1, -step):
        overlap = min(facts.overlap, tile // 4)
        trial = replace(facts, tile=tile, overlap=overlap)
        need = megabytes(
            plan_scene(size, trial), bands=bands, dtype=dtype, facts=trial, batch=batch, masked=masked, maps=maps
        )
        if need <= budget:
            return trial
    raise UsageError(f"no tile fits into {budget} MB", fix=f"allow at least {need} MB or take --batch 1")
