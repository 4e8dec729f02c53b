"""A thermal raster sharpened by an optical one of the same place: checks of grid and unit, then the method by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eorestore.errors import BandError, GridError, UnitError, UsageError
from eorestore.processing.area_to_point_kriging import atprk
from eorestore.processing.guide_features import guide_features
from eorestore.processing.regression_sharpening import Sharpened, tsharp
from eorestore.raster import Raster, Unit

Method = Literal["tsharp", "atprk"]

_EXACT = 1e-3  # thermal pixels by which corners of the two grids may differ


@dataclass(frozen=True)
class SharpenedRaster:
    """A thermal raster on the guide's grid, in kelvin, and what a sidecar tells of it; see `Sharpened`."""

    raster: Raster
    method: Method
    factor: int
    regressors: tuple[str, ...]
    coefficients: dict[str, float]
    r2: float
    variogram: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {
            "method": self.method,
            "factor": self.factor,
            "regressors": list(self.regressors),
            "coefficients": dict(self.coefficients),
            "r2": self.r2,
            "variogram": dict(self.variogram),
        }


def sharpen(
    low: Raster,
    guide: Raster,
    *,
    method: Method = "atprk",
    regressors: Sequence[str] = ("ndvi",),
    degree: int = 1,
) -> SharpenedRaster:
    """The thermal raster on the grid of the guide; its block means are `low`, its gaps those of `low`.

    Args:
        low: one band in kelvin.
        guide: bands in reflectance over the same ground, whose grid divides every pixel of `low` into factor x factor.
        method: "tsharp" or "atprk", see regression_sharpening and area_to_point_kriging.
        regressors: see guide_features.
        degree: of the polynomial of every regressor.

    Raises:
        GridError: the grids do not nest. UnitError, BandError: a band is missing or in another unit.
        MaskError: no pixel of `low` is valid. UsageError: no such method.
    """
    if len(low.bands) != 1:
        raise BandError(f"{len(low.bands)} bands to sharpen: {', '.join(low.bands.names)}", fix="select one of them")
    (band,) = low.bands
    if band.unit is not Unit.KELVIN:
        raise UnitError(f"{band.name} is in {band.unit}", fix="give temperature in kelvin")
    factor = nesting_factor(low, guide)
    features = guide_features(guide, regressors)
    found: Sharpened
    arguments = (low.values[0], low.valid, features.values, features.valid)
    if method == "tsharp":
        found = tsharp(*arguments, factor=factor, degree=degree, names=features.names)
    elif method == "atprk":
        found = atprk(*arguments, factor=factor, degree=degree, names=features.names)
    else:
        raise UsageError(f"no method is called {method!r}", fix="use tsharp or atprk")
    raster = Raster(found.image[None], found.valid, low.bands, guide.grid)
    return SharpenedRaster(raster, method, factor, features.names, found.coefficients, found.r2, found.variogram)


def nesting_factor(low: Raster, guide: Raster) -> int:
    """Pixels of the guide along the side of one of `low`. Raises GridError unless it is whole and bounds agree."""
    coarse, fine = low.grid, guide.grid
    if coarse.crs != fine.crs:
        raise GridError("the guide has another CRS than the thermal raster", fix="align one of them to the other")
    factor = round(fine.height / coarse.height)
    if fine.size != (coarse.height * factor, coarse.width * factor) or factor < 1:
        raise GridError(
            f"{fine.height} x {fine.width} pixels of the guide do not divide {coarse.height} x {coarse.width} thermal "
            "pixels evenly",
            fix="cut both to the same bounds, and resample the guide to a whole fraction of a thermal pixel",
        )
    if not coarse.same_as(fine.resize(*coarse.size), tolerance=_EXACT):
        raise GridError(
            "the guide and the thermal raster begin or end at different places",
            fix="cut both to the same bounds, on edges of thermal pixels",
        )
    return factor
