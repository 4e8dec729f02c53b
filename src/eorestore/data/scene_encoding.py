"""From the rasters of one clouded scene to the tensors of its samples: encoded, augmented, prepared; knows no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.data.augmentation import add_speckle, moved, turned
from eorestore.errors import ConfigError
from eorestore.models.model import Prepared, SceneSample
from eorestore.processing.normalize import BandScaling
from eorestore.processing.processor import Processor
from eorestore.processing.units import convert
from eorestore.raster import Raster, Unit

Sample = dict[str, Tensor]
Prepare = Callable[[SceneSample], Prepared]


@dataclass(frozen=True)
class CloudedScene:
    """A scene under clouds and its answer, all on one grid.

    mask: bool (y, x), what is to be restored. valid, cloud, shadow: bool (y, x).
    maps: further float32 maps (y, x) of a sample, by name.
    """

    cloudy: Raster
    sar: Raster
    target: Raster
    mask: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class Variation:
    """How the encoded scenes of a training vary; nothing does by default.

    turns: flips and quarter turns, one draw for all rasters. speckle: more of it on half of the SAR scenes.
    sar_shift_px: SAR is moved by up to so much along each axis.
    drop_b10: share of scenes in which B10 takes the processor's fill value, as in an L2A product.
    drop_sar, drop_vh: shares of scenes that lose both SAR bands, or VH alone; what is lost is NaN throughout.
    """

    turns: bool = False
    speckle: bool = False
    sar_shift_px: float = 0.0
    drop_b10: float = 0.0
    drop_sar: float = 0.0
    drop_vh: float = 0.0


class SceneEncoder:
    """Encodes clouded scenes for one processor and one model.

    prepare: the model's own, where it needs the scene; it sees the whole varied scene.
    optional_inputs: the model's own; with `sar` among them, SAR bands that a scene lacks are NaN throughout.
    Raises ConfigError where `variation` asks for what processor or model cannot do.
    """

    def __init__(
        self,
        processor: Processor,
        *,
        variation: Variation,
        prepare: Prepare | None = None,
        optional_inputs: Sequence[str] = (),
    ) -> None:
        self._processor, self._variation, self._prepare = processor, variation, prepare
        self._target = Processor({"target": _target_scaling(processor)}, processor.output)
        self._sar_optional = "sar" in optional_inputs
        self._b10 = _b10_rows(processor, self._target, variation.drop_b10)
        self._vh = self._vh_row() if variation.drop_sar + variation.drop_vh > 0 else None

    @property
    def bands(self) -> frozenset[str]:
        """Names of the optical bands that samples are made of."""
        return frozenset(self._processor.inputs["cloudy"].names) | frozenset(self._processor.output.names)

    def encode(
        self, scene: CloudedScene, *, generator: np.random.Generator, losses: np.random.Generator
    ) -> tuple[Sample, Sample]:
        """Maps (band, y, x) and constants of a scene, as the contract of `tasks.Task` names them.

        losses: draws which SAR bands get lost, apart from all other draws. Raises BandError and UnitError, and what
        `prepare` raises.
        """
        variation = self._variation
        arrays: dict[str, NDArray[np.generic]] = {
            "cloudy": self._processor.encode_one("cloudy", scene.cloudy),
            "mask": scene.mask[None].astype(np.float32),
            "target": self._target.encode_one("target", scene.target),
            "valid": scene.valid[None],
            "cloud": scene.cloud[None],
            "shadow": scene.shadow[None],
        }
        arrays |= {name: values[None] for name, values in scene.maps.items()}
        if "sar" in self._processor.inputs:
            sar = scene.sar
            if variation.speckle:
                sar = add_speckle(convert(sar, Unit.DECIBEL), generator=generator)
            down, across = (variation.sar_shift_px * generator.uniform(-1, 1) for _ in range(2))
            arrays["sar"] = self._without_lost(moved(self._encode_sar(sar), (down, across)), losses)
        if generator.random() < variation.drop_b10:
            for name, (row, fill) in self._b10.items():
                arrays[name] = arrays[name].copy()
                arrays[name][row] = fill
        if variation.turns:
            turns, flip = int(generator.integers(4)), bool(generator.integers(2))
            arrays = {name: turned(values, turns, flip=flip) for name, values in arrays.items()}
        maps = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
        if self._prepare is None:
            return maps, {}
        with torch.no_grad():
            prepared = self._prepare(scene_sample(maps, tuple(self._processor.inputs)))
        maps |= {name: values[0] for name, values in prepared.maps.items()}
        return maps, dict(prepared.constants)

    def _encode_sar(self, sar: Raster) -> NDArray[np.float32]:
        scaling = self._processor.inputs["sar"]
        present = [name for name in scaling.names if name in sar.bands]
        if not self._sar_optional or not present:
            return self._processor.encode_one("sar", sar)
        whole = np.full((len(scaling.names), *sar.grid.size), np.nan, dtype=np.float32)
        if sar.valid.any():
            some = Processor({"sar": scaling.select(present)}, self._processor.output)
            whole[[scaling.names.index(name) for name in present]] = some.encode_one("sar", sar)
        return whole

    def _without_lost(self, sar: NDArray[np.float32], losses: np.random.Generator) -> NDArray[np.float32]:
        draw = losses.random()
        rows: slice | int
        if draw < self._variation.drop_sar:
            rows = slice(None)
        elif self._vh is not None and draw < self._variation.drop_sar + self._variation.drop_vh:
            rows = self._vh
        else:
            return sar
        sar = sar.copy()
        sar[rows] = np.nan
        return sar

    def _vh_row(self) -> int | None:
        if not self._sar_optional:
            raise ConfigError(
                "drop_sar and drop_vh are for models that can do without SAR, and this one cannot",
                fix="set both to 0, or choose a model whose optional_inputs has sar",
            )
        names = self._processor.inputs["sar"].names if "sar" in self._processor.inputs else ()
        if "VH" not in names and (self._variation.drop_vh or not names):
            raise ConfigError(
                f"drop_sar or drop_vh is set, and the processor takes {', '.join(names) or 'no SAR'}",
                fix="set both to 0, or choose a processor with VV and VH",
            )
        return names.index("VH") if "VH" in names else None


def scene_sample(maps: Sample, inputs: Sequence[str]) -> SceneSample:
    """A whole clouded scene as `prepare` sees it: one window, which is its own overview."""
    window = {name: maps[name][None] for name in inputs if name in maps}
    window["mask"] = torch.maximum(maps["mask"], (~maps["valid"]).float())[None]
    return SceneSample(overview=window, windows=(window,), factor=1)


def _target_scaling(processor: Processor) -> BandScaling:
    """The output's scaling; a band that the input may lack may lack here, too."""
    fills = {band.name: band.fill for band in processor.inputs["cloudy"].bands}
    return BandScaling(
        tuple(
            replace(band, fill=fills.get(band.name)) if band.fill is None else band for band in processor.output.bands
        )
    )


def _b10_rows(processor: Processor, target: Processor, share: float) -> dict[str, tuple[int, float]]:
    if share == 0:
        return {}
    scalings = {"cloudy": processor.inputs["cloudy"], "target": target.inputs["target"]}
    rows = {}
    for name, scaling in scalings.items():
        fill = scaling.bands[scaling.names.index("B10")].fill if "B10" in scaling.names else None
        if fill is None:
            raise ConfigError(
                f"drop_b10 is {share}, and the processor has no fill value for B10 in {name}",
                fix="give B10 a fill value, or set drop_b10 to 0",
            )
        rows[name] = scaling.names.index("B10"), fill
    return rows
