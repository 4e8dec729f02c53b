"""From files to files: open, check, survey, restore, write, and leave nothing half-done."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eorestore import __version__
from eorestore.raster import Raster
from eorestore.raster.files import RasterFile
from eorestore.restorer.deviation import DeviationSample, Observe
from eorestore.restorer.maps import CONSISTENCY, CONSISTENCY_LAYER, SIGMA, SOURCE, MapStack
from eorestore.restorer.mask_files import open_mask
from eorestore.restorer.output import Output, Target
from eorestore.restorer.plan import Layout, fit_budget
from eorestore.restorer.provenance import deviation_tags, file_facts, identity, output_tags, sigma_facts, sigma_tags
from eorestore.restorer.request import BUILT_IN_MASKS, Inputs, Request, for_model, open_inputs, open_target
from eorestore.restorer.requirements import used_bands
from eorestore.restorer.rows import Progress, Rows, Sink
from eorestore.restorer.scene import MaskOfWindow, PackedMask
from eorestore.restorer.thumbnail import Thumbnail
from eorestore.tiling.compositing import Source

if TYPE_CHECKING:
    from eorestore.models.model import Prepared
    from eorestore.restorer.consistency import ConsistencyRows
    from eorestore.restorer.enlargement import Enlargement
    from eorestore.restorer.journal import Journal
    from eorestore.restorer.restore import Restorer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What a run did, for the sidecar and the caller. small: a small picture of the result; None of many pictures."""

    target: Target
    facts: Mapping[str, Any]
    small: Raster | None


def restore_file(request: Request, *, progress: Progress | None = None, adapting: Progress | None = None) -> Report:
    """Restore a scene on disk. Raises EorestoreError kinds; nothing stands under the output's name then.

    With a journal the finished rows go there first, and into the output once all are done; an interrupted run
    leaves the journal, an error leaves nothing.
    """
    from eorestore.restorer.adapted import adapt_to, keep_learned
    from eorestore.restorer.consistency import ConsistencyRows

    started = time.perf_counter()
    target = open_target(request)
    inputs = open_inputs(request, anywhere=request.anywhere)
    if request.zero_shot is not None:
        inputs = replace(inputs, optical=inputs.optical.in_kelvin())
    restorer, request, inputs, enlargement = _prepared(request, inputs)
    optical = inputs.optical
    maps = restorer.maps(request.save, inputs.scene)
    mask = _mask(request, inputs)
    size = optical.grid.scale(restorer.scale).size
    layout = Layout(len(optical.bands), optical.encoding.dtype, size, maps.bands)
    tally = _Tally(optical, restorer.scale, _observation(request))
    compared: ConsistencyRows | None = None
    with _journal(request, restorer, target, layout) as journal:
        learned = _learn(restorer, inputs, mask, journal)


def _facts(request: Request, inputs: Inputs, restorer: Restorer, learned: _Learned, tally: _Tally) -> dict[str, Any]:
    """What the sidecar says of a run."""
    from eorestore.models.fused_experts import tiles_run

    plan = restorer.plan(inputs.optical.grid.size)
    return {
        "eorestore": __version__,
        "model": restorer.name,
        "weights_sha256": restorer.sha256,
        "input": file_facts(inputs.optical),
        "sar": file_facts(inputs.sar) if inputs.sar else None,
        "sar_bands": used_bands(restorer.processor, inputs.bands, "sar", wanted=restorer.wanted),
        "date_gap_days": inputs.date_gap_days,
        "mask": request.mask,
        "masked_share": learned.masked_share,
        "valid_share": 1 - float(tally.counts[Source.NODATA] / tally.counts.sum()),
        "pixels": {source.name.lower(): int(tally.counts[source]) for source in Source},
        "tiles": {
            "count": plan.count,
            "mode": plan.mode,
            "tile": restorer.facts.tile,
            "overlap": restorer.facts.overlap,
            "batch": request.batch,
            "precision": request.precision,
            "device": request.device,
            "self_ensemble": request.tta,
        },
        **(
            {} if request.share is None else {"tiles_by_experts": {"share": request.share, **tiles_run(restorer.model)}}
        ),
        "resumed_at_row": learned.resumed,
        "notes": list(inputs.notes),
        "warnings": [*inputs.warnings, *learned.prepared.warnings],
    }
