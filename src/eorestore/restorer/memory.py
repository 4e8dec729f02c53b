"""Restoring a Raster in memory: the same stream as for files, into arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import GridError, UsageError
from eorestore.models.checkpoint import Checkpoint
from eorestore.raster import MemoryPixels, Raster
from eorestore.restorer.adaptation import adapt as adapt_model
from eorestore.restorer.consistency import ConsistencyRows
from eorestore.restorer.inference import Execution
from eorestore.restorer.maps import CONSISTENCY, CONSISTENCY_LAYER, MapLayer, MapStack
from eorestore.restorer.request import OPTICAL, check_margin, settled_mask
from eorestore.restorer.restore import Restorer, load_restorer, mask_of
from eorestore.restorer.rows import Rows, Sink
from eorestore.restorer.scene import Scene, wider_mask
from eorestore.tiling.compositing import Source


@dataclass(frozen=True)
class Restored:
    """A restored scene: the raster, and for each pixel where it comes from (`tiling.compositing.Source`).

    extras: maps that were asked for by name, (band, y, x) float32, NaN where nodata. `sigma`: one standard deviation
    of the error in the raster's unit, for each band that the model restores, calibrated where the model's checkpoint
    is, 0 where a pixel was left as observed. Others are NaN there.
    """

    raster: Raster
    source: NDArray[np.uint8]
    extras: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def restore_raster(
    model: str | Checkpoint | Restorer,
    rasters: Mapping[str, Raster],
    *,
    mask: NDArray[np.bool_] | str | None = "auto",
    mask_margin: int = 0,
    execution: Execution | None = None,
    save: Sequence[str] = (),
    adapt: int = 0,
    adapt_seed: int = 0,
    scale: int | None = None,
    consistent: bool | None = None,
) -> Restored:
    """Restore a scene in memory.

    Args:
        model: a name, a checkpoint, or a loaded Restorer.
        rasters: by the model's keywords: `cloudy` (reflectance) and, for most models, `sar`, on one grid. Models that
            do without SAR, or without one of its bands, take what there is. One that restores SAR itself takes the
            one raster that is given, whatever its keyword.
        mask: (y, x), True where a pixel is to be restored; `auto`, `csmask`; None restores every pixel.
        mask_margin: pixels by which the mask is widened.
        execution: batch, device, precision, self-ensemble.
        save: maps to return as well: extras of the model such as `sigma`, and `consistency` (with SAR).
        adapt: steps that a copy of the network first learns from the scene's clear pixels; see `restorer.adaptation`.
        adapt_seed: of that training.
        scale: enlargement that is asked for, where the model leaves a choice.
        consistent: of a model that enlarges: back-project the result; None does it for networks.

    Returns:
        The raster with the bands of what is restored; pixels outside the mask are untouched. A model that enlarges
        gives all bands on a finer grid; `extras` and `source` are on it, too.
    """
    given = rasters.get(OPTICAL, next(iter(rasters.values())))
    restorer = model if isinstance(model, Restorer) else load_restorer(model, bands=given.bands, scale=scale)
    if restorer.primary != OPTICAL and len(rasters) == 1:
        rasters = {restorer.primary: given}
    if isinstance(mask, str):
        mask = settled_mask(mask, primary=restorer.primary, scale=restorer.facts.rule.scale)
    if execution is not None:
        restorer = replace(restorer, execution=execution)
    inputs = {key: MemoryPixels(raster) for key, raster in rasters.items()}
    for key, raster in rasters.items():
        if not raster.grid.same_as(given.grid):
            raise GridError(f"the {key} raster lies on another grid", fix="warp it onto the grid of the cloudy one")
    if restorer.facts.rule.scale > 1 and (adapt or isinstance(mask, np.ndarray)):
        raise UsageError("a model that enlarges does so with every pixel as it is", fix="give no mask and no adapt")
    restorer, _ = restorer.fitted(inputs[restorer.primary], consistent=consistent)
    restorer.check({key: raster.bands for key, raster in rasters.items()}, names={key: key for key in rasters})
    scene = Scene(inputs, restorer.primary)
    maps = restorer.maps(save, scene)
    check_margin(mask, mask_margin)
    chosen = mask_of(scene, mask)
    chosen = None if chosen is None else wider_mask(chosen, mask_margin, size=scene.size)
    found, prepared = restorer.look(scene, chosen)
    into = Gathered(
        repeated(rasters[restorer.primary], restorer.scale),
        (*maps.layers, *([CONSISTENCY_LAYER] if CONSISTENCY in save else ())),
    )
    if found.masked_share == 0:
        return into.untouched()
    if adapt:
        sample = restorer.sample(scene, None if found.mask is None else found.mask.read)
        adapted = adapt_model(restorer.model, restorer.processor, sample, steps=adapt, seed=adapt_seed)
        restorer = restorer.with_model(adapted.model)
    sink: Sink = into.add
    if CONSISTENCY in save:
        sink = ConsistencyRows(scene, restorer.compare(scene, found.mask, margin=prepared.margin), into.add)
    factor = 1 if found.sample is None else found.sample.factor
    restorer.run(scene, sink, mask=found.mask, prepared=prepared, factor=factor, maps=maps)
    return into.restored()


def repeated(raster: Raster, scale: int) -> Raster:
    """Every pixel as a block of `scale` x `scale` pixels."""
    if scale == 1:
        return raster
    values = raster.values.repeat(scale, axis=1).repeat(scale, axis=2)
    valid = raster.valid.repeat(scale, axis=0).repeat(scale, axis=1)
    return Raster(values, valid, raster.bands, raster.grid.scale(scale))


class Gathered:
    """Finished rows, put together.

    original: the raster that is restored, on the grid of the result. layers: maps beside it.
    """

    def __init__(self, original: Raster, layers: tuple[MapLayer, ...]) -> None:
        self.original, self.maps = original, MapStack(layers)
        self.values = np.empty_like(original.values)
        self.source = np.empty(original.grid.size, np.uint8)
        self.extras = np.empty((self.maps.bands, *original.grid.size), np.float32)

    def add(self, rows: Rows) -> None:
        """Finished rows of the result."""
        place = slice(rows.first, rows.end)
        self.values[:, place], self.source[place], self.extras[:, place] = rows.raw, rows.source, rows.maps

    def untouched(self) -> Restored:
        """A scene of which nothing is to be restored."""
        source = np.where(self.original.valid, np.uint8(Source.OBSERVED), np.uint8(Source.NODATA))
        return Restored(self.original, source, self.maps.split(self.maps.settle(self.extras, source)))

    def restored(self) -> Restored:
        """The scene, once all rows are there."""
        original = self.original
        raster = replace(original, values=np.where(original.valid, self.values, original.values))
        return Restored(raster, self.source, self.maps.split(self.extras))
