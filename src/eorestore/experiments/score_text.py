"""Scores as text and as plain JSON values; knows how many digits a score deserves, not where it comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from eorestore.errors import UnknownNameError
from eorestore.metrics.collection import BETTER, METRICS, Aggregate
from eorestore.metrics.regions import REGIONS
from eorestore.metrics.sar_scores import SCORES

DIGITS: Mapping[str, int] = {
    "psnr": 2, "ssim": 3, "ssim_paper": 3, "mae": 4, "rmse": 4, "sam": 2, "bias": 4, "gradient_correlation": 3,
    "edge_correlation": 3, "ndvi": 3, "ndwi": 3, "coverage_90": 3, "interval_width": 4,
    **{name: 2 if name.endswith("_db") else 3 for name in SCORES if name not in METRICS}, "psnr30": 2, "psnr40": 2,
    "bpp": 3, "lr_psnr": 2,
}  # fmt: skip
HEADINGS: Mapping[str, str] = {
    "psnr": "PSNR dB", "ssim": "SSIM", "ssim_paper": "SSIM (zero-padded)", "mae": "MAE", "rmse": "RMSE",
    "sam": "SAM deg", "bias": "mean abs. bias", "gradient_correlation": "gradient corr.",
    "edge_correlation": "edge corr.", "ndvi": "NDVI error", "ndwi": "NDWI error", "coverage_90": "90 % coverage",
    "interval_width": "90 % width", "bpp": "bpp", "lr_psnr": "LR PSNR dB",
}  # fmt: skip

_BETTER = {**BETTER, "lr_psnr": "higher"}

# Of a score of decoded SAR: its rate, or how the latent was stored.
_CODED = re.compile(r"_(at_[\d.]+|float16|int8|coded)$")


def metric_of(score: str) -> str:
    """The metric of a score's name: `psnr` of `psnr_cloud`, `psnr30` of `psnr30_at_0.2`. Raises UnknownNameError."""
    base = _CODED.sub("", score)
    for region in REGIONS:
        base = base.removesuffix(f"_{region}")
    if base not in DIGITS:
        raise UnknownNameError("score", score, DIGITS)
    return base


def is_higher_better(score: str) -> bool:
    """Which way a score is better. Raises UnknownNameError, also for those of intervals, which have no better way."""
    name = metric_of(score)
    if not is_ordered(score):
        raise UnknownNameError("score", score, _BETTER)
    return _BETTER.get(name, SCORES[name].better if name in SCORES else "") == "higher"


def is_ordered(score: str) -> bool:
    """Whether more of a score is better or worse throughout; a bias and a ratio have their best value in between."""
    name = metric_of(score)
    return name in _BETTER or (name in SCORES and SCORES[name].better in ("higher", "lower"))


def format_score(value: float, name: str) -> str:
    """A score as text with the digits of its metric; `n/a` where there is none."""
    if math.isnan(value):
        return "n/a"
    return "inf" if math.isinf(value) else f"{value:.{DIGITS[metric_of(name)]}f}"


def spread(value: Aggregate, name: str) -> str:
    """`mean ± standard deviation`, or the mean alone where there is no deviation."""
    mean = format_score(value.mean, name)
    return mean if math.isnan(value.std) else f"{mean} ± {format_score(value.std, name)}"


def percent(share: float | None) -> str:
    """A share in per cent."""
    return "n/a" if share is None else f"{100 * share:.0f} %"


def header(cells: list[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [line(cells), line(["---"] * len(cells))]


def line(cells: list[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def plain(value: Any) -> Any:  # noqa: ANN401 - any plain value in, the same kind out
    """Mappings, sequences and numbers as strict JSON takes them: NaN is None, an infinite number the text `inf`."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
