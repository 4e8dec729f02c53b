"""A scene through a model, strip by strip: a reader ahead, the model, a writer behind; memory is a few strips."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from eorestore.errors import DataError, UsageError
from eorestore.models.model import Model, Prepared
from eorestore.processing import Processor
from eorestore.raster import Window
from eorestore.restorer.scene import PackedMask, Scene, physical
from eorestore.tiling.blending import Mosaic
from eorestore.tiling.compositing import MARGIN, compose
from eorestore.tiling.ensembling import self_ensemble
from eorestore.tiling.tiles import Tile, TilePlan

Sink = Callable[[int, NDArray[Any], NDArray[np.uint8]], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Execution:
    """How a model is run. precision: fp32 or bf16 (autocast). tta: mean over eight flips and turns."""

    batch: int = 4
    device: str = "cpu"
    precision: str = "fp32"
    tta: bool = False


@dataclass(frozen=True)
class _Strip:
    """What the reader fetched for one row of tiles: full-width rows from `window.row`."""

    window: Window
    raw: Mapping[str, NDArray[Any]]
    valid: NDArray[np.bool_]
    mask: NDArray[np.bool_] | None


class Stream:
    """Runs `model` over `scene` by the rows of `plan` and hands finished raw rows to a sink, in order."""

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
    ) -> None:
        self.model, self.processor, self.scene, self.plan = model, processor, scene, plan
        self.mask, self.prepared, self.factor, self.execution = mask, prepared, factor, execution
        self.keywords = forward_keywords(model)
        self.margin = 0 if mask is None else MARGIN
        # without a mask nothing is blended with what was observed, so tiles are stored as they will be written
        self.encodes_tiles = mask is None and plan.mode == "crop"
        names = [name for name in processor.output.names if name in scene.optical.bands]
        self.rows_out = [scene.optical.bands.index(name) for name in names]
        rows = [processor.output.names.index(name) for name in names]
        self.rows_model = None if rows == list(range(len(processor.output.names))) else rows
        self.scaling = processor.output.select(names)
        # joining tiles pays where a network works on them; a baseline only moves them about
        self.batch = execution.batch if any(True for _ in model.parameters()) else 1
        self.done_tiles = 0

    def run(self, sink: Sink, *, begin: int = 0, progress: Progress | None = None) -> None:
        """Restore scene rows from `begin` on. The sink gets (first row, raw rows, source rows)."""
        first = self.plan.first_row_for(max(begin - self.margin, 0))
        self.done_tiles = sum(len(row) for row in self.plan.rows[:first])
        dtype = self.scene.optical.encoding.dtype if self.encodes_tiles else "float32"
        mosaic = Mosaic(self.plan, bands=len(self.rows_out), begin=first, dtype=dtype)
        seam = _Seam(self, begin)
        with _Background(sink) as writer:
            for row, strip in _ahead(self._strips(first)):
                self._restore_row(row, strip, mosaic, progress)
                top = mosaic.top
                restored = mosaic.finish(row)
                for finished in seam.push(top, restored, strip):
                    writer.put(finished)

    def _strips(self, first: int) -> Iterator[tuple[int, _Strip]]:
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
            mask = None if self.mask is None else self.mask.read(whole)
            yield row, _Strip(whole, raw, valid, mask)

    def _restore_row(self, row: int, strip: _Strip, mosaic: Mosaic, progress: Progress | None) -> None:
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

    def _is_wanted(self, tile: Tile, strip: _Strip) -> bool:
        """Whether any pixel of a tile, or of the seam's context around it, is to be restored."""
        near = tile.core.grow(self.margin, within=self.plan.size)
        columns = near.columns
        inner = tile.window.relative_to(strip.window)
        if not strip.valid[inner.rows, inner.columns].any():
            return False
        return self.mask is None or bool(self.mask.read(Window(near.row, columns.start, *near.size)).any())

    def _restore_batch(self, row: int, batch: Sequence[tuple[int, Tile]], strip: _Strip, mosaic: Mosaic) -> None:
        items = [self._encode(tile, strip) for _, tile in batch]
        inputs = {key: torch.cat([item[key] for item in items]) if items[1:] else items[0][key] for key in items[0]}
        image = run_model(self.model, inputs, self.execution)
        if self.rows_model is not None:
            image = image[:, self.rows_model]
        if not _is_finite(image):
            place = batch[0][1].window
            raise DataError(
                f"the model gave values that are not finite near row {place.row}, column {place.column}",
                fix="check its weights with `eorestore model check`; with bf16 try --precision fp32",
            )
        for (column, tile), restored in zip(batch, image.numpy(), strict=True):
            values = self.scaling.decode(restored)
            if self.encodes_tiles:
                values = self.scene.optical.encoding.encode(values)
            mosaic.add(tile, values, position=(row, column))

    def _encode(self, tile: Tile, strip: _Strip) -> dict[str, Tensor]:
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
        inputs = self.processor.encode(rasters)
        if "mask" in self.keywords:
            mask = np.ones(tile.window.size, bool) if strip.mask is None else strip.mask[inner.rows, inner.columns]
            hidden = mask | ~strip.valid[inner.rows, inner.columns]
            inputs["mask"] = torch.from_numpy(hidden.astype(np.float32))[None, None]
        for name, scene_map in self.prepared.maps.items():
            inputs[name] = sample_map(scene_map, tile.window, self.factor)
        for name, constant in self.prepared.constants.items():
            inputs[name] = constant[None]
        return inputs


