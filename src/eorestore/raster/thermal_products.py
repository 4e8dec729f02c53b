"""What the numbers of thermal products mean: factor to kelvin, fill values, range; opens no file, looks at no pixel.

Order of trust as in `raster.products`: what the caller declares, the product's documented factor, then the file's tags.
A factor that a tag states and that is not 1 stands; a tag of 1 says nothing, since real products carry it beside DN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import BandError, UnitError
from eorestore.raster.bands import THERMAL, Band, Unit
from eorestore.raster.products import Declared, FileFacts

CELSIUS_ZERO = 273.15
INFRARED = (150.0, 380.0)  # kelvin of land, sea and cloud tops as infrared products hold them
ANY_TEMPERATURE = (1e-3, math.inf)  # of microwaves, and of files that name no product: 0 K is no observation
THERMAL_NAMES = ("thermal", "lst", "temperature")
_KELVIN = {"k", "kelvin", "kelvins", "degk", "deg_k", "degree_kelvin", "degrees_kelvin"}
_CELSIUS = {
    "c", "°c", "celsius", "degc", "deg_c", "deg c", "degree_celsius", "degrees_celsius", "degree celsius",
    "degrees celsius", "degree_c", "degrees_c",
}  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """How stored numbers become kelvin.

    kelvin = stored * scale + offset; with `planck` (K1, K2) that is a radiance L, and kelvin = K2 / ln(K1 / L + 1).
    fills: stored numbers that are no observation. limits: kelvin that an observation may have, both ends included.
    """

    scale: float = 1.0
    offset: float = 0.0
    fills: tuple[float, ...] = ()
    limits: tuple[float, float] = ANY_TEMPERATURE
    planck: tuple[float, float] | None = None

    def kelvin(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Stored numbers of any shape as float32 kelvin; NaN where there is no observation."""
        values = self._unchecked(stored)
        values[self._is_fill(stored) | ~self._is_possible(values)] = np.nan
        return values.astype(np.float32)

    def is_outside(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Where a number is no fill value and yet no temperature that can be."""
        values = self._unchecked(stored)
        outside: NDArray[np.bool_] = ~self._is_fill(stored) & ~self._is_possible(values)
        return outside

    def _unchecked(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        values = stored.astype(np.float64) * self.scale + self.offset
        if self.planck is not None:
            first, second = self.planck
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.where(values > 0, second / np.log1p(first / values), np.nan)
        return values

    def _is_fill(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        known = np.isin(stored, self.fills) if self.fills else np.zeros(stored.shape, bool)
        return known if stored.dtype.kind in "ui" else known | np.isnan(stored)

    def _is_possible(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        with np.errstate(invalid="ignore"):
            possible: NDArray[np.bool_] = np.isfinite(values) & (values >= self.limits[0]) & (values <= self.limits[1])
        return possible


@dataclass(frozen=True)
class Quality:
    """A layer beside the values whose bits under `mask` say that a pixel is missing, or which alone are good."""

    layer: str
    missing: tuple[int, ...] = ()
    good: tuple[int, ...] | None = None
    mask: int = -1

    def is_missing(self, flags: NDArray[Any]) -> NDArray[np.bool_]:
        """Where a window of the layer takes a pixel away."""
        bits = flags.astype(np.int64) & self.mask
        away: NDArray[np.bool_] = np.isin(bits, self.missing)
        return away if self.good is None else away | ~np.isin(bits, self.good)


@dataclass(frozen=True)
class Product:
    """A product's name for the log, how its numbers become kelvin, and what else the log shall say.

    dtypes: kinds of number (`u`, `i`, `f`) for which the rule holds. trap: a documented oddity that was handled.
    """

    name: str
    conversion: Conversion
    dtypes: str = "ui"
    trap: str = ""
    quality: Quality | None = None

    def scaled(self, scale: float, offset: float) -> Product:
        """With the factor that the file states, where that is not 1."""
        if (scale, offset) == (1.0, 0.0):
            return self
        return replace(self, conversion=replace(self.conversion, scale=scale, offset=offset))

    @property
    def band(self) -> Band:
        """The band of its values."""
        infrared = self.conversion.limits == INFRARED
        return THERMAL.bands[0] if infrared else Band("thermal", Unit.KELVIN)

    def notes(self, file: str) -> list[str]:
        """What was decided by rule, for the log."""
        conversion = self.conversion
        formula = _formula(conversion)
        told = [f"{file}: {self.name}{f', kelvin = {formula}' if formula else ''}"]
        if conversion.fills:
            told.append(f"{file}: {', '.join(f'{fill:g}' for fill in conversion.fills)} counts as missing")
        if conversion.limits == INFRARED:
            low, high = conversion.limits
            told.append(f"{file}: what is outside {low:g}-{high:g} K counts as missing")
        return told + ([f"{file}: {self.trap}"] if self.trap else [])


LANDSAT_SURFACE = Product(
    "Landsat Collection 2 Level-2 surface temperature",
    Conversion(0.00341802, 149.0, (0.0, 293.0), INFRARED),
    "u",
    "DN 293 is the floor of 150 K under cloud",
)
MODIS_OR_VIIRS = Product("MODIS or VIIRS land surface temperature", Conversion(0.02, 0.0, (0.0,), INFRARED), "u")
ECOSTRESS = Product(
    "ECOSTRESS L2 LSTE",
    Conversion(0.02, 0.0, (0.0,), INFRARED),
    "u",
    "clouds stay in",
    Quality("QC", missing=(0b11,), mask=0b11),  # not produced
)
LANDSAT_QUALITY = {
    "QA_PIXEL": Quality("QA_PIXEL", missing=(1,), mask=1),  # fill
    "ST_QA": Quality("ST_QA", missing=(-9999,)),
}
AMSR2 = Product("AMSR2 brightness temperature", Conversion(0.01, 0.0, (65535.0, 65534.0)), "u")
AMSR2_ARCHIVE = Product("AMSR2 brightness temperature", Conversion(0.01, 0.0, (0.0,)), "ui")

_IN_GEOTIFF: tuple[tuple[str, Product], ...] = (
    (r"(?:^|_)ST_B(?:10|6)(?:_|$)", LANDSAT_SURFACE),
    (r"^(?:.*_)?LST-\w+?_V[\d.]+_\d+.*lst$", Product("Planet LST", Conversion(0.01, 0.0, (65535.0,), INFRARED), "u")),
    (r"(?:^|[_.])LST(?:_Day|_Night)?_\d*km(?:_|$)", MODIS_OR_VIIRS),
    (r"^ECO\w*_LST$", Product("ECOSTRESS tiled LST", Conversion(limits=INFRARED), "f", "clouds stay in")),
    (
        r"(?:LSASAF|SEVIRI).*LST",
        Product("SEVIRI LST in °C", Conversion(1.0, CELSIUS_ZERO, (-80.0,), INFRARED), "fi"),
    ),
)
_IN_HDF: tuple[tuple[str, Product], ...] = (
    (r"(?:^|/)SDS/LST$", ECOSTRESS),
    (r"(?:^|/)LST(?:_Day|_Night)?_(?:\d*km|CMG)$", MODIS_OR_VIIRS),
    (r"(?:^|/)VIIRS_Swath_LSTE/Data Fields/LST$", MODIS_OR_VIIRS),
    (r"(?:^|/)Brightness Temperature \([^)]*GHz[^)]*\)$", AMSR2),
)


def temperature_unit(text: str) -> float | None:
    """What is to be added to reach kelvin: 0 for kelvin, 273.15 for degrees Celsius; None for another unit."""
    plain = text.strip().lower()
    return 0.0 if plain in _KELVIN else CELSIUS_ZERO if plain in _CELSIUS else None


def tiff_product(facts: FileFacts, declared: Declared) -> Product | None:
    """What a GeoTIFF holds by its name, band name, unit and dtype; None where that is no temperature."""
    if declared.unit not in (None, Unit.KELVIN):
        return None
    spelled, kind = (facts.descriptions[0] or "").strip(), np.dtype(facts.dtype).kind
    for pattern, product in _IN_GEOTIFF:
        if kind in product.dtypes and any(re.search(pattern, name, re.I) for name in (facts.path.stem, spelled)):
            return product.scaled(facts.scale, facts.offset)
    if facts.count != 1:
        return None
    said = facts.units[0]
    zero = 0.0 if declared.unit is Unit.KELVIN else temperature_unit(said) if said else None
    by_name = not said and kind == "f" and (spelled or facts.path.stem).lower() in THERMAL_NAMES
    if zero is None and not by_name:
        return None
    fills = () if facts.nodata is None or math.isnan(facts.nodata) else (facts.nodata,)
    names = {0.0: "temperature", CELSIUS_ZERO: "temperature in °C", None: f"by rule a band {spelled} is kelvin"}
    return Product(names[zero], Conversion(facts.scale, facts.offset + (zero or 0.0), fills), "uif")


def hdf_product(path: str, dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> Product | None:
    """What a variable of an HDF5 or NetCDF file holds by the documented rule of a product; None without one."""
    for pattern, product in _IN_HDF:
        if dtype.kind in product.dtypes and re.search(pattern, path, re.I):
            return product
    return _by_conventions(path, dtype, attributes)


def declared_product(dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> Product:
    """A variable of which the caller says that it is in kelvin, once its own scale and offset are applied."""
    return Product("temperature as declared", _packed(dtype, attributes, 0.0, ANY_TEMPERATURE), "uif")


def _by_conventions(path: str, dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> Product | None:
    """The rule of the CF conventions: unit, scale_factor, add_offset and fill values as the attributes state them."""
    said = next((str(attributes[key]) for key in ("units", "unit", "UNIT", "Units") if key in attributes), "")
    name = path.rpartition("/")[2].lower()
    zero = temperature_unit(said) if said else 0.0 if dtype.kind == "f" and name in THERMAL_NAMES else None
    if zero is None:
        return None
    limits = INFRARED if name == "lst" else ANY_TEMPERATURE
    layer = "DQF" + (name.removeprefix("cmi").upper() if name.startswith("cmi") else "")  # of GOES; 0 is good
    title = f"temperature ({said or 'kelvin by its name'})"
    try:
        conversion = _packed(dtype, attributes, zero, limits)
    except ValueError:  # a factor in words
        return None
    return Product(title, conversion, "uif", quality=Quality(layer, good=(0,)))


def _packed(
    dtype: np.dtype[Any], attributes: Mapping[str, Any], zero: float, limits: tuple[float, float]
) -> Conversion:
    scale, offset = (float(attributes.get(key, default)) for key, default in (("scale_factor", 1), ("add_offset", 0)))
    fills = [float(attributes[key]) for key in ("_FillValue", "missing_value") if key in attributes]
    if dtype.kind == "f" and not fills:
        fills = [float(np.float32(9.969209968386869e36))]  # what the NetCDF library writes where nothing was
    known = dict.fromkeys(fill for fill in fills if not math.isnan(fill))
    return Conversion(scale, offset + zero, tuple(known), limits)


def choose_variable(file: str, found: Mapping[str, Product | None], declared: Declared) -> str:
    """Path of the variable to read among all 2-D ones of a file, by `--bands` or because it is the only one.

    found: product of each by path. A product's own variable comes before one called LST, that before any in kelvin.
    Raises BandError naming the variables where none or several can be meant, UnitError where one names no unit.
    """
    if declared.bands is not None:
        return _named(file, found, declared)
    thermal = [path for path, product in found.items() if product is not None]
    ruled = [path for path in thermal if any(re.search(pattern, path, re.I) for pattern, _ in _IN_HDF)]
    called = [path for path in thermal if path.rpartition("/")[2].lower() == "lst"]
    for tier in (ruled, called, thermal):
        if len(tier) == 1:
            return tier[0]
        if tier:
            raise BandError(f"{file} holds several temperatures: {_listed(tier)}", fix="choose one with --bands NAME")
    if declared.unit is Unit.KELVIN and len(found) == 1:
        return next(iter(found))
    raise BandError(
        f"{file} holds no variable that is known to be a temperature: {_listed(found) or 'nothing in two dimensions'}",
        fix="choose one with --bands NAME, and --unit kelvin if it does not say its unit",
    )


def short_name(path: str) -> str:
    """A variable's name for --bands, which takes no commas: `Brightness Temperature (36.5GHz,V)` is `36.5GHz-V`."""
    name = path.rpartition("/")[2]
    match = re.fullmatch(r"Brightness Temperature \((.+)\)", name)
    return match.group(1).replace(",", "-") if match else name.replace(",", "-")


def _named(file: str, found: Mapping[str, Product | None], declared: Declared) -> str:
    names = declared.bands or ()
    if len(names) != 1:
        raise BandError(f"{len(names)} variables of {file} were asked for", fix="a thermal scene is one: --bands NAME")
    wanted = names[0].strip()
    exact = [path for path in found if wanted in (path, path.rpartition("/")[2])]
    loose = [path for path in found if _key(wanted) in (_key(short_name(path)), _key(path))]
    if not exact and len(loose) != 1:
        raise BandError(f"{file} has no variable {wanted}", fix=f"it holds {_listed(found)}")
    path = (exact or loose)[0]
    if found[path] is None and declared.unit is not Unit.KELVIN:
        raise UnitError(f"{file} does not say the unit of {wanted}", fix="declare it: --unit kelvin")
    return path


def _key(text: str) -> str:
    return re.sub(r"ghz|[^a-z0-9.]", "", text.lower())


def _listed(paths: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(short_name(path) for path in paths)


def _formula(conversion: Conversion) -> str:
    if (conversion.scale, conversion.offset, conversion.planck) == (1.0, 0.0, None):
        return ""
    linear = f"DN x {conversion.scale:g}" + (f" + {conversion.offset:g}" if conversion.offset else "")
    if conversion.planck is None:
        return linear
    first, second = conversion.planck
    return f"{second:g} / ln({first:g} / L + 1), L = {linear}"
