"""Documented rules that say what a file holds where the file does not: bands, units, Sentinel-2 offset.

Nothing here looks at pixel values: what a rule supplies is returned with a note for the log. Order of trust:
what the caller declares, what the file's tags say, what the product's rule says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from eorestore.errors import BandError, DataError, UnitError
from eorestore.raster.bands import (
    RGB,
    SENTINEL1,
    SENTINEL2_L1C,
    SENTINEL2_L2A,
    Band,
    BandSet,
    Unit,
    canonical_name,
    known_band,
)
from eorestore.raster.encoding import Encoding

SENTINEL2_SCALE = 1e-4
_BASELINE_WITH_OFFSET = 4.0
_BY_COUNT = {13: SENTINEL2_L1C, 12: SENTINEL2_L2A, 2: SENTINEL1}


@dataclass(frozen=True)
class Declared:
    """What the caller says about a file; None leaves it to tags and rules.

    bands: names in file order. unit: of every band. s2_offset: DN added to reflectance (0 or 1000).
    """

    bands: tuple[str, ...] | None = None
    unit: Unit | None = None
    s2_offset: int | None = None


@dataclass(frozen=True)
class FileFacts:
    """What a file says about itself."""

    path: Path
    count: int
    dtype: str
    nodata: float | None
    descriptions: tuple[str | None, ...]
    units: tuple[str | None, ...]
    scale: float
    offset: float
    tags: Mapping[str, str]


def describe(facts: FileFacts, declared: Declared) -> tuple[BandSet, Encoding, list[str]]:
    """Bands with units, encoding, and notes on every rule that was used. Raises BandError and UnitError."""
    notes: list[str] = []
    names = _names(facts, declared, notes)
    bands = _with_units(facts, names, declared, notes)
    encoding = Encoding(facts.dtype, facts.scale, facts.offset, facts.nodata)
    counts = declared.unit is Unit.COUNT and all(band.name in SENTINEL2_L1C for band in bands)
    if counts:
        bands = bands.with_unit(Unit.REFLECTANCE)
    if {band.unit for band in bands} == {Unit.REFLECTANCE} and (encoding.is_integer or counts):
        encoding = _sentinel2_encoding(facts, encoding, declared, notes)
    return bands, encoding, notes


def _names(facts: FileFacts, declared: Declared, notes: list[str]) -> tuple[str, ...]:
    if declared.bands is not None:
        if len(declared.bands) != facts.count:
            raise BandError(
                f"{facts.path.name} has {facts.count} bands; {len(declared.bands)} names were given",
                fix="give one name for each band of the file",
            )
        return tuple(canonical_name(name) for name in declared.bands)
    said = tuple(canonical_name(name or "") for name in facts.descriptions)
    if all(said) and len(set(said)) == len(said):
        return said
    if facts.count == 1:
        return (canonical_name(facts.path.stem),)
    if facts.count == 3 and facts.dtype == "uint8":
        notes.append(f"{facts.path.name}: band names by rule: 3 bands of 8 bits are red, green, blue")
        return RGB.names
    if facts.count not in _BY_COUNT:
        raise BandError(
            f"{facts.path.name} has {facts.count} bands without names",
            fix="name them in file order with --bands B02,B03,... (--sar-bands for the SAR file)",
        )
    names = _BY_COUNT[facts.count].names
    notes.append(f"{facts.path.name}: band names by rule: {facts.count} bands are {', '.join(names)}")
    return names


def _with_units(facts: FileFacts, names: Sequence[str], declared: Declared, notes: list[str]) -> BandSet:
    bands = []
    ruled: dict[Unit, str] = {}
    for name, said in zip(names, facts.units, strict=True):
        known = known_band(name)
        if declared.unit is not None:
            unit = declared.unit
        elif said:
            unit = Unit.parse(said)
        elif known is not None:
            unit = _unit_by_rule(facts, known)
            ruled[unit] = "radar bands are in dB" if unit is Unit.DECIBEL else "Sentinel-2 bands are reflectance"
        elif name in RGB:
            unit = Unit.LEVEL
        else:
            raise UnitError(
                f"{facts.path.name} does not say the unit of band {name}",
                fix=f"declare it with --unit ({', '.join(unit.value for unit in Unit)})",
            )
        bands.append(Band(name, unit, known.wavelength if known else None))
    notes.extend(f"{facts.path.name}: unit by rule: {text}" for text in ruled.values())
    return BandSet(tuple(bands))


def _unit_by_rule(facts: FileFacts, known: Band) -> Unit:
    if known.unit is Unit.DECIBEL and not facts.dtype.startswith("float") and facts.scale == 1.0:
        raise UnitError(
            f"{facts.path.name} holds {known.name} as {facts.dtype} and does not say its unit",
            fix="declare it with --sar-unit decibel|power|amplitude",
        )
    return known.unit


def _sentinel2_encoding(facts: FileFacts, encoding: Encoding, declared: Declared, notes: list[str]) -> Encoding:
    nodata = 0.0 if encoding.nodata is None else encoding.nodata
    name = facts.path.name
    if encoding.scale != 1.0 or encoding.offset != 0.0:
        notes.append(f"{name}: scale {encoding.scale:g} and offset {encoding.offset:g} from the file")
        return replace(encoding, nodata=nodata)
    offset, source = s2_offset(facts, declared)
    notes.append(f"{name}: reflectance = (DN - {offset}) / 10000, offset {source}")
    return replace(encoding, scale=SENTINEL2_SCALE, offset=-offset * SENTINEL2_SCALE, nodata=nodata)


def s2_offset(facts: FileFacts, declared: Declared) -> tuple[int, str]:
    """DN added to 10000 * reflectance in a Sentinel-2 file, and where that was learned."""
    if declared.s2_offset is not None:
        return abs(declared.s2_offset), "as given"
    for key in facts.tags:
        if key.upper() in {"RADIO_ADD_OFFSET", "BOA_ADD_OFFSET", "EORESTORE_S2_OFFSET"}:
            return abs(round(_number(facts, key))), f"from tag {key}"
    for key, text in facts.tags.items():
        if key.upper() == "PROCESSING_BASELINE":
            return (1000 if _number(facts, key) >= _BASELINE_WITH_OFFSET else 0), f"from baseline {text}"
    return 0, "by rule (the file names none; --s2-offset says otherwise)"


def _number(facts: FileFacts, key: str) -> float:
    try:
        return float(facts.tags[key])
    except ValueError:
        raise DataError(
            f"{facts.path.name}: tag {key} is {facts.tags[key]!r}, not a number", fix="declare --s2-offset 0 or 1000"
        ) from None


def folder_tags(folder: Path) -> dict[str, str]:
    """Baseline, offset, date and sun azimuth of a folder of band files, from metadata.json or Sentinel-2 MTD_*.xml."""
    tags: dict[str, str] = {}
    json_file = folder / "metadata.json"
    if json_file.is_file():
        try:
            data = json.loads(json_file.read_text())
        except ValueError as error:
            raise DataError(f"{json_file} is not JSON: {error}", fix="mend or remove it") from None
        if not isinstance(data, dict):
            raise DataError(f"{json_file} holds no names and values", fix="mend or remove it")
        if "PROCESSING_BASELINE" in data and "HARMONIZED" not in str(data.get("system:id", "")):
            tags["PROCESSING_BASELINE"] = str(data["PROCESSING_BASELINE"])
        if "system:time_start" in data:
            moment = datetime.fromtimestamp(float(data["system:time_start"]) / 1000, tz=UTC)
            tags["DATETIME"] = moment.strftime("%Y-%m-%dT%H:%M:%S")
        if "MEAN_SOLAR_AZIMUTH_ANGLE" in data:
            tags["SUN_AZIMUTH"] = str(data["MEAN_SOLAR_AZIMUTH_ANGLE"])
    for xml in sorted(folder.glob("MTD_MSI*.xml")):
        text = xml.read_text(errors="replace")
        offset = re.search(r"<(?:RADIO|BOA)_ADD_OFFSET[^>]*>(-?\d+)<", text)
        baseline = re.search(r"<PROCESSING_BASELINE>([\d.]+)<", text)
        if offset:
            tags["RADIO_ADD_OFFSET"] = offset.group(1)
        elif baseline:
            tags["PROCESSING_BASELINE"] = baseline.group(1)
    for xml in sorted([*folder.glob("MTD_TL.xml"), *folder.glob("GRANULE/*/MTD_TL.xml")]):
        # the same element also stands in the angles of every band's view
        text = xml.read_text(errors="replace")
        sun = re.search(r"<Mean_Sun_Angle>.*?<AZIMUTH_ANGLE[^>]*>\s*([\d.]+)\s*<", text, re.DOTALL)
        if sun:
            tags["SUN_AZIMUTH"] = sun.group(1)
    return tags


_BAND_FILE = re.compile(r"(?:^|_)(B\d{1,2}A?|VV|VH|HH|HV)(?:_(\d+)m)?$", re.IGNORECASE)


def band_files(folder: Path) -> dict[str, Path]:
    """Band name -> file in a folder of per-band files (finest where a product holds several). Raises BandError."""
    found: dict[str, tuple[int, Path]] = {}
    # A SAFE holds quality masks beside its images that end on band names too.
    safe = folder.suffix.upper() == ".SAFE"
    for path in sorted(folder.glob("**/IMG_DATA/**/*") if safe else folder.iterdir()):
        match = _BAND_FILE.search(path.stem)
        if match is None or path.suffix.lower() not in {".tif", ".tiff", ".jp2"}:
            continue
        name, resolution = canonical_name(match.group(1)), int(match.group(2) or 0)
        if name in found and found[name][0] == resolution:
            raise BandError(f"{folder.name} holds {name} twice", fix="leave one file for each band")
        if name not in found or resolution < found[name][0]:
            found[name] = (resolution, path)
    if not found:
        raise BandError(
            f"{folder} holds no band files",
            fix="name them B02.tif, B03.tif ... or ..._B02_10m.jp2, or VV.tif, VH.tif",
        )
    order = [*SENTINEL2_L1C.names, *SENTINEL1.names, "HH", "HV"]
    return {name: found[name][1] for name in sorted(found, key=order.index)}


def acquisition_date(path: Path, tags: Mapping[str, str]) -> datetime | None:
    """When the scene was taken: from a date tag, else from a Sentinel file or folder name; None if neither says."""
    for key, text in tags.items():
        if key.upper() in {"DATETIME", "SENSING_TIME", "TIFFTAG_DATETIME", "ACQUISITION_DATE"}:
            match = re.match(r"(\d{4})[-:]?(\d{2})[-:]?(\d{2})", text)
            if match:
                return _day(match)
    for name in (path.name, path.parent.name):
        match = re.search(r"(?<!\d)(20\d{2})(\d{2})(\d{2})T\d{6}", name)
        if match:
            return _day(match)
    return None


def _day(match: re.Match[str]) -> datetime | None:
    year, month, day = (int(part) for part in match.groups())
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
