"""A scene through a model, strip by strip: a reader ahead, the model, a writer behind; memory is a few strips."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.errors import DataError
from eorestore.models.model import Model, Prepared
from eorestore.processing import Processor
from eorestore.processing.filling import fill_near
from eorestore.processing.units import convert_values
from eorestore.raster import Window
from eorestore.restorer.background import Background, ahead
from eorestore.restorer.enlarged_rows import EnlargedRows
from eorestore.restorer.inference import Execution, forward_keywords, is_finite, run_model, sample_map
from eorestore.restorer.maps import NO_MAPS, MapStack
from eorestore.restorer.rows import Progress, Sink
from eorestore.restorer.scene import PackedMask, Scene, physical
from eorestore.restorer.seam import Seam, SeamRows, Strip
from eorestore.restorer.speeds import Work
from eorestore.tiling.blending import Mosaic
from eorestore.tiling.compositing import MARGIN
from eorestore.tiling.tiles import Tile, TilePlan


class Stream:
    """Runs `model` over `scene` by the rows of `plan` and hands finished raw rows to a sink, in order.

    absent: inputs of the processor that the scene lacks and the model does without; it sees NaN in their place.
    maps: extras that go along with the image.
    """

    def __init__(
        self,
        model: Model,
        processor: Processor,
        scene: Scene,
        *,
        plan: TilePlan,
        mask: PackedMask | None,
        prepared: Prepared,
        factor: int,
        execution: Execution,
        absent: Sequence[str] = (),
        maps: MapStack = NO_MAPS,
    ) -> None:
        self.model, self.processor, self.scene, self.plan = model, processor, scene, plan
        # what the model takes for clear may be less than what stays as it is
        self.unclear = None if mask is None else mask.widened(prepared.margin)
        self.mask, self.prepared, self.factor, self.execution = mask, prepared, factor, execution
        self.absent, self.maps = tuple(absent), maps
        self.keywords = forward_keywords(model)
        self.margin = 0 if mask is None else MARGIN
        # without a mask nothing is blended with what was observed, so tiles are stored as they will be written
        self.encodes_tiles = mask is None and plan.mode == "crop" and not maps.bands
        self.scale = processor.scale
        names = [name for name in scene.optical.bands.names if name in processor.output.names]
        self.rows_out = tuple(scene.optical.bands.index(name) for name in names)
        rows = [processor.output.names.index(name) for name in names]
        self.rows_model = None if rows == list(range(len(processor.output.names))) else rows
        self.scaling = processor.output.select(names)
        lows = {band.name: band.low for band in processor.output.bands}
        self._blank = np.array([lows.get(name, 0.0) for name in scene.optical.bands.names], np.float32)
        self.observed = {scene.optical.bands[name].unit for name in names}
        # joining tiles pays where a network works on them; a baseline only moves them about
        self.batch = execution.batch if any(True for _ in model.parameters()) else 1
        self.done_tiles = 0
        self.work = Work()

    def run(self, sink: Sink, *, begin: int = 0, progress: Progress | None = None) -> None:
        """Restore output rows from `begin` on."""
        first = self.plan.first_row_for(max(begin // self.scale - self.margin, 0))
        self.done_tiles = sum(len(row) for row in self.plan.rows[:first])
        encoding = self.scene.optical.encoding
        dtype = encoding.dtype if self.encodes_tiles else "float32"
        bands = len(self.rows_out)
        mosaic = Mosaic(self.plan, bands=bands + self.maps.bands, scale=self.scale, begin=first, dtype=dtype)
        composed: SeamRows | EnlargedRows
        if self.scale > 1:
            composed = EnlargedRows(self.scale, encoding, bands, self.encodes_tiles, self.maps, begin)
        else:
            seam = Seam(self.plan.size[0], self.margin, encoding, self.rows_out, self.encodes_tiles, self.maps)
            composed = SeamRows(seam, begin=begin)
        with Background(sink) as writer:
            for row, strip in ahead(self._strips(first)):
                self._restore_row(row, strip, mosaic, progress)
                top = mosaic.top
                restored = mosaic.finish(row)
                if not self.encodes_tiles:
                    restored[:bands] = self._as_observed(restored[:bands])
                for finished in composed.push(top, restored, raw=strip.raw[self.scene.primary], strip=strip):
                    writer.put(finished)

    def _strips(self, first: int) -> Iterator[tuple[int, Strip]]:
        width = self.plan.size[1]
        for row in range(first, len(self.plan.rows)):
            window = self.plan.rows[row][0].window
            whole = Window(window.row, 0, window.height, width)
            raw = {
                key: pixels.read_raw(whole)
                for key, pixels in self.scene.inputs.items()
                if key in self.keywords or key == self.scene.primary
            }
            valid = self.scene.optical.encoding.valid(raw[self.scene.primary])
            mask, unclear = (None if one is None else one.read(whole) for one in (self.mask, self.unclear))
            yield row, Strip(whole, raw, valid, mask, unclear)

    def _restore_row(self, row: int, strip: Strip, mosaic: Mosaic, progress: Progress | None) -> None:
        batch: list[tuple[int, Tile]] = []
        for column, tile in enumerate(self.plan.rows[row]):
            if self._is_wanted(tile, strip):
                if batch and batch[-1][1].window.size != tile.window.size:
                    self._restore_batch(row, batch, strip, mosaic)
                    batch = []
                batch.append((column, tile))
                if len(batch) == self.batch:
                    self._restore_batch(row, batch, strip, mosaic)
                    batch = []
        if batch:
            self._restore_batch(row, batch, strip, mosaic)
        self.done_tiles += len(self.plan.rows[row])
        if progress is not None:
            progress(self.done_tiles, self.plan.count)

    def _is_wanted(self, tile: Tile, strip: Strip) -> bool:
        """Whether any pixel of a tile, or of the seam's context around it, is to be restored."""
        near = tile.core.grow(self.margin, within=self.plan.size)
        columns = near.columns
        inner = tile.window.relative_to(strip.window)
        if not strip.valid[inner.rows, inner.columns].any():
            return False
        return self.mask is None or bool(self.mask.read(Window(near.row, columns.start, *near.size)).any())

    def _restore_batch(self, row: int, batch: Sequence[tuple[int, Tile]], strip: Strip, mosaic: Mosaic) -> None:
        items = [self._encode(tile, strip) for _, tile in batch]
        inputs = {key: torch.cat([item[key] for item in items]) if items[1:] else items[0][key] for key in items[0]}
        began = time.perf_counter()
        image = run_model(self.model, inputs, self.execution, extras=self.maps.names)
        pixels = sum(math.prod(tile.window.size) for _, tile in batch)
        self.work = Work(self.work.pixels + pixels, self.work.seconds + time.perf_counter() - began)
        if not is_finite(image):
            place = batch[0][1].window
            raise DataError(
                f"the model gave values that are not finite near row {place.row}, column {place.column}",
                fix="check its weights with `eorestore model check`; with bf16 try --precision fp32",
            )
        bands = len(self.processor.output.names)
        for (column, tile), restored in zip(batch, image.numpy(), strict=True):
            values = restored[:bands] if self.rows_model is None else restored[self.rows_model]
            values = self.scaling.decode(values)
            if self.encodes_tiles:
                values = self.scene.optical.encoding.encode(self._as_observed(values))
            if self.maps.bands:
                values = np.concatenate([values, self.maps.convert(restored[bands:])])
            mosaic.add(tile, values, position=(row, column))

    def _as_observed(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (band, y, x) of the model's unit in that of the scene, such as decibel in power."""
        given = {band.unit for band in self.scaling.bands}
        return values if given == self.observed else convert_values(values, *given, *self.observed)

    def _encode(self, tile: Tile, strip: Strip) -> dict[str, Tensor]:
        inner = tile.window.relative_to(strip.window)
        rasters = {
            key: physical(
                self.scene.inputs[key],
                raw[:, inner.rows, inner.columns],
                tile.window,
                valid=strip.valid[inner.rows, inner.columns] if key == self.scene.primary else None,
            )
            for key, raw in strip.raw.items()
            if key in self.keywords
        }
        if self.scale > 1:
            primary = self.scene.primary
            rasters[primary] = fill_near(rasters[primary], otherwise=self._blank)
        inputs = self.processor.encode(rasters)
        for key in self.absent:
            count = len(self.processor.inputs[key].names)
            inputs[key] = torch.full((1, count, *tile.window.size), float("nan"))
        if "mask" in self.keywords:
            unclear = np.ones(strip.valid.shape, bool) if strip.unclear is None else strip.unclear
            hidden = unclear[inner.rows, inner.columns] | ~strip.valid[inner.rows, inner.columns]
            inputs["mask"] = torch.from_numpy(hidden.astype(np.float32))[None, None]
        for name, scene_map in self.prepared.maps.items():
            inputs[name] = sample_map(scene_map, tile.window, self.factor)
        for name, constant in self.prepared.constants.items():
            inputs[name] = constant[None]
        return inputs