def forward_keywords(model: Model) -> tuple[str, ...]:
    """Names of the keywords of a model's forward."""
    return tuple(inspect.signature(model.forward).parameters)


def run_model(model: Model, inputs: Mapping[str, Tensor], execution: Execution) -> Tensor:
    """The restored image (batch, band, y, x) as float32 on the CPU; pads to `multiple_of` and crops."""
    unknown = set(inputs) - set(forward_keywords(model))
    if unknown:
        raise UsageError(f"the model takes no {', '.join(sorted(unknown))}", fix="check processor and prepare")
    height, width = next(value.shape[-2:] for value in inputs.values() if value.ndim == 4)
    padded = {
        key: _pad(value, model.multiple_of, (height, width)).to(execution.device) for key, value in inputs.items()
    }
    kind = torch.device(execution.device).type
    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=execution.precision == "bf16"):

        def forward(batch: Mapping[str, Tensor]) -> Tensor:
            image: Tensor = model(**batch).image
            return image

        image = self_ensemble(forward, padded) if execution.tta else forward(padded)
    return image[..., : height * model.scale, : width * model.scale].float().cpu()


def _is_finite(image: Tensor) -> bool:
    """Whether every value is. A sum in NumPy tells far sooner, unless finite values overflow it."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(image.numpy(), axis=None)
    return bool(np.isfinite(total)) or bool(torch.isfinite(image).all())


def sample_map(scene_map: Tensor, window: Window, factor: int) -> Tensor:
    """A map (1, band, y, x) over the overview, seen at a window of the scene: cut out, or interpolated linearly."""
    if factor == 1:
        return scene_map[..., window.rows, window.columns]
    height, width = scene_map.shape[-2:]
    rows = 2 * (torch.arange(window.row, window.row + window.height) + 0.5) / (height * factor) - 1
    columns = 2 * (torch.arange(window.column, window.column + window.width) + 0.5) / (width * factor) - 1
    down, across = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([across, down], dim=-1)[None].to(scene_map.dtype)
    return F.grid_sample(scene_map, places, mode="bilinear", padding_mode="border", align_corners=False)


def _pad(value: Tensor, multiple: int, size: tuple[int, int]) -> Tensor:
    bottom, right = -size[0] % multiple, -size[1] % multiple
    if value.ndim != 4 or value.shape[-2:] != size or (bottom == 0 and right == 0):
        return value
    reflects = bottom < size[0] and right < size[1]
    return F.pad(value, (0, right, 0, bottom), mode="reflect" if reflects else "replicate")


class _Seam:
    """Holds rows until their context is there, then composes observed and restored pixels."""

    def __init__(self, stream: Stream, begin: int) -> None:
        self.stream, self.done = stream, begin
        self.parts: list[tuple[Any, ...]] = []
        self.top = 0

    def push(
        self, top: int, restored: NDArray[np.float32], strip: _Strip
    ) -> Iterator[tuple[int, NDArray[Any], NDArray[np.uint8]]]:
        stream = self.stream
        end = top + restored.shape[1]
        rows = slice(top - strip.window.row, end - strip.window.row)
        raw = strip.raw[stream.scene.primary][:, rows]
        mask = None if strip.mask is None else strip.mask[rows]
        if not self.parts:
            self.top = top
        self.parts.append((raw, restored, strip.valid[rows], mask))
        height = stream.plan.size[0]
        limit = end if end == height else end - stream.margin
        if limit <= self.done:
            return
        raw, restored, valid, mask = self._joined()
        inside = slice(self.done - self.top, limit - self.top)
        chosen = raw[stream.rows_out] if len(stream.rows_out) < len(raw) else raw
        result, source = compose(
            chosen,
            restored,
            valid=valid,
            mask=mask,
            encoding=stream.scene.optical.encoding,
            rows=inside,
            encoded=stream.encodes_tiles,
        )
        if len(stream.rows_out) < len(raw):
            whole = raw[:, inside].copy()
            whole[stream.rows_out] = result
            result = whole
        yield self.done, result, source
        self.done = limit
        keep = max(limit - stream.margin - self.top, 0)
        left = (raw[:, keep:].copy(), restored[:, keep:].copy(), valid[keep:], None if mask is None else mask[keep:])
        self.parts = [left] if left[2].shape[0] else []
        self.top += keep

    def _joined(self) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_] | None]:
        if len(self.parts) == 1:
            return self.parts[0]
        raws, restoreds, valids, masks = zip(*self.parts, strict=True)
        mask = None if masks[0] is None else np.concatenate(masks)
        return np.concatenate(raws, axis=1), np.concatenate(restoreds, axis=1), np.concatenate(valids), mask


class _Background:
    """Calls a sink from a thread of its own, strip by strip; an error there surfaces at the next put or on exit."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._pool = ThreadPoolExecutor(1, "eorestore-writer")
        self._last: Future[None] | None = None

    def put(self, finished: tuple[int, NDArray[Any], NDArray[np.uint8]]) -> None:
        self._wait()
        self._last = self._pool.submit(self._sink, *finished)

    def __enter__(self) -> _Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self._wait()

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()


def _ahead(strips: Iterator[tuple[int, _Strip]]) -> Iterator[tuple[int, _Strip]]:
    """The same strips, each fetched by a thread while the one before is worked on; never more than one ahead."""
    with ThreadPoolExecutor(1, "eorestore-reader") as pool:
        coming = pool.submit(next, strips, None)
        while (strip := coming.result()) is not None:
            coming = pool.submit(next, strips, None)
            yield strip
