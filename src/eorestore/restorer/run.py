"""From files to files: open, check, survey, restore, write, and leave nothing half-done."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore import __version__
from eorestore.errors import DataError, UsageError
from eorestore.raster import Raster, Unit
from eorestore.raster.files import RasterFile, open_raster
from eorestore.raster.products import Declared
from eorestore.restorer.checks import check_values
from eorestore.restorer.journal import Journal, Layout
from eorestore.restorer.mask_files import open_mask
from eorestore.restorer.output import Output, Target, target_for
from eorestore.restorer.plan import fit_budget, megabytes, model_facts, plan_scene
from eorestore.restorer.provenance import file_facts, identity, output_tags
from eorestore.restorer.scene import Scene
from eorestore.restorer.thumbnail import Thumbnail
from eorestore.tiling.compositing import Source

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
_DAYS = 6


@dataclass(frozen=True)
class Request:
    """What is to be restored and how; the fields are the options of `eorestore restore`."""

    optical: Path
    out: Path
    model: str = "cloud"
    sar: Path | None = None
    mask: str = "auto"
    bands: tuple[str, ...] | None = None
    sar_bands: tuple[str, ...] | None = None
    unit: Unit | None = None
    sar_unit: Unit | None = None
    s2_offset: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    tile: int | None = None
    overlap: int | None = None
    batch: int = 4
    budget: int | None = None
    device: str = "cpu"
    precision: str = "fp32"
    tta: bool = False
    save_source: bool = False
    cog: bool = False
    overwrite: bool = False
    resume: bool = False
    journal: bool = True


@dataclass(frozen=True)
class Inputs:
    """The opened scene: optical and, if given, SAR on its grid, and what was decided on the way."""

    optical: RasterFile
    sar: RasterFile | None
    notes: tuple[str, ...]
    date_gap_days: float | None

    @property
    def scene(self) -> Scene:
        """The inputs by the model's keywords."""
        files = {"cloudy": self.optical} | ({"sar": self.sar} if self.sar else {})
        azimuth = self.optical.tags.get("SUN_AZIMUTH")
        return Scene(files, "cloudy", None if azimuth is None else float(azimuth))


def open_inputs(request: Request) -> Inputs:
    """Open and relate the files; checks grids, overlap, units and values. Raises DataError and its kinds."""
    declared = Declared(request.bands, request.unit, request.s2_offset)
    optical = open_raster(request.optical, declared=declared)
    if request.bbox is not None:
        optical = optical.crop(optical.grid.window(request.bbox))
    check_values(optical, option="--unit")
    sar = None
    if request.sar is not None:
        own = open_raster(request.sar, declared=Declared(request.sar_bands, request.sar_unit))
        check_values(own, option="--sar-unit")
        sar = own.aligned(optical.grid, name=optical.path.name)
    notes = (*optical.notes, *(sar.notes if sar else ()))
    for note in notes:
        logger.info(note)
    return Inputs(optical, sar, notes, _date_gap(optical, sar))


@dataclass(frozen=True)
class Report:
    """What a run did, for the sidecar and the caller."""

    target: Target
    facts: Mapping[str, Any]
    small: Raster


def estimate(request: Request) -> dict[str, Any]:
    """What a run would take, without torch: sizes, tiles, memory, bytes, and time where it was measured."""
    target_for(request.out, cog=request.cog, overwrite=request.overwrite)
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
    }


