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
from eorestore.raster.files.kelvin import in_kelvin
from eorestore.restorer.deviation import DeviationSample, Observe
from eorestore.restorer.maps import CONSISTENCY, CONSISTENCY_LAYER, SIGMA, SOURCE, MapStack
from eorestore.restorer.mask_files import open_mask
from eorestore.restorer.output import Output, Target
from eorestore.restorer.plan import Layout, fit_budget
from eorestore.restorer.provenance import deviation_tags, file_facts, identity, output_tags, sigma_facts, sigma_tags
from eorestore.restorer.request import BUILT_IN_MASKS, Inputs, Request, for_model, open_inputs, open_target
from eorestore.restorer.requirements import used_bands
from eorestore.restorer.rows import Progress, Rows, Sink
from eorestore.restorer.scene import MaskOfWindow, PackedMask, wider_mask
from eorestore.restorer.speeds import remember
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
        inputs = replace(inputs, optical=in_kelvin(inputs.optical))
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
        _tell_share(request, learned)
        mask_read = None if learned.mask is None else learned.mask.read
        nothing = learned.masked_share == 0
        adapted = adapt_to(request, restorer, inputs, mask_read, journal, nothing=nothing, progress=adapting)
        restorer = restorer if adapted is None else restorer.with_model(adapted.model)
        # Not kept in the journal: from one scene and mask it comes out the same again.
        margin = learned.prepared.margin
        fit = restorer.compare(inputs.scene, learned.mask, margin=margin) if CONSISTENCY in request.save else None

        def restore_into(sink: Sink) -> None:
            work = restorer.run(
                inputs.scene,
                sink,
                mask=learned.mask,
                prepared=learned.prepared,
                factor=learned.factor,
                begin=learned.resumed,
                progress=progress,
                maps=maps,
            )
            if request.zero_shot is None:
                remember(request.speed_of(restorer.name, restorer.sha256, bands=len(optical.bands)), work)

        if journal is not None:
            restore_into(journal.write)
        told = None if adapted is None else adapted.words
        tags = output_tags(optical, restorer.name, restorer.sha256, restorer.facts, request.mask, adapted=told)
        stack = MapStack((*maps.layers, *([] if fit is None else [CONSISTENCY_LAYER])))
        map_tags = {SIGMA: sigma_tags(restorer.calibration)}
        with Output(
            target,
            optical,
            tags=tags,
            maps=stack,
            map_tags=map_tags,
            save_source=SOURCE in request.save,
            scale=restorer.scale,
        ) as output:

            def deliver(rows: Rows) -> None:
                tally.add(rows)
                output.write(rows)

            sink: Sink = deliver
            if fit is not None:
                sink = compared = ConsistencyRows(inputs.scene, fit, deliver)
            if journal is None:
                restore_into(sink)
            else:
                for strip in journal.strips():
                    sink(strip)
            apart = tally.deviation.result() if tally.deviation is not None else None
            if apart is not None:
                output.tag(deviation_tags(apart))
    facts = _facts(request, inputs, restorer, learned, tally)
    facts["adapted"] = None if adapted is None or request.zero_shot is not None else adapted.facts
    if adapted is not None and request.zero_shot is not None:
        facts["zero_shot"] = {**adapted.facts, **keep_learned(target, request, restorer, inputs, adapted)}
    if enlargement is not None and apart is not None:
        facts["enlargement"] = {**enlargement.to_json(), "deviation": apart.to_json()}
    facts["maps"] = {name: target.map_path(name).name for name in request.save}
    if SIGMA in request.save:
        facts |= sigma_facts(restorer.calibration)
    if compared is not None:
        facts["inconsistent_share"] = compared.share
    return Report(target, facts | {"seconds": round(time.perf_counter() - started, 3)}, tally.thumbnail.raster())


@dataclass(frozen=True)
class _Learned:
    """What is known before the first tile: from a survey, or from the journal of an interrupted run."""

    mask: PackedMask | None
    prepared: Prepared
    masked_share: float
    factor: int
    resumed: int


class _Tally:
    """What is gathered while finished rows go by: pixels by origin, a small picture, how far it is off the input."""

    def __init__(self, optical: RasterFile, scale: int, observe: Observe | None = None) -> None:
        self.counts = np.zeros(len(Source), dtype=np.int64)
        self.thumbnail = Thumbnail(optical, scale=scale)
        self.deviation = DeviationSample(optical, scale, observe=observe) if scale > 1 else None

    def add(self, rows: Rows) -> None:
        self.counts += np.bincount(rows.source.ravel(), minlength=len(Source))
        self.thumbnail.add(rows.first, rows.raw)
        if self.deviation is not None:
            self.deviation.add(rows)


