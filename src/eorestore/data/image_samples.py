"""Crops of image pairs for training and validation, each a pure function of (seed, epoch, index); knows no loss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.config import DataSettings, RunConfig
from eorestore.data.augmentation import turned
from eorestore.data.degradation import Degradation
from eorestore.data.image_files import image_size, read_image
from eorestore.data.image_pairs import ImagePair, ImageRow, pairs_of, read_rows
from eorestore.errors import ConfigError, DataError
from eorestore.processing import BandScaling, Processor

if TYPE_CHECKING:
    from eorestore.models.model import Model

_log = logging.getLogger(__name__)

Maps = dict[str, NDArray[Any]]
"""Arrays (any, y, x) of one pair: `low`, `target` and bool `valid` (1, y, x), the latter two `scale` times as large."""

KEPT_BYTES = 2 * 2**30  # of images kept in memory; what is beyond is read whenever it is asked for
MIXUP_BETA = 0.2  # both parameters of the share that the second image of a mixture has
JITTER = 0.05  # largest change of a band's gain and of the brightness, as a share of the range
_VALIDATION_SEED = 1_000_003  # far from every training seed


@dataclass(frozen=True)
class ImageVariation:
    """How the crops of a training vary; nothing does by default.

    turns: one of the eight flips and quarter turns. mixup: share of crops that are blended with another one.
    jitter: share of crops whose bands take other gains and another brightness; both images of a pair alike, and
        unclipped, so that the one stays what shrinking makes of the other.
    """

    turns: bool = False
    mixup: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True)
class PairReader:
    """Reads whole pairs encoded, and makes the low-resolution image where there is none.

    processor: its input `low` and its output, which scale alike.
    """

    processor: Processor
    degradation: Degradation

    def __call__(self, pair: ImagePair) -> Maps:
        """The maps of a pair, float32. Raises DataError, BandError and UnitError."""
        raster = read_image(pair.high, bands=pair.bands)
        scaling = self.processor.output
        if pair.bands:  # a scene knows no white
            scaling = BandScaling(tuple(replace(band, clip=False) for band in scaling.bands))
        high = self.degradation.crop(Processor({"target": scaling}, scaling).encode_one("target", raster))
        if pair.low is None:
            low = self.degradation.apply(high)
        else:
            low = self.processor.encode_one("low", read_image(pair.low))
        return {"low": low, "target": high, "valid": raster.valid[None, : high.shape[1], : high.shape[2]]}


ReadPair = Callable[[ImagePair], Maps]


class ImagePairs:
    """Square crops of image pairs.

    pairs: none may be smaller than a crop, see `large_enough`. read: the maps of a pair; beside those of PairReader it
        may give others, each as large as `low` or a whole number of times larger, which are cut and turned alike. A
        map `name@3`, after `name`, takes its place in crops of turn 3; turns are numbered as in tiling.ensembling.
    crop: side in low-resolution pixels. length: items of an epoch; images take turns, over epochs too.
    variation: None for validation, whose crops are the same in every epoch.
    """

    def __init__(
        self,
        pairs: Sequence[ImagePair],
        *,
        read: ReadPair,
        crop: int,
        length: int,
        seed: int,
        variation: ImageVariation | None = None,
    ) -> None:
        self._pairs, self._read, self._crop, self._length, self._seed = tuple(pairs), read, crop, length, seed
        self._variation, self._epoch = variation, 0
        self._kept: list[Maps] = []
        room = KEPT_BYTES
        for pair in self._pairs[:length] if variation is None else self._pairs:
            maps = read(pair)
            room -= sum(values.nbytes for values in maps.values())
            if room < 0:
                break
            self._kept.append(maps)

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose items are asked for next."""
        self._epoch = 0 if self._variation is None else epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`low` (band, y, x) and `target` (band, scale * y, scale * x), float32, and `valid` (1, ...) as the target.

        Raises IndexError past the end, and what reading a pair raises.
        """
        if not 0 <= index < self._length:
            raise IndexError(index)
        generator = np.random.default_rng((self._seed, self._epoch, index))
        crop = self._cut((self._epoch * self._length + index) % len(self._pairs), generator)
        if self._variation is not None:
            if generator.random() < self._variation.mixup:
                other = self._cut(int(generator.integers(len(self._pairs))), generator)
                crop = _mixed(crop, other, share=float(generator.beta(MIXUP_BETA, MIXUP_BETA)))
            if generator.random() < self._variation.jitter:
                crop = _jittered(crop, generator)
        return {name: torch.from_numpy(np.array(values, order="C")) for name, values in crop.items()}

    def _cut(self, number: int, generator: np.random.Generator) -> Maps:
        """A crop of image `number`, turned where crops vary so."""
        maps = self._kept[number] if number < len(self._kept) else self._read(self._pairs[number])
        size, crop = maps["low"].shape[1:], self._crop
        row, column = (int(generator.integers(side - crop + 1)) for side in size)
        turns, flip = 0, False
        if self._variation is not None and self._variation.turns:
            turns, flip = int(generator.integers(4)), bool(generator.integers(2))
        own = f"@{turns + 4 * flip}"
        found: Maps = {}
        for name, values in maps.items():
            if "@" in name and not name.endswith(own):
                continue
            times = values.shape[1] // size[0]
            rows, columns = (slice(times * start, times * (start + crop)) for start in (row, column))
            found[name.partition("@")[0]] = turned(values[:, rows, columns], turns, flip=flip)
        return found


def image_samples(
    config: RunConfig, processor: Processor, model: Model, *, wrap: Callable[[PairReader], ReadPair] | None = None
) -> tuple[ImagePairs, ImagePairs]:
    """Training and validation crops of the images that a preset names; `wrap` may add maps to those of a pair.

    Raises ConfigError where scale or bands of model and processor differ or a setting has no meaning for images, and
    DataError, BandError and UnitError as the images raise them, or where a split has none as large as a crop.
    """
    _check(config, processor, model)
    data = config.data
    rows = read_image_rows(data)
    plain = PairReader(processor, Degradation(model.scale, levels=data.low_levels))
    read: ReadPair = plain if wrap is None else wrap(plain)
    train = large_enough(pairs_of(rows, "train", scale=model.scale), data.crop * model.scale, "training")
    validation = large_enough(pairs_of(rows, "validation", scale=model.scale), data.crop * model.scale, "validation")
    return (
        ImagePairs(
            train,
            read=read,
            crop=data.crop,
            length=data.repeat * len(train) or data.items_per_epoch,
            seed=config.seed,
            variation=ImageVariation(turns=True, mixup=data.mixup, jitter=data.recolour),
        ),
        ImagePairs(
            validation,
            read=read,
            crop=data.crop,
            length=data.validation_items,
            seed=config.seed + _VALIDATION_SEED,
        ),
    )


def read_image_rows(data: DataSettings) -> tuple[ImageRow, ...]:
    """The images that a preset names; none without a manifest. Raises what `image_pairs.read_rows` does."""
    if data.manifest is None:
        return ()
    return read_rows(Path(data.manifest), root=None if data.root is None else Path(data.root))


def large_enough(pairs: Sequence[ImagePair], side: int, use: str) -> tuple[ImagePair, ...]:
    """The pairs whose large image has `side` pixels along both axes. Raises DataError where none has."""
    kept = tuple(pair for pair in pairs if min(image_size(pair.high)) >= side)
    if not kept:
        raise DataError(
            f"no {use} image of {len(pairs)} has {side} x {side} pixels",
            fix="lower data.crop, or name larger images with that split",
        )
    if len(kept) < len(pairs):
        _log.warning(
            "%d of %d %s images are smaller than %d pixels and left out", len(pairs) - len(kept), len(pairs), use, side
        )
    return kept


def _check(config: RunConfig, processor: Processor, model: Model) -> None:
    name = f"{config.model.name} and processor {config.processor}"
    if "low" not in processor.inputs:
        raise ConfigError(f"processor {config.processor} has no input low", fix="choose one for super-resolution")
    if processor.scale != model.scale:
        raise ConfigError(
            f"{name} enlarge {model.scale} and {processor.scale} times", fix="choose a processor of the model's scale"
        )
    if processor.inputs["low"] != processor.output:
        raise ConfigError(
            f"processor {config.processor} scales low and its output differently",
            fix="choose one that scales both alike: the one image is made of the other",
        )
    bands = len(processor.output.names)
    found = getattr(model.settings, "bands", bands)
    if found != bands:
        raise ConfigError(
            f"{config.model.name} has bands {found}, and processor {config.processor} gives {bands}",
            fix=f"set model.settings.bands to {bands}, or choose another processor",
        )
    if config.data.synthetic:
        raise ConfigError("data.synthetic is not for super-resolution", fix="set it to 0 and name images")


def _mixed(crop: Maps, other: Maps, *, share: float) -> Maps:
    """Mixup (Zhang et al. 2018) of pairs: the second one has `share` of every map; valid is what is so in both."""
    mixed: Maps = {}
    for name, values in crop.items():
        if values.dtype == np.bool_:
            mixed[name] = np.logical_and(values, other[name])
        else:
            mixed[name] = ((1 - share) * values + share * other[name]).astype(values.dtype)
    return mixed


def _jittered(crop: Maps, generator: np.random.Generator) -> Maps:
    gain = (1 + JITTER * generator.uniform(-1, 1, size=(len(crop["low"]), 1, 1))).astype(np.float32)
    brightness = np.float32(JITTER * generator.uniform(-1, 1))
    return crop | {name: gain * crop[name] + brightness for name in ("low", "target")}
