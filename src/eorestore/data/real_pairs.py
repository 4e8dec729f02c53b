"""Training samples of real cloudy scenes beside clear ones, read when they are asked for; knows no simulation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from eorestore.data.clear_scenes import read_scene
from eorestore.data.manifest import SceneRow
from eorestore.data.scene_encoding import CloudedScene, Prepare, Sample, SceneEncoder, Variation
from eorestore.data.scene_masks import scene_mask
from eorestore.errors import ConfigError, DataError
from eorestore.processing.processor import Processor

KEPT = 4  # scenes in memory, about 11 MB each at 256 x 256
LEAST_CLEAR = 0.02  # share of a scene without which a model cannot learn from it
_ORDER, _SCENE, _CROP, _LOSS = 0, 1, 2, 3  # streams of draws, so that none depends on how many another took


class RealPairs(Dataset[Sample]):
    """Rows with a cloudy scene, SAR and a reference without cloud, such as the triplets of SEN12MS-CR.

    Item `index` of an epoch depends on (seed, epoch, index) alone. `crops_per_scene` consecutive items are crops of
    one scene. Every row is used once before any is used twice; of its scene nothing is read before, and the last
    `KEPT` scenes are kept. Where `prepare` is given, a scene that leaves less than `LEAST_CLEAR` clear is passed over
    for the next row in the epoch's order.

    A sample is one of `CloudPairs` without `thickness`. `mask`, `cloud` and `shadow` are the row's own mask or the
    built-in one (see `scene_masks`); `valid` is where both dates hold an observation.

    crop: side of the square in pixels. length: items of an epoch.
    augment: flips and quarter turns, one draw for all rasters; SAR moved by up to `sar_shift_px`.
    drop_b10, drop_sar, drop_vh: shares of scenes that lack these; see `scene_encoding.Variation`.
    prepare, optional_inputs: the model's own; see `SceneEncoder`.
    Raises DataError, naming the row, and ConfigError.
    """

    def __init__(
        self,
        rows: Sequence[SceneRow],
        processor: Processor,
        *,
        crop: int,
        length: int,
        seed: int,
        crops_per_scene: int = 1,
        prepare: Prepare | None = None,
        optional_inputs: Sequence[str] = (),
        augment: bool = False,
        sar_shift_px: float = 0.5,
        drop_b10: float = 0.0,
        drop_sar: float = 0.0,
        drop_vh: float = 0.0,
    ) -> None:
        if not rows:
            raise DataError("no real pair", fix="name at least one row of this split")
        without = [row.id for row in rows if row.reference is None]
        if without:
            raise DataError(
                f"{len(without)} of {len(rows)} rows have no reference, {without[0]} among them",
                fix="fill the column reference, leave these rows out, or set data.pairs to simulated",
            )
        if crop < 1 or crops_per_scene < 1 or length < 1:
            raise ConfigError(
                f"crop {crop}, length {length} and crops_per_scene {crops_per_scene}", fix="give at least 1 of each"
            )
        variation = Variation(
            turns=augment,
            sar_shift_px=sar_shift_px if augment else 0.0,
            drop_b10=drop_b10,
            drop_sar=drop_sar,
            drop_vh=drop_vh,
        )
        self._encoder = SceneEncoder(processor, variation=variation, prepare=prepare, optional_inputs=optional_inputs)
        self._rows, self._learns = tuple(rows), prepare is not None
        self._crop, self._length, self._seed, self._crops_per_scene = crop, length, seed, crops_per_scene
        self._epoch = 0
        self._order: tuple[tuple[int, int], NDArray[np.int64]] = ((-1, -1), np.empty(0, np.int64))
        self._kept: OrderedDict[tuple[int, int], tuple[Sample, Sample]] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Later items are those of this epoch."""
        self._epoch = epoch

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._length:
            raise IndexError(index)
        maps, constants = self._scene(index // self._crops_per_scene)
        generator = np.random.default_rng([self._seed, self._epoch, _CROP, index])
        row, column = (int(generator.integers(side - self._crop + 1)) for side in maps["mask"].shape[-2:])
        rows, columns = slice(row, row + self._crop), slice(column, column + self._crop)
        cut: dict[str, Tensor] = {name: values[:, rows, columns].clone() for name, values in maps.items()}
        return cut | constants

    def _scene(self, group: int) -> tuple[Sample, Sample]:
        """Maps and constants of scene number `group` of this epoch."""
        key = self._epoch, group
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        streams = (np.random.default_rng([self._seed, self._epoch, stream, group]) for stream in (_SCENE, _LOSS))
        generator, losses = streams
        self._kept[key] = self._encoder.encode(self._read(group), generator=generator, losses=losses)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _read(self, group: int) -> CloudedScene:
        for step in range(len(self._rows)):
            scene = self._clouded(self._row(group + step))
            if not self._learns or float((scene.valid & ~scene.mask).mean()) >= LEAST_CLEAR:
                return scene
        raise DataError(
            f"none of {len(self._rows)} cloudy scenes leaves {LEAST_CLEAR:.0%} clear for the model to learn from",
            fix="add scenes, or train a model that needs no clear pixel",
        )

    def _row(self, number: int) -> SceneRow:
        lap, position = divmod(number, len(self._rows))
        if self._order[0] != (self._epoch, lap):
            generator = np.random.default_rng([self._seed, self._epoch, _ORDER, lap])
            self._order = ((self._epoch, lap), generator.permutation(len(self._rows)))
        return self._rows[int(self._order[1][position])]

    def _clouded(self, row: SceneRow) -> CloudedScene:
        optical, sar, reference = read_scene(row)
        height, width = optical.grid.size
        if reference is None or min(height, width) < self._crop:
            raise DataError(
                f"{row.id} has {height} x {width} pixels; crops of {self._crop} do not fit",
                fix="choose a smaller crop or leave the scene out",
            )
        cloud, shadow = scene_mask(row, optical)
        return CloudedScene(
            cloudy=optical,
            sar=sar,
            target=reference,
            mask=cloud | shadow,
            valid=optical.valid & reference.valid,
            cloud=cloud,
            shadow=shadow & ~cloud,
        )
