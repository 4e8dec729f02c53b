"""Scores of one restored case: in total, by region, by stratum, and how honest its sigma is; restores nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.errors import DataError
from eorestore.experiments.cases import Case
from eorestore.experiments.evaluation_table import DETAILS, EvaluationRow
from eorestore.experiments.strata import LEAST_PIXELS, Stratum, metrics_of
from eorestore.experiments.strata_table import StratumRow
from eorestore.metrics.collection import score_regions
from eorestore.metrics.colour import band_bias
from eorestore.metrics.intervals import coverage, interval_width
from eorestore.metrics.regions import divide
from eorestore.metrics.scored_image import ScoredImage
from eorestore.raster import Raster


@dataclass(frozen=True)
class ScoringProtocol:
    """How images are made comparable: values are clamped to `clamp`, then scored by `metrics`."""

    metrics: tuple[str, ...]
    clamp: tuple[float, float]
    ssim: str


PROTOCOLS: Mapping[str, ScoringProtocol] = {
    "eorestore": ScoringProtocol(("psnr", "ssim", "mae", "rmse", "sam"), (0.0, 1.0), "whole windows only"),
    # Clip DN to 0...10000, divide by 10000; SSIM zero-padded (Xu et al. 2022, Meraner et al. 2020).
    "sen12ms-cr": ScoringProtocol(("psnr", "ssim_paper", "mae", "sam"), (0.0, 1.0), "zero-padded"),
}


class Restored(Protocol):
    """What restoring gives: the whole scene as a raster, and extra maps of its bands by name."""

    @property
    def raster(self) -> Raster:
        """The restored scene, in reflectance."""
        ...

    @property
    def extras(self) -> Mapping[str, Any]:
        """`sigma`: one standard deviation of the error, of each band of `raster`, NaN or 0 where there is none.

        (band, y, x) in reflectance; absent where the model gives none.
        """
        ...


_OF_SIGMA = ("coverage_90", "interval_width")
Restore = Callable[..., Restored]
"""(model, rasters by forward keyword, *, mask: bool (y, x) or None for the whole scene) -> Restored."""


def score_case(
    case: Case,
    model: str,
    restored: Restored,
    rules: ScoringProtocol,
    *,
    strata: Sequence[Stratum] = (),
) -> tuple[EvaluationRow, tuple[StratumRow, ...]]:
    """The row of a model on a case, and one row a stratum. Raises DataError for values that are not finite."""
    names = case.target.bands.names
    prediction = restored.raster.select(names).values
    if not np.isfinite(prediction[:, case.valid]).all():
        raise DataError(f"{model} gave values that are not finite on {case.row.id}", fix="check the model's weights")
    image = ScoredImage(
        torch.from_numpy(np.clip(prediction, *rules.clamp)),
        torch.from_numpy(np.clip(case.target.values, *rules.clamp)),
        valid=_mask(case.valid),
        bands=names,
    )
    regions = divide(valid=_mask(case.valid), cloud=_mask(case.cloud), shadow=_mask(case.shadow))
    scores = score_regions(image, regions, metrics=rules.metrics)
    by_band = _by_band(case, restored, rules)
    for name in DETAILS:
        pooled = _mean(by_band.get(name, {}).values()) if name in _OF_SIGMA else image.score(name, regions["cloud"])
        scores[f"{name}_cloud"] = pooled
    share = float(case.cloud[case.valid].mean()) if case.valid.any() else float("nan")
    row = EvaluationRow(model, case.row.id, case.row.place, case.cover, case.seed, share, scores, by_band=by_band)
    return row, tuple(_stratum_row(row, image, stratum, rules.metrics) for stratum in strata)


def sigma_of(restored: Restored, names: Sequence[str]) -> Tensor | None:
    """Sigma (band, y, x) of the named bands; None without a sigma."""
    sigma = restored.extras.get("sigma")
    if sigma is None:
        return None
    known = restored.raster.bands
    rows = [known.index(name) for name in names]
    return torch.from_numpy(np.asarray(sigma, dtype=np.float32)[rows])


def _by_band(case: Case, restored: Restored, rules: ScoringProtocol) -> dict[str, dict[str, float]]:
    """Bias, coverage and width inside cloud, by name and by band. The interval is that of the unclamped values."""
    names = case.target.bands.names
    prediction = torch.from_numpy(restored.raster.select(names).values)
    target, valid, cloud = torch.from_numpy(case.target.values), _mask(case.valid), _mask(case.cloud)
    clamped = (image.clamp(*rules.clamp) for image in (prediction, target))
    found = {"bias": band_bias(*clamped, valid=valid, region=cloud)}
    sigma = sigma_of(restored, names)
    if sigma is not None:
        found["coverage_90"] = coverage(prediction, target, sigma, valid=valid, region=cloud)
        found["interval_width"] = interval_width(sigma, valid=valid, region=cloud)
    return {
        key: {name: value for name, value in zip(names, values.tolist(), strict=True) if not math.isnan(value)}
        for key, values in found.items()
    }


def _stratum_row(row: EvaluationRow, image: ScoredImage, stratum: Stratum, metrics: Sequence[str]) -> StratumRow:
    count = int(stratum.pixels.sum())
    chosen = metrics_of(stratum.kind, metrics)
    where = _mask(stratum.pixels)
    scores = {name: image.score(name, where) if count >= LEAST_PIXELS else float("nan") for name in chosen}
    return StratumRow(row.model, row.scene, row.place, row.cover, row.seed, stratum.kind, stratum.name, count, scores)


def _mask(values: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(values)[None]


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values) if values else float("nan")
