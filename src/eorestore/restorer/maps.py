"""Maps that are kept beside the image: which there are, how their bands are called, and in which unit they come.

Knows no file. `source` comes with every restoration, `consistency` is ours (see that module); all others are extras
of the model, which go through tiles, blending and journal as further bands behind the image's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import CheckpointError, UsageError
from eorestore.processing.normalize import BandScaling
from eorestore.raster import BandSet, Unit
from eorestore.tiling.compositing import Source

SOURCE, SIGMA, CONSISTENCY = "source", "sigma", "consistency"


@dataclass(frozen=True)
class MapLayer:
    """One map. rows: bands of the model's extra that are kept. gain: of each, from the model's scale to the file's.

    observed: value of pixels that were left as observed: 0 for `sigma`, NaN (not looked at) for any other.
    """

    name: str
    bands: tuple[str, ...]
    rows: tuple[int, ...] = (0,)
    gain: tuple[float, ...] = (1.0,)
    unit: Unit = Unit.INDEX
    observed: float = float("nan")


CONSISTENCY_LAYER = MapLayer(CONSISTENCY, (CONSISTENCY,))


@dataclass(frozen=True)
class MapStack:
    """Maps of a model, stacked in order. extras: bands of every extra in the model's own stack, by name."""

    layers: tuple[MapLayer, ...] = ()
    extras: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the maps in order."""
        return tuple(layer.name for layer in self.layers)

    @cached_property
    def bands(self) -> int:
        """Bands of all maps together."""
        return sum(len(layer.bands) for layer in self.layers)

    def convert(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The model's extras (band, y, x), stacked by `names`, as what the files hold."""
        rows: list[int] = []
        gain: list[float] = []
        first = 0
        for layer in self.layers:
            rows += [first + row for row in layer.rows]
            gain += layer.gain
            first += self.extras[layer.name]
        return np.multiply(values[rows], np.array(gain, np.float32)[:, None, None], dtype=np.float32)

    def settle(self, values: NDArray[np.float32], source: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values (band, y, x) where pixels were restored, each layer's own where observed, NaN where nodata."""
        observed = [layer.observed for layer in self.layers for _ in layer.bands]
        left = np.where(source == Source.OBSERVED, np.array(observed, np.float32)[:, None, None], np.float32(np.nan))
        return np.where(source == Source.RESTORED, values, left)

    def split(self, values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The stack (band, y, x) as one array a map."""
        parts, first = {}, 0
        for layer in self.layers:
            parts[layer.name] = values[first : first + len(layer.bands)]
            first += len(layer.bands)
        return parts


NO_MAPS = MapStack()


def check_maps(save: Sequence[str], *, model: str, extras: Mapping[str, int], sar: bool) -> None:
    """Whether all maps of `save` can be given. Raises UsageError that lists what the model gives."""
    known = [SOURCE, *extras, *([CONSISTENCY] if sar else [])]
    if CONSISTENCY in save and not sar:
        raise UsageError("the consistency map compares with SAR", fix="give a SAR scene with --sar")
    unknown = [name for name in save if name not in known]
    if unknown:
        raise UsageError(f"{model} gives no map {', '.join(unknown)}", fix=f"it gives {', '.join(known)}")


def model_maps(
    save: Sequence[str],
    *,
    extras: Mapping[str, int],
    output: BandScaling,
    bands: BandSet,
    calibration: Mapping[str, Any] | None = None,
) -> MapStack:
    """The maps among `save` that the model itself gives.

    Args:
        save: names.
        extras: number of bands of every extra of the model.
        output: scaling of the model's image; `sigma` is in it.
        bands: of the scene; `sigma` has those that the model restores, in their order.
        calibration: of a checkpoint; see `models.checkpoint.write_calibration`.

    Raises:
        CheckpointError: a calibration of another number of bands.
    """
    layers = []
    for name in save:
        if name in extras and name != SIGMA:
            layers.append(_plain(name, extras[name]))
        elif name in extras:
            layers.append(_sigma(output, bands, calibration))
    return MapStack(tuple(layers), extras)


def _plain(name: str, count: int) -> MapLayer:
    bands = (name,) if count == 1 else tuple(f"{name}_{index + 1}" for index in range(count))
    return MapLayer(name, bands, tuple(range(count)), (1.0,) * count)


def _sigma(output: BandScaling, bands: BandSet, calibration: Mapping[str, Any] | None) -> MapLayer:
    scale = [1.0] * len(output.bands) if calibration is None else calibration.get("scale", [])
    if len(scale) != len(output.bands):
        raise CheckpointError(
            f"config.json calibrates {len(scale)} bands; the model has {len(output.bands)}", fix="calibrate it again"
        )
    names = [name for name in bands.names if name in output.names]
    rows = [output.names.index(name) for name in names]
    # A standard deviation knows no offset: only the width of the scaling counts.
    gain = [scale[row] * (output.bands[row].high - output.bands[row].low) / output.bands[row].top for row in rows]
    return MapLayer(SIGMA, tuple(names), tuple(rows), tuple(gain), output.unit, 0.0)