def restore_file(request: Request, *, progress: Progress | None = None) -> Report:
    """Restore a scene on disk. Raises EorestoreError kinds; nothing stands under the output's name then."""
    started = time.perf_counter()
    target = target_for(request.out, cog=request.cog, overwrite=request.overwrite)
    inputs = open_inputs(request)
    optical = inputs.optical
    from eorestore.restorer.restore import load_restorer, mask_of
    from eorestore.restorer.stream import Execution

    execution = Execution(request.batch, request.device, request.precision, request.tta)
    restorer = load_restorer(
        request.model, bands=optical.bands, tile=request.tile, overlap=request.overlap, execution=execution
    )
    masked = request.mask != "none"
    size, count, dtype = optical.grid.size, len(optical.bands), optical.encoding.dtype
    if request.budget is not None:
        facts = fit_budget(
            size, restorer.facts, budget=request.budget, bands=count, dtype=dtype, batch=request.batch, masked=masked
        )
        restorer = replace(restorer, facts=facts)
    scene = inputs.scene
    bands = {key: pixels.bands for key, pixels in scene.inputs.items()}
    restorer.check(bands, names={"cloudy": optical.path.name, "sar": inputs.sar.path.name if inputs.sar else "sar"})
    if request.mask in {"auto", "csmask", "none"}:
        mask = mask_of(scene, request.mask)
    else:
        mask = open_mask(request.mask, optical.grid, scene=optical.path.name)
    if not masked:
        logger.info("mask none: every valid pixel of the scene is rewritten")
    run_identity = identity(request, restorer.sha256, restorer.facts.tile, restorer.facts.overlap)
    layout = Layout(count, dtype, size)
    journal = Journal(target.partial, layout, identity=run_identity, resume=request.resume) if request.journal else None
    finished = False
    try:
        resumed = journal.rows_done if journal else 0
        stored = journal.load_survey() if journal and resumed else None
        if stored is None:
            found, prepared = restorer.look(scene, mask)
            packed, share, valid = found.mask, found.masked_share, found.valid_share
            factor = 1 if found.sample is None else found.sample.factor
            if journal is not None:
                facts_found = {"share": share, "valid": valid, "factor": factor}
                journal.save_survey(packed, prepared, facts_found)
        else:
            packed, prepared, numbers = stored
            share, valid, factor = numbers["share"], numbers["valid"], int(numbers["factor"])
            logger.info("going on at row %d of %d", resumed, size[0])
        if masked:
            logger.info("mask %s marks %.1f %% of the valid pixels", request.mask, 100 * share)
        tags = output_tags(optical, restorer.name, restorer.sha256, restorer.facts, request.mask)
        counts, thumbnail = np.zeros(3, dtype=np.int64), Thumbnail(optical)
        with Output(target, optical, tags=tags, save_source=request.save_source) as output:

            def deliver(first: int, raw: NDArray[Any], source: NDArray[np.uint8]) -> None:
                counts[:] += np.bincount(source.ravel(), minlength=3)
                thumbnail.add(first, raw)
                output.write(first, raw, source)

            restorer.run(
                scene,
                journal.write if journal else deliver,
                mask=packed,
                prepared=prepared,
                factor=factor,
                begin=resumed,
                progress=progress,
            )
            if journal is not None:
                for first, raw, source in journal.strips():
                    deliver(first, raw, source)
            if counts[Source.OBSERVED] + counts[Source.RESTORED] == 0:
                raise DataError(f"{optical.path.name} has no valid pixel", fix="check its nodata value")
        finished = True
    finally:
        if journal is not None:
            journal.remove() if finished else journal.close()
    plan = restorer.plan(size)
    facts = {
        "eorestore": __version__,
        "model": restorer.name,
        "weights_sha256": restorer.sha256,
        "input": file_facts(optical),
        "sar": file_facts(inputs.sar) if inputs.sar else None,
        "date_gap_days": inputs.date_gap_days,
        "mask": request.mask,
        "masked_share": share,
        "valid_share": valid,
        "pixels": {"nodata": int(counts[0]), "observed": int(counts[1]), "restored": int(counts[2])},
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
        "resumed_at_row": resumed,
        "notes": list(inputs.notes),
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Report(target, facts, thumbnail.raster())


def _date_gap(optical: RasterFile, sar: RasterFile | None) -> float | None:
    if sar is None or optical.date is None or sar.date is None:
        return None
    days = abs((optical.date - sar.date).total_seconds()) / 86400
    if days > _DAYS:
        logger.warning(
            "SAR and optical scene are %.0f days apart (%s, %s): what changed in between will be wrong",
            days,
            sar.date.date(),
            optical.date.date(),
        )
    return days


def check_request(request: Request) -> None:
    """Refuse combinations that make no sense. Raises UsageError."""
    if request.precision not in {"fp32", "bf16"}:
        raise UsageError(f"no precision {request.precision!r}", fix="use fp32 or bf16")
    if request.batch < 1:
        raise UsageError(f"a batch of {request.batch}", fix="use 1 or more")
