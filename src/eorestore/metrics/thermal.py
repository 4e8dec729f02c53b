"""Errors in kelvin of a thermal image and whether it keeps what was measured; knows no network and no sensor.

Shapes, `valid`, `region` and NaN as in `fidelity.mae`; where nothing else is said the unit is that of the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.errors import DataError
from eorestore.metrics.colour import band_bias
from eorestore.metrics.fidelity import aligned, mae, mean_of_item, psnr, rmse, ssim
from eorestore.metrics.hot_spots import hot_iou, invented_regions, missed_regions, peak_distance, peak_error
from eorestore.metrics.speckle import spectrum_ratio

_WHOLE = 1e-9  # how near to 1 the weights of valid pixels must add up


def mean_error(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Mean of p - t over bands and pixels; 0 is best, positive is too warm."""
    return band_bias(prediction, target, valid=valid, region=region).mean(dim=-1)


def max_error(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Largest |p - t|; lower is better."""
    return error_quantile(prediction, target, valid=valid, region=region, share=1.0)


def error_quantile(
    prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None, share: float
) -> Tensor:
    """The |p - t| that a `share` (0 to 1) of values does not exceed, interpolated linearly; lower is better."""
    prediction, target, _, counted = aligned(prediction, target, valid, region)
    found = [
        float(np.quantile(np.abs(p - t), share)) if p.size else math.nan
        for p, t in _each(prediction, target, counted=counted)
    ]
    return _scores(found, prediction)


def r2(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Coefficient of determination 1 - sum (p - t)^2 / sum (t - mean t)^2, mean over bands; higher is better.

    1 is perfect, 0 is as good as the mean of the target. Bands that do not vary are left out; NaN without any.
    """
    prediction, target, _, counted = aligned(prediction, target, valid, region)
    zero = prediction.new_zeros(())
    number = counted.sum(dim=(-2, -1), keepdim=True)
    mean = torch.where(counted, target, zero).sum(dim=(-2, -1), keepdim=True) / number
    left = torch.where(counted, prediction - target, zero).square().sum(dim=(-2, -1))
    total = torch.where(counted, target - mean, zero).square().sum(dim=(-2, -1))
    known = total > 0
    shares = torch.where(known, 1 - left / torch.where(known, total, total.new_ones(())), zero)
    return shares.sum(dim=-1) / known.sum(dim=-1)


def consistency(
    prediction: Tensor, low: Tensor, *, valid: Tensor, observe: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """RMSE of what the sensor would deliver of the prediction against what it did deliver; lower is better, 0 exact.

    Args:
        prediction: (batch, band, factor * y, factor * x) or without batch.
        low: (batch, band, y, x) or without batch, what was measured.
        valid: bool, (..., 1, factor * y, factor * x). A coarse pixel counts where all pixels that it is made of are
            valid; what lies outside cannot change the score, NaN included.
        observe: linear map from fine to coarse whose weights add up to 1, over (batch, band, y, x). None: the mean of
            every block.

    Raises:
        DataError: the sides of the prediction are not the same multiple of those of `low`.
    """
    factor = prediction.shape[-1] // max(low.shape[-1], 1)
    if factor < 1 or prediction.shape[-2:] != (low.shape[-2] * factor, low.shape[-1] * factor):
        raise DataError(
            f"{tuple(prediction.shape[-2:])} pixels cannot be compared with {tuple(low.shape[-2:])} coarse ones",
            fix="give the image that was enlarged, and crop both alike",
        )
    prediction, _, valid, _ = aligned(prediction, prediction, valid, None)
    seen = torch.where(valid, prediction, prediction.new_zeros(()))
    delivered, weight = (_observed(image, observe, factor=factor) for image in (seen, valid.to(prediction.dtype)))
    counted = (weight - 1).abs() < _WHOLE
    away = torch.where(counted, delivered - low.detach().to(delivered), delivered.new_zeros(()))
    return torch.sqrt(mean_of_item(away**2, counted))


def psnr_of_range(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """`fidelity.psnr` whose peak is the range of the reference: its warmest minus its coolest valid value."""
    return psnr(*_over_range(prediction, target, valid), valid=valid, region=region)


def ssim_of_range(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """`fidelity.ssim` whose data range is that of the reference: its warmest minus its coolest valid value."""
    return ssim(*_over_range(prediction, target, valid), valid=valid, region=region)


def detail_power_ratio(prediction: Tensor, target: Tensor, *, valid: Tensor, factor: int) -> Tensor:
    """Power of p over that of t at frequencies that a `factor` times coarser image cannot hold; 1 is best.

    Less is detail lost, more is detail invented, or noise. See `speckle.spectrum_ratio`.
    """
    return spectrum_ratio(prediction, target, valid=valid, above=0.5 / factor)


p99_error = partial(error_quantile, share=0.99)

THERMAL_METRICS: Mapping[str, Callable[..., Tensor]] = {
    "rmse_kelvin": rmse,
    "mae_kelvin": mae,
    "bias_kelvin": mean_error,
    "max_error_kelvin": max_error,
    "p99_error_kelvin": p99_error,
    "r2": r2,
    "psnr_of_range": psnr_of_range,
    "ssim_of_range": ssim_of_range,
    "peak_error_kelvin": peak_error,
    "peak_distance": peak_distance,
    "hot_iou": hot_iou,
    "invented_regions": invented_regions,
    "missed_regions": missed_regions,
}


def _each(*images: Tensor, counted: Tensor) -> list[tuple[NDArray[np.float64], ...]]:
    """The counted values of every image, item by item, all bands together."""
    shape = images[0].shape
    masks = counted.expand(shape).reshape(-1, *shape[-3:])
    items = zip(*(image.reshape(-1, *shape[-3:]) for image in images), masks, strict=True)
    return [tuple(part[mask].cpu().numpy() for part in parts) for *parts, mask in items]


def _scores(values: list[float], image: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=image.device).view(image.shape[:-3])


def _observed(image: Tensor, observe: Callable[[Tensor], Tensor] | None, *, factor: int) -> Tensor:
    batched = image.reshape(-1, *image.shape[-3:])
    low = torch.nn.functional.avg_pool2d(batched, factor) if observe is None else observe(batched)
    return low.view(*image.shape[:-2], *low.shape[-2:])


def _over_range(prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Both divided by the range of the target's valid values; NaN where those do not vary."""
    prediction, target, valid, _ = aligned(prediction, target, valid, None)
    spans = [float(np.ptp(values)) if values.size else 0.0 for (values,) in _each(target, counted=valid)]
    span = _scores([span or math.nan for span in spans], target)[..., None, None, None]
    return prediction / span, target / span
