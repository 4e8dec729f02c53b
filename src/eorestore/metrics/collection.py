"""The table of metrics, all scores of one image by name, and their mean, spread and count over images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from eorestore.errors import UnknownNameError
from eorestore.metrics.colour import bias
from eorestore.metrics.edges import edge_correlation, gradient_correlation
from eorestore.metrics.fidelity import mae, psnr, rmse, ssim, ssim_paper
from eorestore.metrics.regions import REGIONS, divide
from eorestore.metrics.scored_image import ScoredImage
from eorestore.metrics.spectral import sam_degrees

Metric = Callable[..., Tensor]

METRICS: Mapping[str, Metric] = {
    "psnr": psnr,
    "ssim": ssim,
    "ssim_paper": ssim_paper,
    "mae": mae,
    "rmse": rmse,
    "sam": sam_degrees,
    "bias": bias,
    "gradient_correlation": gradient_correlation,
    "edge_correlation": edge_correlation,
}

BETTER: Mapping[str, Literal["higher", "lower"]] = {
    "psnr": "higher",
    "ssim": "higher",
    "ssim_paper": "higher",
    "mae": "lower",
    "rmse": "lower",
    "sam": "lower",
    "bias": "lower",
    "gradient_correlation": "higher",
    "edge_correlation": "higher",
    "ndvi": "lower",
    "ndwi": "lower",
}

DEFAULT = ("psnr", "ssim", "mae", "rmse", "sam")


@dataclass(frozen=True)
class Aggregate:
    """Mean, standard deviation (n - 1; NaN below two values) and count of the scores that are numbers."""

    mean: float
    std: float
    count: int


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple. Raises UnknownNameError for one that is neither in METRICS nor in INDICES."""
    names = tuple(names)
    for name in names:
        if name not in BETTER:
            raise UnknownNameError("metric", name, BETTER)
    return names


def score_names(metrics: Iterable[str] = DEFAULT) -> tuple[str, ...]:
    """Names of all scores in order: `psnr`, `psnr_cloud`, `psnr_shadow`, `psnr_clear`, `ssim`, ..."""
    return tuple(_join(name, region) for name in metrics for region in ("", *REGIONS))


def score(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    cloud: Tensor,
    shadow: Tensor,
    metrics: Iterable[str] = DEFAULT,
    bands: Sequence[str] = (),
) -> dict[str, float]:
    """Every metric of one image, in total and by region.

    Args:
        prediction: (band, y, x).
        target: (band, y, x).
        valid: (1, y, x) bool.
        cloud: (1, y, x) bool.
        shadow: (1, y, x) bool.
        metrics: names of METRICS and INDICES. Raises UnknownNameError.
        bands: names of the images' bands; an index that lacks its own is NaN.

    Returns:
        `score_names(metrics)` to floats; NaN for a region without a pixel.
    """
    image = ScoredImage(prediction, target, valid=valid, bands=bands)
    return score_regions(image, divide(valid=valid, cloud=cloud, shadow=shadow), metrics=metrics)


def score_regions(
    image: ScoredImage, regions: Mapping[str, Tensor], *, metrics: Iterable[str] = DEFAULT
) -> dict[str, float]:
    """Every metric in total, under its own name, and over each region, (1, y, x) bool, as METRIC_REGION."""
    everywhere = {"": None, **regions}
    return {
        _join(name, region): image.score(name, pixels)
        for name in check_names(metrics)
        for region, pixels in everywhere.items()
    }


def aggregate(rows: Iterable[Mapping[str, float]]) -> dict[str, Aggregate]:
    """Mean, standard deviation and count of every score over images; NaN (no such region) is left out."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            column = columns.setdefault(name, [])
            if not math.isnan(value):
                column.append(value)
    return {name: _aggregate(values) for name, values in columns.items()}


def _aggregate(values: list[float]) -> Aggregate:
    if not values:
        return Aggregate(math.nan, math.nan, 0)
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values)
    spread = statistics.stdev(values) if len(values) > 1 and math.isfinite(mean) else math.nan
    return Aggregate(mean, spread, len(values))


def _join(metric: str, region: str) -> str:
    return f"{metric}_{region}" if region else metric
