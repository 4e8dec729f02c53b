"""What an optical scene tells about temperature, pixel by pixel: indices and bands by name; knows no thermal band."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import BandError, UnitError, UnknownNameError
from eorestore.raster import BandSet, Raster, Unit
from eorestore.raster.bands import canonical_name

Values = NDArray[np.float64]

ROLES: Mapping[str, tuple[str, ...]] = {
    "red": ("B04", "red"),
    "nir": ("B08", "nir", "B8A"),
    "swir": ("B11", "swir1", "swir", "swir16"),
}
"""Names under which a band is known, the preferred one first."""
ALL_BANDS = "bands"
_LEAST = 1e-6  # reflectances whose sum is smaller have no index


@dataclass(frozen=True)
class GuideFeatures:
    """values: float64 (feature, y, x), 0 where not valid; valid: (y, x); names: of the features in order."""

    values: Values
    valid: NDArray[np.bool_]
    names: tuple[str, ...]


def guide_features(guide: Raster, regressors: Sequence[str] = ("ndvi",)) -> GuideFeatures:
    """The regressors of a guide in reflectance.

    Args:
        guide: the bands that the regressors need, under any of their names in ROLES.
        regressors: names in INDICES; "bands" for every band of the guide as it is; or names of single bands.

    Returns:
        The features. A pixel is valid where the guide is and every regressor exists there.

    Raises:
        BandError: a band of an index is missing. UnitError: a band in use is not in reflectance.
        UnknownNameError: a regressor is neither an index nor a band.
    """
    names = _distinct(regressors, guide.bands)
    layers = [_layer(name, guide) for name in names]
    values = np.stack(layers)
    valid = guide.valid & np.isfinite(values).all(axis=0)
    return GuideFeatures(np.where(valid, values, 0.0), valid, tuple(names))


def needed_bands(bands: BandSet, regressors: Sequence[str] = ("ndvi",)) -> tuple[str, ...]:
    """Names of those bands of a guide that its regressors are made of, in the guide's order.

    Raises BandError and UnknownNameError as `guide_features`.
    """
    needed: set[str] = set()
    for name in _distinct(regressors, bands):
        needed |= {_named(role, bands, name) for role in _ROLES_OF[name]} if name in INDICES else {name}
    return tuple(name for name in bands.names if name in needed)


def fractional_cover(ndvi: Values) -> Values:
    """Share of the ground under leaves, 1 - (1 - NDVI)^0.625: the simplified form of TsHARP (Agam et al. 2007)."""
    cover: Values = 1 - np.maximum(1 - ndvi, 0) ** 0.625
    return cover


def normalized_difference(first: Values, second: Values) -> Values:
    """(a - b) / (a + b), negative reflectance taken as 0; NaN where there is no light at all."""
    first, second = (np.maximum(band, 0) for band in (first, second))
    total = first + second
    with np.errstate(invalid="ignore"):
        nothing = ~(total >= _LEAST)
    return np.where(nothing, np.nan, (first - second) / np.where(nothing, 1.0, total))


def _ndvi(guide: Raster) -> Values:
    return normalized_difference(_band("nir", guide, "ndvi"), _band("red", guide, "ndvi"))


def _fractional_cover(guide: Raster) -> Values:
    return fractional_cover(_ndvi(guide))


def _ndbi(guide: Raster) -> Values:
    return normalized_difference(_band("swir", guide, "ndbi"), _band("nir", guide, "ndbi"))


INDICES: Mapping[str, Callable[[Raster], Values]] = {
    "ndvi": _ndvi,  # vegetation, (near infrared - red) / (near infrared + red), Rouse et al. 1974
    "fractional-cover": _fractional_cover,
    "ndbi": _ndbi,  # buildings, (short-wave - near infrared) / (short-wave + near infrared), Zha et al. 2003
}
_ROLES_OF: Mapping[str, tuple[str, ...]] = {
    "ndvi": ("red", "nir"),
    "fractional-cover": ("red", "nir"),
    "ndbi": ("nir", "swir"),
}


def _distinct(regressors: Sequence[str], bands: BandSet) -> list[str]:
    if not regressors:
        raise UnknownNameError("regressor", "", (*INDICES, ALL_BANDS))
    return list(dict.fromkeys(name for wanted in regressors for name in _expanded(wanted, bands)))


def _expanded(regressor: str, bands: BandSet) -> tuple[str, ...]:
    if regressor == ALL_BANDS:
        return bands.names
    if regressor in INDICES:
        return (regressor,)
    name = canonical_name(regressor)
    if name not in bands:
        raise UnknownNameError("regressor", regressor, (*INDICES, ALL_BANDS, *bands.names))
    return (name,)


def _layer(name: str, guide: Raster) -> Values:
    return INDICES[name](guide) if name in INDICES else _reflectance(name, guide)


def _band(role: str, guide: Raster, index: str) -> Values:
    return _reflectance(_named(role, guide.bands, index), guide)


def _named(role: str, bands: BandSet, index: str) -> str:
    known = {canonical_name(name).lower(): name for name in bands.names}
    for name in ROLES[role]:
        if name.lower() in known:
            return known[name.lower()]
    raise BandError(
        f"{index} needs a {role} band, and the guide has {', '.join(bands.names)}",
        fix=f"name one of its bands {' or '.join(ROLES[role])}, or choose another regressor",
    )


def _reflectance(name: str, guide: Raster) -> Values:
    band = guide.bands[name]
    if band.unit is not Unit.REFLECTANCE:
        raise UnitError(f"{name} of the guide is in {band.unit}", fix="give the guide in reflectance")
    values: Values = guide.values[guide.bands.index(name)].astype(np.float64)
    return values
