"""The only door between physical values and tensors; saved as JSON beside the weights, never recomputed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from eorestore.errors import BandError, UnitError
from eorestore.processing.normalize import BandScaling, backscatter_scaling, reflectance_scaling
from eorestore.processing.units import RADAR, convert
from eorestore.raster import Band, BandSet, Grid, Raster

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Processor:
    """Chooses bands by name, converts units, clips and scales; and back.

    inputs: a scaling for every keyword of the model's forward (`cloudy`, `sar`, ...).
    output: the scaling of the image that comes out.
    scale: output pixels per input pixel along an axis.
    """

    inputs: Mapping[str, BandScaling]
    output: BandScaling
    scale: int = 1

    def check(self, key: str, bands: BandSet, *, source: str) -> None:
        """Whether `bands` can serve as input `key`. Raises BandError or UnitError naming `source`."""
        scaling = self.inputs[key]
        missing = [name for name in scaling.required if name not in bands]
        if missing:
            raise BandError(
                f"{source} has {', '.join(bands.names)}; the model also needs {', '.join(missing)} as {key}",
                fix="add the bands, name them with --bands or --sar-bands, or choose another model",
            )
        for band in scaling.bands:
            if band.name not in bands:
                continue
            have = bands[band.name].unit
            if have != band.unit and not {have, band.unit} <= RADAR:
                raise UnitError(
                    f"{source} gives {band.name} in {have}; the model takes {band.unit}",
                    fix="declare the unit with --unit or --sar-unit, or choose another model",
                )

    def encode(self, rasters: Mapping[str, Raster]) -> dict[str, Tensor]:
        """Tensors (1, band, y, x), float32, for the inputs present in `rasters`.

        Pixels that are not valid take the value of the nearest valid one, so that no NaN and no nodata
        value enters a network. Raises BandError and UnitError.
        """
        import torch

        return {
            key: torch.from_numpy(np.ascontiguousarray(self.encode_one(key, raster)))[None]
            for key, raster in rasters.items()
        }

    def encode_one(self, key: str, raster: Raster) -> NDArray[np.float32]:
        """One input as an array (band, y, x); see `encode`."""
        self.check(key, raster.bands, source=f"the {key} raster")
        scaling = self.inputs[key]
        present = [name for name in scaling.names if name in raster.bands]
        chosen = raster.select(present)
        if any(
            band.unit != wanted.unit for band, wanted in zip(chosen.bands, scaling.select(present).bands, strict=True)
        ):
            chosen = convert(chosen, scaling.unit)
        values = scaling.select(present).encode(_fill(chosen))
        if len(present) == len(scaling.names):
            return values
        whole = np.empty((len(scaling.names), *raster.grid.size), dtype=np.float32)
        for row, band in enumerate(scaling.bands):
            whole[row] = values[present.index(band.name)] if band.name in present else band.fill
        return whole

    def decode(self, image: Tensor, grid: Grid, valid: NDArray[np.bool_]) -> Raster:
        """An encoded image (band, y, x) as a Raster in physical units; the inverse of `encode`."""
        values = self.output.decode(image.detach().cpu().float().numpy())
        bands = BandSet(tuple(Band(band.name, band.unit) for band in self.output.bands))
        return Raster(values, valid, bands, grid)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `config.json`."""
        return {
            "inputs": {key: scaling.to_json() for key, scaling in self.inputs.items()},
            "output": self.output.to_json(),
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Processor:
        """The inverse of `to_json`."""
        inputs = {key: BandScaling.from_json(rows) for key, rows in data["inputs"].items()}
        return cls(inputs, BandScaling.from_json(data["output"]), int(data["scale"]))


def _fill(raster: Raster) -> NDArray[np.float32]:
    if raster.valid.all():
        return raster.values
    if not raster.valid.any():
        return np.zeros_like(raster.values)
    nearest = distance_transform_edt(~raster.valid, return_distances=False, return_indices=True)
    return raster.values[:, nearest[0], nearest[1]]


def glf_cr_processor() -> Processor:
    """GLF-CR: reflectance [0, 1]; VV [-25, 0] dB and VH [-32.5, 0] dB to [0, 1] (Xu et al. 2022)."""
    return Processor({"cloudy": reflectance_scaling(), "sar": backscatter_scaling()}, reflectance_scaling())


def dsen2_cr_processor() -> Processor:
    """DSen2-CR: DN / 2000, that is [0, 5]; VV [-25, 0] dB and VH [-32.5, 0] dB to [0, 2] (Meraner et al. 2020)."""
    optical = reflectance_scaling(top=5.0)
    return Processor({"cloudy": optical, "sar": backscatter_scaling(top=2.0)}, optical)