def _observation(request: Request) -> Observe | None:
    """How a result is made coarser to be compared with the input; None for the common way."""
    if request.zero_shot is None:
        return None
    from eorestore.restorer.zero_shot import observation

    return observation(request.zero_shot)


def _prepared(request: Request, inputs: Inputs) -> tuple[Restorer, Request, Inputs, Enlargement | None]:
    """The model, with tiles that keep within the memory asked for, and request and inputs as it takes them.

    One that enlarges is fitted to the scene, which the last says.
    """
    from eorestore.restorer.inference import Execution
    from eorestore.restorer.restore import load_restorer

    execution = Execution(request.batch, request.device, request.precision, request.tta)
    enlargement: Enlargement | None
    if request.zero_shot is not None:
        from eorestore.restorer.zero_shot import scene_restorer

        settled = request.zero_shot.settled(inputs.optical.grid.size)
        restorer, enlargement = scene_restorer(settled, inputs.optical, execution, tile=request.tile)
        request = replace(request, zero_shot=settled, model=restorer.name)
    else:
        restorer = load_restorer(
            request.model,
            bands=inputs.optical.bands,
            tile=request.tile,
            overlap=request.overlap,
            scale=request.scale,
            share=request.share,
            execution=execution,
        )
    scale = restorer.facts.rule.scale
    request, inputs = for_model(request, inputs, primary=restorer.primary, model=restorer.name, scale=scale)
    optical = inputs.optical
    if request.zero_shot is None:
        restorer, enlargement = restorer.fitted(optical, consistent=request.consistent)
    restorer.check(inputs.bands, names=inputs.names)
    left = [name for name in optical.bands.names if name not in restorer.processor.output.names]
    if left and request.mask == "none":
        kept = f"{', '.join(left)} stays as it is: {restorer.name} gives {', '.join(restorer.processor.output.names)}"
        logger.warning(kept)
        inputs = replace(inputs, warnings=(*inputs.warnings, kept))
    if request.budget is None:
        return restorer, request, inputs, enlargement
    facts = fit_budget(
        optical.grid.size,
        restorer.facts,
        budget=request.budget,
        bands=len(optical.bands),
        dtype=optical.encoding.dtype,
        batch=max(request.batch, len(enlargement.groups) if enlargement is not None else 1),
        masked=request.mask != "none",
        maps=restorer.maps(request.save, inputs.scene).bands,
    )
    return replace(restorer, facts=facts), request, inputs, enlargement


def _mask(request: Request, inputs: Inputs) -> MaskOfWindow | None:
    from eorestore.restorer.restore import mask_of

    if request.mask == "none":
        logger.info("mask none: every valid pixel of the scene is rewritten")
    if request.mask in BUILT_IN_MASKS:
        mask = mask_of(inputs.scene, request.mask)
    else:
        mask = open_mask(request.mask, inputs.optical.grid, scene=inputs.optical.path.name)
    return None if mask is None else wider_mask(mask, request.mask_margin, size=inputs.scene.size)


def _journal(request: Request, restorer: Restorer, target: Target, layout: Layout) -> Journal | nullcontext[None]:
    if not request.journal:
        return nullcontext()
    from eorestore.restorer.journal import Journal

    run = identity(request, restorer.sha256, restorer.facts.tile, restorer.facts.overlap)
    return Journal(target.partial, layout, identity=run, resume=request.resume)


def _learn(restorer: Restorer, inputs: Inputs, mask: MaskOfWindow | None, journal: Journal | None) -> _Learned:
    """The survey of the scene; of an interrupted run the one that it stored, so that the pixels are the same."""
    if journal is not None and journal.rows_done > 0:
        stored = journal.load_survey()
        if stored is not None:
            packed, prepared, numbers = stored
            logger.info("going on at row %d of %d", journal.rows_done, journal.layout.size[0])
            factor = int(numbers["factor"])
            return _Learned(packed, prepared, numbers["share"], factor, journal.rows_done)
    found, prepared = restorer.look(inputs.scene, mask)
    factor = 1 if found.sample is None else found.sample.factor
    if journal is not None:
        numbers = {"share": found.masked_share, "factor": factor}
        journal.save_survey(found.mask, prepared, numbers)
    return _Learned(found.mask, prepared, found.masked_share, factor, 0)


def _tell_share(request: Request, learned: _Learned) -> None:
    if request.mask != "none":
        logger.info("mask %s marks %.1f %% of the valid pixels", request.mask, 100 * learned.masked_share)


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
        "mask_margin": request.mask_margin,
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
