"""Split-conformal scaling of a model's sigma on validation places; knows no network and writes no file."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.data.manifest import SceneRow, read_manifest, select
from eorestore.errors import DataError, UsageError
from eorestore.experiments.case_scores import Restore, sigma_of
from eorestore.experiments.cases import Case, SimulatedSkies, read_cases
from eorestore.experiments.evaluate import own_restore
from eorestore.experiments.record import Record, hash_paths, make_record
from eorestore.metrics.intervals import LEVEL, half_width

log = logging.getLogger(__name__)

SPACING = 4  # pixels between those that are taken: neighbours err alike and say little more
Ratios = Mapping[str, NDArray[np.float32]]
"""|error| / sigma by place, (band, pixel); NaN where a band has no sigma."""


@dataclass(frozen=True)
class Calibration:
    """Factors on sigma after which its interval of `level` holds that share of the pixels it was fitted on.

    bands, scale: one factor a band; image +- z * scale * sigma is the interval, z the normal quantile.
    places, pixels: that it was fitted on. before, held_out: share of pixels inside the interval, mean over bands, by
    place: of the sigma as the model gives it, and of the factors fitted without that place (none of a single place).
    """

    level: float
    bands: tuple[str, ...]
    scale: tuple[float, ...]
    places: tuple[str, ...]
    pixels: int
    before: Mapping[str, float]
    held_out: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """What `models.checkpoint.write_calibration` takes."""
        return {
            "level": self.level,
            "scale": list(self.scale),
            "places": list(self.places),
            "pixels": self.pixels,
        }


def calibrate(
    model: str,
    *,
    bands: Sequence[str],
    data: Path | str,
    root: Path | str | None = None,
    split: str = "validation",
    covers: Sequence[float] = (0.2, 0.4, 0.7),
    seeds: Sequence[int] = (1, 2, 3),
    cloud_size_px: tuple[float, float] = (20.0, 150.0),
    level: float = LEVEL,
    restore: Restore | None = None,
) -> Calibration:
    """Fit one factor a band on pixels under simulated clouds (split conformal; Papadopoulos et al. 2002).

    Their theory asks for exchangeable pixels. Pixels of a scene are not: they share its error. So a pixel in every
    `SPACING` along both axes is taken, every place gives as many, and what the factors are worth at a new place is
    told by `held_out`.

    Args:
        model: a run or a checkpoint folder whose model gives sigma; a calibration that it has is left aside.
        bands: of the model's output, in its order.
        data: the manifest.
        root: folder its paths start from; its own folder by default.
        split: validation or train; test scenes are refused, since they are to judge what is fitted here.
        covers: of the simulated clouds.
        seeds: of the simulated clouds.
        cloud_size_px: least and largest cloud in pixels.
        level: share of the pixels that the interval is to hold.
        restore: restores one scene; the package's own by default.

    Raises:
        UsageError: the test split, or a model without sigma.
        DataError: too few pixels, or a band that no scene has.
    """
    if split == "test":
        raise UsageError("a calibration on the test split would spoil it for judging", fix="use --split validation")
    rows = select(read_manifest(Path(data), root=None if root is None else Path(root)), split)
    skies = SimulatedSkies(tuple(covers), tuple(seeds), cloud_size_px)
    return calibration_of(
        collect_ratios(model, rows, bands=bands, skies=skies, restore=restore), tuple(bands), level=level
    )


def calibration_of(ratios: Ratios, bands: Sequence[str], *, level: float = LEVEL) -> Calibration:
    """The factors of all places together, and what those of the others are worth at each. Raises as `fit_scale`."""
    scale = fit_scale(ratios, bands, level=level)
    ones = np.ones(len(bands))
    return Calibration(
        level,
        tuple(bands),
        tuple(float(value) for value in scale),
        tuple(ratios),
        sum(values.shape[1] for values in balance(ratios)),
        {place: share_inside(values, ones, level=level) for place, values in ratios.items()},
        held_out_coverage(ratios, bands, level=level),
    )


def calibration_record(
    model: str, found: Calibration, *, config: Mapping[str, Any], hashes: Mapping[str, str], seconds: float
) -> Record:
    """The record of a calibration that has just ended: the share inside the interval by place, and the factors."""
    rows = [
        [place, round(share, 4), round(found.held_out[place], 4) if found.held_out else None]
        for place, share in found.before.items()
    ]
    scores = {
        "columns": ["place", "inside as given", "inside with factors of the other places"],
        "rows": rows,
        "factors": dict(zip(found.bands, (round(value, 4) for value in found.scale), strict=True)),
        "level": found.level,
    }
    return make_record("calibration", model, config=dict(config), scores=scores, seconds=seconds, data=dict(hashes))


def scene_hashes(data: Path, *, root: Path | None, split: str) -> dict[str, str]:
    """SHA-256 of the scenes of a split, for the record."""
    scenes = select(read_manifest(data, root=root), split)
    paths = [path for row in scenes for path in (row.optical, row.sar) if path is not None]
    return hash_paths(paths, root=root or data.parent)


def collect_ratios(
    model: str,
    rows: Sequence[SceneRow],
    *,
    bands: Sequence[str],
    skies: SimulatedSkies,
    restore: Restore | None = None,
) -> dict[str, NDArray[np.float32]]:
    """|error| / sigma by place, (band, pixel), on every `SPACING`-th pixel under simulated clouds over `rows`.

    A calibration that the model has is left aside. Raises UsageError without sigma, DataError without such a pixel.
    """
    restore = restore or own_restore(calibrated=False)
    found: dict[str, list[NDArray[np.float32]]] = {}
    for row in rows:
        for case in read_cases(row, skies=skies, mask="none"):
            found.setdefault(row.place, []).append(_ratios(case, model, restore, bands))
            log.info("%s on %s, cover %s, seed %s", model, row.id, case.cover, case.seed)
    ratios = {place: np.concatenate(parts, axis=1) for place, parts in found.items()}
    ratios = {place: values for place, values in ratios.items() if values.shape[1]}
    if not ratios:
        raise DataError("no pixel lies under a simulated cloud", fix="give a larger cover")
    return ratios


def fit_scale(ratios: Ratios, bands: Sequence[str], *, level: float = LEVEL) -> NDArray[np.float64]:
    """The factor of each band: the ceil((n + 1) level)-th smallest of n ratios, over the normal quantile.

    Places count alike. Raises DataError where there are too few pixels for that, or none of a band.
    """
    pooled = np.concatenate(balance(ratios), axis=1)
    scale = np.empty(len(bands))
    for row, name in enumerate(bands):
        known = np.sort(pooled[row][~np.isnan(pooled[row])])
        rank = math.ceil((len(known) + 1) * level)
        if len(known) == 0 or rank > len(known):
            raise DataError(
                f"{len(known)} pixels of band {name} are too few for a calibration to {level:.0%}",
                fix="give more scenes that have the band; under simulated clouds more seeds or a larger cover",
            )
        scale[row] = known[rank - 1] / half_width(level)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise DataError("sigma or the error is 0 under the clouds", fix="check the model's weights")
    return scale


def balance(ratios: Ratios) -> list[NDArray[np.float32]]:
    """As many pixels of every place as the smallest has, evenly spread over its own."""
    least = min(values.shape[1] for values in ratios.values())
    return [values[:, np.linspace(0, values.shape[1] - 1, least).round().astype(int)] for values in ratios.values()]


def share_inside(ratios: NDArray[np.float32], scale: NDArray[np.float64], *, level: float = LEVEL) -> float:
    """Share of the ratios (band, pixel) inside the interval, mean over the bands that have any."""
    known = ~np.isnan(ratios)
    inside = known & (ratios <= half_width(level) * scale[:, None])
    counted = known.any(axis=1)
    return float(np.mean(inside.sum(axis=1)[counted] / known.sum(axis=1)[counted]))


def held_out_coverage(ratios: Ratios, bands: Sequence[str], *, level: float = LEVEL) -> dict[str, float]:
    """Share inside the interval by place, with factors fitted on the other places; nothing of a single place."""
    if len(ratios) < 2:
        return {}
    return {
        place: share_inside(values, fit_scale(_without(ratios, place), bands, level=level), level=level)
        for place, values in ratios.items()
    }


def _without(ratios: Ratios, place: str) -> Ratios:
    return {name: values for name, values in ratios.items() if name != place}


def _ratios(case: Case, model: str, restore: Restore, bands: Iterable[str]) -> NDArray[np.float32]:
    """|error| / sigma of the pixels under cloud on a regular grid, (band, pixel)."""
    restored = restore(model, {"cloudy": case.cloudy, "sar": case.sar}, mask=case.mask)
    names = case.target.bands.names
    sigma = sigma_of(restored, names)
    if sigma is None:
        raise UsageError(f"{model} gives no sigma to calibrate", fix="choose a model with a head for the variance")
    grid = np.zeros_like(case.inside)
    grid[SPACING // 2 :: SPACING, SPACING // 2 :: SPACING] = True
    chosen = case.inside & grid
    error = np.abs(restored.raster.select(names).values - case.target.values)[:, chosen]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = error / sigma.numpy()[:, chosen]
    rows = [names.index(name) if name in names else None for name in bands]
    absent = np.full(ratios.shape[1], np.nan, dtype=np.float32)
    return np.stack([absent if row is None else ratios[row] for row in rows])
