"""Crops that a zero-shot network begins with: simulated thermal scenes and single bands of images; knows no loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eorestore.config import RunConfig
from eorestore.data.image_files import read_image
from eorestore.data.image_pairs import pairs_of
from eorestore.data.image_samples import read_image_rows
from eorestore.data.simulated_thermal import draw_thermal
from eorestore.errors import ConfigError
from eorestore.layers.sensor import observe
from eorestore.processing import Processor
from eorestore.processing.resize import shrink
from eorestore.processing.sensor import Sensor
from eorestore.tiling.ensembling import turn

if TYPE_CHECKING:
    from eorestore.models.model import Model

_MEAN_SHARE, _GAUSSIAN_SHARE = 0.7, 0.2  # of the sensors; the others shrink as MATLAB's imresize does
_MTF = (0.1, 0.5)
_PERCENTILES = (1.0, 99.0)
_HALVED_SHARE = 0.3  # of the images, so that edges are met at two sharpnesses
_SMOOTH_SHARE, _LARGEST_ZOOM = 0.35, 3.3  # of the crops: resampled to a finer grid than they were observed on
_NOISY_SHARE, _LARGEST_NOISE = 0.35, 0.05  # of the crops: with a sensor's noise, in shares of the scene's range
_RIM = 4  # pixels of margin to every side, so that a crop is shrunk as the whole is
_VALIDATION_SEED = 1_000_003


class ThermalCrops:
    """Square crops of scenes of one band, scaled to about 0 ... 1, made coarser by a sensor that is drawn anew.

    scenes: (y, x) arrays, each at least as large as a crop with its margin. crop: side in coarse pixels.
    seed: items are a function of it, the epoch and their number. fixed: validation, the same in every epoch.
    """

    def __init__(
        self, scenes: list[NDArray[np.float32]], *, crop: int, scale: int, length: int, seed: int, fixed: bool
    ) -> None:
        self._scenes, self._crop, self._scale = scenes, crop, scale
        self._length, self._seed, self._fixed, self._epoch = length, seed, fixed, 0

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose items are asked for next."""
        self._epoch = 0 if self._fixed else epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`low` (1, y, x), `target` (1, scale * y, scale * x), float32, and `valid`. Raises IndexError past the end."""
        if not 0 <= index < self._length:
            raise IndexError(index)
        generator = np.random.default_rng((self._seed, self._epoch, index))
        scene = self._scenes[int(generator.integers(len(self._scenes)))]
        scale, rim = self._scale, _RIM
        side = (self._crop + 2 * rim) * scale
        cut = turn(_cut(scene, side, generator), int(generator.integers(8)))
        low = observe(cut, draw_sensor(generator), factor=scale)
        inside, fine = slice(rim, -rim), slice(rim * scale, -rim * scale)
        target = cut[0, :, fine, fine].contiguous()
        return {
            "low": low[0, :, inside, inside].contiguous(),
            "target": target,
            "valid": torch.ones_like(target, dtype=torch.bool),
        }


def _cut(scene: NDArray[np.float32], side: int, generator: np.random.Generator) -> Tensor:
    """A square of a scene as (1, 1, y, x), now and then smoother or noisier than it is.

    Products are often delivered on a finer grid than their sensor's, Landsat's thermal bands among them: nothing can
    be sharpened there, and a network must tell so from what it sees.
    """
    zoom = float(generator.uniform(1.0, _LARGEST_ZOOM)) if generator.random() < _SMOOTH_SHARE else 1.0
    taken = min(max(round(side / zoom), 2), side)
    row, column = (int(generator.integers(length - taken + 1)) for length in scene.shape)
    cut = torch.from_numpy(np.ascontiguousarray(scene[row : row + taken, column : column + taken]))[None, None]
    if taken < side:
        cut = F.interpolate(cut, size=(side, side), mode="bicubic", align_corners=False)
    if generator.random() < _NOISY_SHARE:
        noise = generator.standard_normal((side, side), dtype=np.float32)
        cut = cut + float(generator.uniform(0.0, _LARGEST_NOISE)) * torch.from_numpy(noise)
    return cut


def draw_sensor(generator: np.random.Generator) -> Sensor:
    """A sensor: mostly the mean of a pixel's area, else an optical blur, else bicubic shrinking."""
    drawn = generator.random()
    if drawn < _MEAN_SHARE:
        return Sensor("mean")
    if drawn < _MEAN_SHARE + _GAUSSIAN_SHARE:
        return Sensor("gaussian", round(float(generator.uniform(*_MTF)), 1))
    return Sensor("bicubic")


def thermal_samples(config: RunConfig, processor: Processor, model: Model) -> tuple[ThermalCrops, ThermalCrops]:
    """Training and validation crops of the manifest's images and of `data.synthetic` simulated scenes.

    Raises ConfigError where scales differ or a scene would be smaller than a crop, DataError as the images raise it.
    """
    data = config.data
    if processor.scale != model.scale:
        raise ConfigError(
            f"the processor enlarges {processor.scale} times and the model {model.scale} times",
            fix=f"name the processor thermal-x{model.scale}",
        )
    least = (data.crop + 2 * _RIM) * model.scale
    if data.synthetic and data.synthetic_size < least:
        raise ConfigError(f"synthetic scenes of {data.synthetic_size} pixels hold no crop", fix=f"make them {least}")
    rows = read_image_rows(data)
    found = []
    for number, split in enumerate(("train", "validation")):
        generator = np.random.default_rng((config.seed, number))
        scenes = [
            scene
            for pair in pairs_of(rows, split, scale=model.scale)
            for scene in _bands(read_image(pair.high, bands=pair.bands).values, generator, least=least)
        ]
        count = data.synthetic if split == "train" else -(-data.synthetic // 8)
        side = data.synthetic_size
        scenes += [scaled(draw_thermal(side, side, generator=generator)) for _ in range(count)]
        if not scenes:
            raise ConfigError(f"no scene of the split {split} holds a crop", fix="lower data.crop")
        found.append(scenes)
    return (
        ThermalCrops(
            found[0], crop=data.crop, scale=model.scale, length=data.items_per_epoch, seed=config.seed, fixed=False
        ),
        ThermalCrops(
            found[1],
            crop=data.crop,
            scale=model.scale,
            length=data.validation_items,
            seed=config.seed + _VALIDATION_SEED,
            fixed=True,
        ),
    )


def scaled(scene: NDArray[np.floating]) -> NDArray[np.float32]:
    """The scene with its 1st percentile at 0 and its 99th at 1; what lies beyond is kept."""
    low, high = np.percentile(scene, _PERCENTILES)
    return np.asarray((scene - low) / (high - low if high > low else 1.0), dtype=np.float32)


def _bands(values: NDArray[np.floating], generator: np.random.Generator, *, least: int) -> list[NDArray[np.float32]]:
    """One band of an image, now and then at half its size, and its mean over bands; none where it is too small."""
    planes = [values[int(generator.integers(len(values)))], values.mean(axis=0)]
    halved = [shrink(plane.astype(np.float64), factor=2) for plane in planes if generator.random() < _HALVED_SHARE]
    return [scaled(plane) for plane in [*planes, *halved] if min(plane.shape) >= least]
