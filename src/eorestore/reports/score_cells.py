"""Scores as the words of reports: headings, means with spread, differences with intervals; knows no record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from eorestore.experiments.score_text import format_score, metric_of

_HEADINGS: Mapping[str, str] = {
    "psnr": "PSNR{region}, dB", "ssim": "SSIM{region}", "ssim_paper": "SSIM{region}", "mae": "MAE{region}",
    "rmse": "RMSE{region}", "sam": "SAM{region}, degrees", "bias": "Absolute bias{region}",
    "ndvi": "NDVI error{region}", "ndwi": "NDWI error{region}", "gradient_correlation": "Gradient correlation{region}",
    "edge_correlation": "Edge correlation{region}", "coverage_90": "90 % coverage{region}",
    "interval_width": "90 % interval width{region}",
    "psnr30": "PSNR30{region}, dB", "psnr40": "PSNR40{region}, dB", "enl_ratio": "ENL ratio{region}",
    "epi_pearson": "EPI (Pearson){region}", "epi_cosine": "EPI of the plan (cosine){region}",
    "bias_db": "Bias{region}, dB", "bias_block_median_db": "Block bias, median{region}, dB",
    "bias_block_rms_db": "Block bias, rms{region}, dB", "ratio_log_std": "Deviation of ln ratio{region}",
    "texture_ratio": "Texture ratio{region}", "histogram_l1": "Histogram distance{region}", "bpp": "bpp{region}",
    "lr_psnr": "LR PSNR{region}, dB",
}  # fmt: skip


def heading(score: str, *, region: bool = True) -> str:
    """`psnr_cloud` -> `PSNR cloud, dB`; without `region` `PSNR, dB`. Raises UnknownNameError.

    `psnr30_at_0.2` -> `PSNR30 at 0.2 bpp, dB`. A score without a heading of its own goes by its name.
    """
    metric = metric_of(score)
    where = score.removeprefix(metric).replace("_", " ") if region else ""
    where += " bpp" if where.startswith(" at ") else ""
    return _HEADINGS.get(metric, f"{metric}{{region}}").format(region=where)


def spread(found: Mapping[str, Any] | None, name: str) -> str:
    """`mean ± deviation` of an aggregate as JSON holds it: None for NaN, a text for infinity; `n/a` without one."""
    mean, deviation = (number((found or {}).get(key)) for key in ("mean", "std"))
    text = format_score(mean, name)
    return text if math.isnan(deviation) or math.isnan(mean) else f"{text} ± {format_score(deviation, name)}"


def difference(found: Mapping[str, Any] | None, name: str) -> str:
    """`+0.31 [0.11, 0.52]` of an interval as JSON holds it; `n/a` without one."""
    if found is None:
        return "n/a"
    mean, low, high = (format_score(number(found[key]), name) for key in ("mean", "low", "high"))
    return f"{'' if mean.startswith('-') else '+'}{mean} [{low}, {high}]"


def cover_name(share: float | None) -> str:
    """`40 %`; a real pair has no share that was asked for."""
    return "real clouds" if share is None else f"{100 * share:.0f} %"


def number(value: object) -> float:
    """A score as JSON holds it: None for NaN, a text for infinity."""
    return math.nan if value is None else float(str(value))
