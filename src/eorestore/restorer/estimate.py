"""What a restoration will take, and whether it can begin at all: opens the inputs, imports no torch."""

from __future__ import annotations

import math
from typing import Any

from eorestore.processing import Processor
from eorestore.processing.band_grouping import group_bands
from eorestore.restorer.maps import CONSISTENCY, SIGMA, SOURCE, check_maps
from eorestore.restorer.pictures import estimate_pictures, holds_pictures
from eorestore.restorer.plan import Layout, ModelFacts, enlarging, fit_budget, megabytes, model_facts, plan_scene
from eorestore.restorer.request import Inputs, Request, for_model, open_inputs, open_target
from eorestore.restorer.requirements import check_inputs
from eorestore.restorer.speeds import recall


def estimate(request: Request) -> dict[str, Any]:
    """What a run would take: sizes, tiles, memory, bytes, and time where it was measured.

    Raises EorestoreError kinds for what the run itself would refuse.
    """
    if holds_pictures(request):
        return estimate_pictures(request)
    facts = model_facts(
        request.model, tile=request.tile, overlap=request.overlap, scale=request.scale, share=request.share
    )
    scale = facts.rule.scale
    open_target(request)
    inputs = open_inputs(request, anywhere=scale > 1)
    request, inputs = for_model(request, inputs, primary=facts.primary, model=facts.resolved.name, scale=scale)
    optical = inputs.optical
    facts = enlarging(facts, request.consistent)
    groups = _check(request, inputs, facts)
    size, bands, dtype = optical.grid.size, len(optical.bands), optical.encoding.dtype
    masked = request.mask != "none"
    batch = max(request.batch, groups)
    height, width = optical.grid.scale(scale).size
    sizes = {SOURCE: 0, CONSISTENCY: 1, SIGMA: bands}
    of_model = {name: sizes.get(name, count) for name, count in facts.config.get("extras", {}).items()}
    layout = Layout(bands, dtype, (height, width), sum(of_model.get(name, 0) for name in request.save))
    written = layout.row_bytes + width * 4 * sum((of_model | sizes).get(name, 0) for name in request.save)
    if request.budget is not None:
        facts = fit_budget(
            size,
            facts,
            budget=request.budget,
            bands=bands,
            dtype=dtype,
            batch=batch,
            masked=masked,
            maps=layout.maps,
        )
    plan = plan_scene(size, facts)
    speed = recall(request.speed_of(facts.resolved.name, facts.config.get("sha256"), bands=bands))
    pixels = sum(math.prod(tile.window.size) for row in plan.rows for tile in row)
    memory = megabytes(plan, bands=bands, dtype=dtype, facts=facts, batch=batch, masked=masked, maps=layout.maps)
    return {
        "input": str(request.optical),
        "size": list(size),
        "output_size": [height, width],
        "bands": list(optical.bands.names),
        "dtype": dtype,
        "model": facts.resolved.name,
        "tiles": plan.count,
        "tile": facts.tile,
        "overlap": facts.overlap,
        "memory_mb": memory,
        "output_mb_at_most": math.ceil(height * written / 1e6),
        "journal_mb": math.ceil(layout.total_bytes / 1e6) if request.journal else 0,
        "seconds_if_all_is_restored": round(pixels / 1e6 * speed, 1) if speed else None,
        "notes": list(inputs.notes),
        "warnings": list(inputs.warnings),
    }


def _check(request: Request, inputs: Inputs, facts: ModelFacts) -> int:
    """Refuse what the run would refuse, as far as it can be known without the network.

    Returns in how many groups of bands the scene goes through it.
    """
    name, config = facts.resolved.name, facts.config
    if not config or "extras" in config:
        check_maps(request.save, model=name, extras=config.get("extras", {}), sar=inputs.sar is not None)
    if facts.rule.scale > 1:
        # a model that enlarges takes the bands of any scene
        names = [band["name"] for band in config["processor"]["inputs"][facts.primary]] if config else []
        return len(group_bands(inputs.optical.bands, like=names).groups) if config else 1
    if config:
        check_inputs(
            name,
            Processor.from_json(config["processor"]),
            inputs=inputs.bands,
            names=inputs.names,
            wanted=config["inputs"],
            optional=config["optional_inputs"],
            primary=facts.primary,
        )
    return 1
