"""Which files, weights and settings made a result: for the sidecar, the tags and the journal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from eorestore import __version__
from eorestore.raster import Unit
from eorestore.raster.files import RasterFile
from eorestore.restorer.maps import CONSISTENCY, SOURCE
from eorestore.restorer.plan import ModelFacts

if TYPE_CHECKING:
    from eorestore.restorer.deviation import Deviation
    from eorestore.restorer.request import Request

_WHOLE_HASH = 64 << 20


def identity(request: Request, sha256: str | None, tile: int, overlap: int) -> dict[str, Any]:
    """What must be the same for a run to be continued."""
    files = {name: _stamp(path) for name, path in (("optical", request.optical), ("sar", request.sar)) if path}
    if request.mask_file is not None:
        files["mask_file"] = _stamp(request.mask_file)
    settings = {
        key: getattr(request, key)
        for key in (
            "model",
            "mask",
            "mask_margin",
            "bands",
            "sar_bands",
            "s2_offset",
            "bbox",
            "batch",
            "precision",
            "tta",
            "device",
            "adapt",
            "adapt_seed",
            "scale",
            "consistent",
        )
    }
    if request.zero_shot is not None:
        settings["zero_shot"] = request.zero_shot.to_json()
        sensor = Path(request.zero_shot.recipe.inference.sensor)
        if sensor.suffix == ".npy" and sensor.is_file():
            files["sensor"] = _stamp(sensor)
    # the source layer is always in the journal, and consistency is made from what is
    maps = {"maps": sorted(set(request.save) - {SOURCE, CONSISTENCY})}
    units = {"unit": request.unit and str(request.unit), "sar_unit": request.sar_unit and str(request.sar_unit)}
    tiling = {"tile": tile, "overlap": overlap}
    return {**files, **settings, **maps, **units, **tiling, "weights": sha256, "version": __version__}


def _stamp(path: Path) -> list[Any]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [str(path.resolve()), [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]]


def file_facts(file: RasterFile) -> dict[str, Any]:
    """What a sidecar says of an input: bands, unit, encoding, date, hashes."""
    return {
        "path": str(file.path),
        "bands": list(file.bands.names),
        "unit": str(file.bands.bands[0].unit),
        "encoding": {"dtype": file.encoding.dtype, "scale": file.encoding.scale, "offset": file.encoding.offset},
        "date": file.date.date().isoformat() if file.date else None,
        "files": {member.path.name: file_hash(member.path) for member in file.members},
    }


def file_hash(path: Path) -> str:
    """SHA-256 of a file; of a file over 64 MB of its size and its first, middle and last MB (`sampled:`)."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= _WHOLE_HASH:
            digest.update(file.read())
            return digest.hexdigest()
        digest.update(str(size).encode())
        for place in (0, size // 2, size - (1 << 20)):
            file.seek(place)
            digest.update(file.read(1 << 20))
    return f"sampled:{digest.hexdigest()}"


def output_tags(
    optical: RasterFile, name: str, sha256: str | None, facts: ModelFacts, mask: str, *, adapted: str | None = None
) -> dict[str, str]:
    """The input's tags, and which model made the result and how; `adapted` says how its weights were changed."""
    tags = {key: value for key, value in optical.tags.items() if not key.startswith("STATISTICS")}
    tags |= {
        "EORESTORE_MODEL": name,
        "EORESTORE_WEIGHTS": sha256 or "none",
        "EORESTORE_VERSION": __version__,
        "EORESTORE_TILES": f"{facts.tile} overlap {facts.overlap}",
        "EORESTORE_MASK": mask,
    } | ({} if adapted is None else {"EORESTORE_ADAPTED": adapted})
    if facts.rule.scale > 1:
        tags |= {"EORESTORE_SCALE": str(facts.rule.scale), "EORESTORE_CONSISTENT": "yes" if facts.consistent else "no"}
    if optical.bands.bands[0].unit is Unit.REFLECTANCE and optical.encoding.is_integer and not optical.declares_scale:
        tags["EORESTORE_S2_OFFSET"] = str(round(-optical.encoding.offset / optical.encoding.scale))
    return tags


def deviation_tags(deviation: Deviation) -> dict[str, str]:
    """By how much an enlarged scene, shrunk again, differs from what it was made of."""
    if deviation.largest is None:
        return {}
    return {"EORESTORE_DEVIATION": f"{deviation.largest:g} of the range, sampled"}


def sigma_facts(calibration: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a sidecar says of the sigma map: `calibrated` for which level and where, or `as predicted`."""
    if calibration is None:
        return {"sigma": "as predicted"}
    return {
        "sigma": "calibrated",
        "sigma_level": calibration["level"],
        "sigma_interval": NormalDist().inv_cdf((1 + calibration["level"]) / 2),
        "sigma_places": list(calibration["places"]),
    }


def sigma_tags(calibration: Mapping[str, Any] | None) -> dict[str, str]:
    """The same as tags of the sigma map's file."""
    facts = sigma_facts(calibration)
    return {
        f"EORESTORE_{name.upper()}": ", ".join(value) if isinstance(value, list) else str(value)
        for name, value in facts.items()
    }
