"""Constants of a Landsat Level-1 thermal band from its MTL text, and the names of the files beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eorestore.errors import DataError
from eorestore.raster.thermal_products import INFRARED, Conversion, Product

_THERMAL_FILE = re.compile(r"^(?P<scene>.+?)_(?P<surface>ST_)?B(?P<band>10|11|6|6_VCID_[12])$", re.IGNORECASE)


def metadata_beside(path: Path) -> Path | None:
    """The MTL file of a Level-1 thermal band (`..._B10.TIF`); None for another file, or where there is none."""
    match = _THERMAL_FILE.match(path.stem)
    if match is None or match.group("surface"):
        return None
    names = (f"{match.group('scene')}_MTL.{ending}" for ending in ("txt", "json"))
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def quality_beside(path: Path) -> dict[str, Path]:
    """`QA_PIXEL` and, for surface temperature, `ST_QA` of the same scene, those that lie beside a thermal band."""
    match = _THERMAL_FILE.match(path.stem)
    if match is None:
        return {}
    kinds = ("QA_PIXEL", "ST_QA") if match.group("surface") else ("QA_PIXEL",)
    files = {
        kind: path.with_name(f"{match.group('scene')}_{kind}{ending}") for kind in kinds for ending in (".TIF", ".tif")
    }
    files |= {kind: path.with_name(f"{match.group('scene')}_{kind}{path.suffix}") for kind in kinds}
    return {kind: file for kind, file in files.items() if file.is_file()}


def level1_product(path: Path, metadata: Path) -> tuple[Product, dict[str, str]]:
    """How the DN of a Level-1 thermal band become at-sensor brightness temperature, and its date as a tag.

    L = ML DN + AL and T = K2 / ln(K1 / L + 1), constants from the MTL file (Landsat 8-9 Level-1 Data Format Control
    Book, LSDS-1822). DN 0 is fill, and of 8-bit scenes 255 is saturated. Raises DataError where the file names none.
    """
    match = _THERMAL_FILE.match(path.stem)
    band = "" if match is None else match.group("band").upper()
    values = _values(metadata)
    try:
        scale, offset, first, second = (
            float(values[f"{key}_BAND_{band}"])
            for key in ("RADIANCE_MULT", "RADIANCE_ADD", "K1_CONSTANT", "K2_CONSTANT")
        )
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{metadata.name} does not give the constants of band {band}: {error}", fix="fetch it again with the scene"
        ) from None
    fills = (0.0, 255.0) if band.startswith("6") else (0.0,)
    conversion = Conversion(scale, offset, fills, INFRARED, (first, second))
    product = Product(f"Landsat Level-1 band {band} after {metadata.name}", conversion, "u")
    date = values.get("DATE_ACQUIRED")
    return product, {} if date is None else {"ACQUISITION_DATE": date}


def _values(metadata: Path) -> dict[str, str]:
    try:
        text = metadata.read_text(encoding="utf-8", errors="replace")
        if metadata.suffix.lower() == ".json":
            return dict(_leaves(json.loads(text)))
    except (OSError, ValueError) as error:
        raise DataError(f"{metadata.name} cannot be read: {error}", fix="fetch it again with the scene") from None
    return {key: value.strip('"') for key, value in re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", text, re.MULTILINE)}


def _leaves(node: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - whatever JSON holds
    if isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(value, Mapping):
                yield from _leaves(value)
            else:
                yield str(key), str(value)
