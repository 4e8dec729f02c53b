"""From files to files: open, check, survey, restore, write, and leave nothing half-done."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eorestore import __version__
from eorestore.errors import UsageError
from eorestore.raster import Raster
from eorestore.raster.files import RasterFile
from eorestore.restorer.mask_files import open_mask
from eorestore.restorer.output import Output, Target, target_for
from eorestore.restorer.plan import Layout, fit_budget, megabytes, model_facts, plan_scene
from eorestore.restorer.provenance import file_facts, identity, output_tags
from eorestore.restorer.request import BUILT_IN_MASKS, Inputs, Request, open_inputs
from eorestore.restorer.scene import MaskOfWindow, PackedMask
from eorestore.restorer.thumbnail import Thumbnail
from eorestore.tiling.compositing import Source

if TYPE_CHECKING:
    from eorestore.models.model import Prepared
    from eorestore.restorer.journal import Journal
    from eorestore.restorer.restore import Restorer

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What a run did, for the sidecar and the caller."""

    target: Target
    facts: Mapping[str, Any]
    small: Raster


def estimate(request: Request) -> dict[str, Any]:
    """What a run would take, without torch: sizes, tiles, memory, bytes, and time where it was measured."""
    _target(request)
    inputs = open_inputs(request)
    optical = inputs.optical
    facts = model_facts(request.model, tile=request.tile, overlap=request.overlap)
    size, bands, dtype = optical.grid.size, len(optical.bands), optical.encoding.dtype
    masked = request.mask != "none"
    if request.budget is not None:
        facts = fit_budget(
            size, facts, budget=request.budget, bands=bands, dtype=dtype, batch=request.batch, masked=masked
        )
    plan = plan_scene(size, facts)
    speed = facts.config.get("provenance", {}).get("megapixels_per_second")
    layout = Layout(bands, dtype, size)
    return {
        "input": str(request.optical),
        "size": list(size),
        "bands": list(optical.bands.names),
        "dtype": dtype,
        "model": facts.resolved.name,
        "tiles": plan.count,
        "tile": facts.tile,
        "overlap": facts.overlap,
        "memory_mb": megabytes(plan, bands=bands, dtype=dtype, facts=facts, batch=request.batch, masked=masked),
        "output_mb_at_most": math.ceil(size[0] * layout.row_bytes / 1e6),
        "journal_mb": math.ceil(layout.total_bytes / 1e6) if request.journal else 0,
        "seconds_if_all_is_restored": round(math.prod(size) / 1e6 / speed, 1) if speed else None,
        "notes": list(inputs.notes),
        "warnings": list(inputs.warnings),
    }


def restore_file(request: Request, *, progress: Progress | None = None) -> Report:
    """Restore a scene on disk. Raises EorestoreError kinds; nothing stands under the output's name then.

    With a journal the finished rows go there first, and into the output once all are done; an interrupted run
    leaves the journal, an error leaves nothing.
    """
    started = time.perf_counter()
    target = _target(request)
    inputs = open_inputs(request)
    optical = inputs.optical
    restorer = _restorer(request, inputs)
    mask = _mask(request, inputs)
    layout = Layout(len(optical.bands), optical.encoding.dtype, optical.grid.size)
    tally = _Tally(optical)
    with _journal(request, restorer, target, layout) as journal:
        learned = _learn(restorer, inputs, mask, journal)
        _tell_share(request, learned)

        def restore_into(sink: Callable[[int, NDArray[Any], NDArray[np.uint8]], None]) -> None:
            restorer.run(
                inputs.scene,
                sink,
                mask=learned.mask,
                prepared=learned.prepared,
                factor=learned.factor,
                begin=learned.resumed,
                progress=progress,
            )

        if journal is not None:
            restore_into(journal.write)
        tags = output_tags(optical, restorer.name, restorer.sha256, restorer.facts, request.mask)
        with Output(target, optical, tags=tags, save_source=request.save_source) as output:

            def deliver(first: int, raw: NDArray[Any], source: NDArray[np.uint8]) -> None:
                tally.add(first, raw, source)
                output.write(first, raw, source)

            if journal is None:
                restore_into(deliver)
            else:
                for strip in journal.strips():
                    deliver(*strip)
    facts = _facts(request, inputs, restorer, learned, tally)
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
    """What is gathered while finished rows go by: pixels by origin, and a small picture."""

    def __init__(self, optical: RasterFile) -> None:
        self.counts = np.zeros(len(Source), dtype=np.int64)
        self.thumbnail = Thumbnail(optical)

    def add(self, first: int, raw: NDArray[Any], source: NDArray[np.uint8]) -> None:
        self.counts += np.bincount(source.ravel(), minlength=len(Source))
        self.thumbnail.add(first, raw)


def _target(request: Request) -> Target:
    target = target_for(request.out, cog=request.cog, overwrite=request.overwrite, save_source=request.save_source)
    if target.is_folder and request.optical.is_file():
        raise UsageError(
            f"{request.out} would be a folder of band files; {request.optical.name} is one file",
            fix=f"name the result {request.out.name}.tif",
        )
    for path in (request.optical, request.sar, request.mask_file):
        if path is not None and path.resolve() == request.out.resolve():
            raise UsageError(f"{request.out} is an input", fix="write the result to another name")
    return target


def _restorer(request: Request, inputs: Inputs) -> Restorer:
    """The model, checked against the inputs, with tiles that keep within the memory asked for."""
    from eorestore.restorer.restore import load_restorer
    from eorestore.restorer.stream import Execution

    optical, sar = inputs.optical, inputs.sar
    restorer = load_restorer(
        request.model,
        bands=optical.bands,
        tile=request.tile,
        overlap=request.overlap,
        execution=Execution(request.batch, request.device, request.precision, request.tta),
    )
    names = {"cloudy": optical.path.name, "sar": sar.path.name if sar else "sar"}
    restorer.check({key: pixels.bands for key, pixels in inputs.scene.inputs.items()}, names=names)
    if request.budget is None:
        return restorer
    facts = fit_budget(
        optical.grid.size,
        restorer.facts,
        budget=request.budget,
        bands=len(optical.bands),
        dtype=optical.encoding.dtype,
        batch=request.batch,
        masked=request.mask != "none",
    )
    return replace(restorer, facts=facts)


def _mask(request: Request, inputs: Inputs) -> MaskOfWindow | None:
    from eorestore.restorer.restore import mask_of

    if request.mask == "none":
        logger.info("mask none: every valid pixel of the scene is rewritten")
    if request.mask in BUILT_IN_MASKS:
        return mask_of(inputs.scene, request.mask)
    return open_mask(request.mask, inputs.optical.grid, scene=inputs.optical.path.name)


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
            logger.info("going on at row %d of %d", journal.rows_done, inputs.optical.grid.height)
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
    plan = restorer.plan(inputs.optical.grid.size)
    return {
        "eorestore": __version__,
        "model": restorer.name,
        "weights_sha256": restorer.sha256,
        "input": file_facts(inputs.optical),
        "sar": file_facts(inputs.sar) if inputs.sar else None,
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
        "resumed_at_row": learned.resumed,
        "notes": list(inputs.notes),
        "warnings": list(inputs.warnings),
    }
