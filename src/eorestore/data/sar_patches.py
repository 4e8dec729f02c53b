"""Patches of SAR bands for training and validation, each a pure function of (seed, epoch, index); knows no loss."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.config import DataSettings, RunConfig
from eorestore.data.augmentation import turned
from eorestore.data.sar_bands import SarBandRow, read_sar_band, read_sar_manifest
from eorestore.data.simulated_sar import simulated_sar
from eorestore.errors import ConfigError, DataError
from eorestore.processing import Processor
from eorestore.processing.table import sar_processor
from eorestore.raster import Raster

if TYPE_CHECKING:
    from eorestore.models.model import Model

_log = logging.getLogger(__name__)

SIZE_POWER = 0.7  # a band is drawn by its pixels to this power, so that large scenes do not crowd out small ones
VALIDATION_SCENES = 4  # simulated ones, where the manifest has no validation band
_VALIDATION_SEED = 1_000_003  # far from every training seed
_DRAWS = 8  # of a crop, until most of it is valid


@dataclass(frozen=True)
class EncodedBand:
    """A band in the window of its polarisation: values (1, y, x) in [0, 1], valid (1, y, x).

    clipped: share of the valid pixels that lay outside the window.
    """

    name: str
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    clipped: float


class SarPatches:
    """Square crops of bands.

    bands: encoded; smaller ones than a crop must not be among them. length: items of an epoch.
    augment: draw band, place, turns and flip of every item, and anew for every epoch; without it bands take turns,
        unturned, and an epoch is as the one before.
    """

    def __init__(
        self, bands: Sequence[EncodedBand], *, crop: int, length: int, seed: int, augment: bool = False
    ) -> None:
        self._bands, self._crop, self._length, self._seed, self._augment = tuple(bands), crop, length, seed, augment
        weights = np.array([band.valid.sum() for band in bands], dtype=np.float64) ** SIZE_POWER
        self._shares = weights / weights.sum()
        self._epoch = 0

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose items are asked for next."""
        self._epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`sar` and `target`, the same (1, y, x) float32 in [0, 1], and `valid` (1, y, x) bool.

        Raises IndexError past the end.
        """
        if not 0 <= index < self._length:
            raise IndexError(index)
        generator = np.random.default_rng((self._seed, self._epoch if self._augment else 0, index))
        number = int(generator.choice(len(self._bands), p=self._shares)) if self._augment else index % len(self._bands)
        band = self._bands[number]
        rows, columns = self._place(band, generator)
        values, valid = band.values[:, rows, columns], band.valid[:, rows, columns]
        if self._augment:
            turns, flip = int(generator.integers(4)), bool(generator.integers(2))
        else:
            turns, flip = 0, False
        image, seen = (
            torch.from_numpy(np.ascontiguousarray(turned(plane, turns, flip=flip))) for plane in (values, valid)
        )
        return {"sar": image, "target": image.clone(), "valid": seen}

    def _place(self, band: EncodedBand, generator: np.random.Generator) -> tuple[slice, slice]:
        """Of a few draws the first crop that is mostly valid, or the one that is so most."""
        best, most = (slice(0, 0), slice(0, 0)), -1
        for _ in range(_DRAWS):
            row, column = (int(generator.integers(side - self._crop + 1)) for side in band.values.shape[1:])
            place = slice(row, row + self._crop), slice(column, column + self._crop)
            found = int(band.valid[0, place[0], place[1]].sum())
            if found > most:
                best, most = place, found
            if 2 * found >= self._crop**2:
                break
        return best


def sar_samples(config: RunConfig, processor: Processor, model: Model) -> tuple[SarPatches, SarPatches]:
    """Training and validation patches as a preset asks for them: bands of the manifest, simulated ones, or both.

    Every band enters in the window of its own polarisation, whichever of them the processor is for. Raises
    ConfigError, and DataError as the bands raise it or where no band of a split is as large as a crop.
    """
    bands = getattr(model.settings, "sar_bands", None)
    if (bands, *map(len, (processor.inputs.get("sar", processor.output).bands, processor.output.bands))) != (1, 1, 1):
        raise ConfigError(
            f"SAR patches have one band; {config.model.name} takes {bands} and processor {config.processor} gives "
            f"{', '.join(processor.output.names)}",
            fix="choose sar-autoencoder with sar_bands 1, and processor sar-vv or sar-vh",
        )
    data = config.data
    rows = read_rows(data)
    train = [encoded_band(row.id, read_sar_band(row)) for row in rows if row.split == "train"]
    validation = [encoded_band(row.id, read_sar_band(row)) for row in rows if row.split == "validation"]
    train += [_simulated(data, config.seed, number) for number in range(data.synthetic)]
    if not validation:
        validation = [_simulated(data, config.seed + _VALIDATION_SEED, number) for number in range(VALIDATION_SCENES)]
    return (
        SarPatches(
            _large_enough(train, data.crop, "training"),
            crop=data.crop,
            length=data.items_per_epoch,
            seed=config.seed,
            augment=True,
        ),
        SarPatches(
            _large_enough(validation, data.crop, "validation"),
            crop=data.crop,
            length=data.validation_items,
            seed=config.seed + _VALIDATION_SEED,
        ),
    )


def read_rows(data: DataSettings) -> tuple[SarBandRow, ...]:
    """The rows of the manifest that a preset names; none without one. Raises what `read_sar_manifest` does."""
    if data.manifest is None:
        return ()
    return read_sar_manifest(Path(data.manifest), root=None if data.root is None else Path(data.root))


def encoded_band(name: str, raster: Raster) -> EncodedBand:
    """A band of decibels in the window of its polarisation; the share that is clipped is logged where there is one."""
    (band,) = raster.bands
    processor = sar_processor(band.name)
    clipped = processor.output.clipped_share(raster.values, valid=raster.valid)
    if clipped:
        _log.info("%s: %.2g %% of the pixels lie outside the window and are clipped", name, 100 * clipped)
    return EncodedBand(name, processor.encode_one("sar", raster), raster.valid[None], clipped)


def _simulated(data: DataSettings, seed: int, number: int) -> EncodedBand:
    generator = np.random.default_rng([seed, number])
    size = (data.synthetic_size, data.synthetic_size)
    polarisation = "VV" if number % 2 == 0 else "VH"
    name = f"simulated-{seed}-{number}"
    return encoded_band(name, simulated_sar(size, polarisation=polarisation, generator=generator))


def _large_enough(bands: Sequence[EncodedBand], crop: int, use: str) -> list[EncodedBand]:
    kept = [band for band in bands if min(band.values.shape[1:]) >= crop and band.valid.any()]
    left = sorted({band.name for band in bands} - {band.name for band in kept})
    if not kept:
        raise DataError(f"no {use} band has {crop} x {crop} pixels", fix="lower data.crop, or name larger bands")
    if left:
        _log.warning("%d of %d %s bands are smaller than a crop of %d pixels", len(left), len(bands), use, crop)
    return kept
