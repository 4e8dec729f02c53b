"""How near decoded radar is to the original in decibels: error, similarity, bias, distribution; knows no codec.

All images are in decibels. (batch, band, y, x) or (band, y, x) in, (batch,) or a scalar out, float64. `valid` is bool
of the images' shape, or with one band for all; what lies outside cannot change a score, NaN included. A score is NaN
where nothing counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from eorestore.errors import DataError
from eorestore.layers.ssim import RADIUS, ssim_map, ssim_terms
from eorestore.metrics.sar_planes import Mask, Plane, blocks, each_band, intensity, pooled

SPAN = 40.0  # decibels of every window
LOWS: Mapping[str, float] = {"VV": -30.0, "HH": -30.0, "VH": -38.0, "HV": -38.0}
"""Where the window of a polarisation begins, in decibels."""

BINS = 64
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of Wang et al. 2003


def rmse_db(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Root of the mean of (z - z')^2 over all bands and valid pixels, in decibels; 0 is best."""
    return pooled(lambda error: math.sqrt(float(np.mean(error**2))), _error(decoded, original), valid=valid)


def psnr_range(decoded: Tensor, original: Tensor, *, valid: Tensor, peak: float) -> Tensor:
    """20 log10(peak / RMSE) with `peak` in decibels; higher is better, infinite at equality.

    Only scores of one peak compare: 40 dB in place of 30 dB adds 2.50 dB.
    """
    return 20 * torch.log10(peak / rmse_db(decoded, original, valid=valid))


def psnr30(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """`psnr_range` with a peak of 30 dB."""
    return psnr_range(decoded, original, valid=valid, peak=30.0)


def psnr40(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """`psnr_range` with a peak of 40 dB: that of the window."""
    return psnr_range(decoded, original, valid=valid, peak=40.0)


def max_error_db(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Largest |z - z'| of any valid pixel of any band, in decibels; 0 is best."""
    return pooled(lambda error: float(np.abs(error).max()), _error(decoded, original), valid=valid)


def p999_error_db(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """The |z - z'| in decibels that 99.9 % of the valid pixels stay below; 0 is best."""
    return pooled(lambda error: float(np.quantile(np.abs(error), 0.999)), _error(decoded, original), valid=valid)


def ssim_db(decoded: Tensor, original: Tensor, *, valid: Tensor, lows: Sequence[float]) -> Tensor:
    """Structural similarity (Wang et al. 2004) over a window of 40 dB, mean over bands; at most 1, higher is better.

    11 x 11 Gaussian, sigma 1.5, population variances, whole windows only. The window matters, since the constants of
    SSIM depend on its width and the term of means on where it begins.

    Args:
        decoded: in decibels; all shapes as the head of this file says.
        original: the same.
        valid: the same.
        lows: where the window of each band begins, in decibels; one number stands for all bands. See `LOWS`.

    Raises:
        DataError: the image is smaller than 11 x 11, or `lows` has another length than bands.
    """
    x, y, mask = _in_window(decoded, original, valid, lows)
    similarity = ssim_map(x, y, valid=mask, data_range=SPAN)
    centres = mask[..., RADIUS:-RADIUS, RADIUS:-RADIUS]
    return _mean(similarity, centres).view(decoded.shape[:-2]).nanmean(dim=-1)


def ms_ssim_db(decoded: Tensor, original: Tensor, *, valid: Tensor, lows: Sequence[float]) -> Tensor:
    """Multi-scale structural similarity (Wang et al. 2003) over the window of 40 dB; at most 1, higher is better.

    Five scales by means of 2 x 2 pixels; a mean of which a part is not valid is not valid either. Negative means of
    contrast and structure count as 0. Arguments and errors as in `ssim_db`; a side needs 176 pixels.
    """
    x, y, mask = _in_window(decoded, original, valid, lows)
    score = x.new_ones(x.shape[0])
    for scale, weight in enumerate(_SCALES):
        luminance, structure = ssim_terms(x, y, valid=mask, data_range=SPAN)
        seen = luminance * structure if scale == len(_SCALES) - 1 else structure
        score = score * _mean(seen, mask[..., RADIUS:-RADIUS, RADIUS:-RADIUS]).clamp_min(0) ** weight
        x, y = torch.nn.functional.avg_pool2d(x, 2), torch.nn.functional.avg_pool2d(y, 2)
        mask = -torch.nn.functional.max_pool2d(-mask.to(x.dtype), 2) > 0
    return score.view(decoded.shape[:-2]).nanmean(dim=-1)


def mean_bias_db(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """10 log10(mean Z' / mean Z) of linear intensities in decibels, mean over bands; 0 is best, below is too dark."""
    return each_band(_mean_bias, decoded, original, valid=valid)


def block_bias_median_db(
    decoded: Tensor, original: Tensor, *, valid: Tensor, block: int = 16, offset: tuple[int, int] = (0, 0)
) -> Tensor:
    """Median over blocks of 10 log10(mean Z' / mean Z) in decibels, mean over bands; 0 is best.

    Sentinel-1 is stable within 0.5 dB (three sigma); |median| should be at most 0.05 dB.

    Args:
        decoded: in decibels; all shapes as the head of this file says.
        original: the same.
        valid: the same. A block counts if half of its pixels are valid; its means are over those.
        block: side of the blocks, in pixels. Only whole blocks inside the image count.
        offset: (y, x) of the first block. One off the codec's own grid cannot be met by repairing that grid alone.
    """
    return each_band(partial(_block_median, block=block, offset=offset), decoded, original, valid=valid)


def block_bias_rms_db(
    decoded: Tensor, original: Tensor, *, valid: Tensor, block: int = 16, offset: tuple[int, int] = (0, 0)
) -> Tensor:
    """Root mean square over blocks of their bias in decibels, mean over bands; see `block_bias_median_db`."""
    return each_band(partial(_block_rms, block=block, offset=offset), decoded, original, valid=valid)


def histogram_distance(decoded: Tensor, original: Tensor, *, valid: Tensor, lows: Sequence[float]) -> Tensor:
    """Half the L1 distance of two histograms of 64 bins over the 40 dB window, mean over bands; in [0, 1], 0 is best.

    Values outside the window count in the end bins. `lows` and errors as in `ssim_db`.
    """
    x, y, mask = _in_window(decoded, original, valid, lows)
    shape = original.shape
    return each_band(_histogram_distance, x.view(shape), y.view(shape), valid=mask.view(shape))


def quantile_shift_db(decoded: Tensor, original: Tensor, *, valid: Tensor, share: float) -> Tensor:
    """A quantile of the decoded band less that of the original, in decibels, mean over bands; 0 is best.

    share: 0.999 shows what becomes of bright points such as ships, 0.001 what becomes of radar shadow.
    """
    return each_band(partial(_quantile_shift, share=share), decoded, original, valid=valid)


def _error(decoded: Tensor, original: Tensor) -> Tensor:
    return decoded.detach().double() - original.detach().double()


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean over counted pixels of every plane (plane, 1, y, x) -> (plane,); NaN without any."""
    total = torch.where(counted, values, values.new_zeros(())).sum(dim=(-3, -2, -1))
    return total / counted.sum(dim=(-3, -2, -1))


def _in_window(
    decoded: Tensor, original: Tensor, valid: Tensor, lows: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Both images less the beginning of the window, and the mask, all (plane, 1, y, x)."""
    bands = original.shape[-3]
    if len(lows) not in (1, bands):
        raise DataError(
            f"{len(lows)} windows for {bands} bands", fix="give the beginning of one window, or of one for each band"
        )
    start = torch.tensor(list(lows), dtype=torch.float64)[:, None, None]
    mask = valid.to(torch.bool).expand(original.shape).reshape(-1, 1, *original.shape[-2:])
    x, y = ((one.detach().double() - start).reshape(mask.shape) for one in (decoded, original))
    return x, y, mask


def _mean_bias(decoded: Plane, original: Plane, valid: Mask) -> float:
    if not valid.any():
        return math.nan
    return 10 * math.log10(float(intensity(decoded)[valid].mean() / intensity(original)[valid].mean()))


def _block_biases(decoded: Plane, original: Plane, valid: Mask, *, block: int, offset: tuple[int, int]) -> Plane:
    counts = blocks(valid, side=block, offset=offset).sum(axis=1)
    sums = [
        blocks(np.where(valid, intensity(one), 0.0), side=block, offset=offset).sum(axis=1)
        for one in (decoded, original)
    ]
    kept = 2 * counts >= block**2
    return np.asarray(10 * np.log10(sums[0][kept] / sums[1][kept]))


def _block_median(decoded: Plane, original: Plane, valid: Mask, *, block: int, offset: tuple[int, int]) -> float:
    found = _block_biases(decoded, original, valid, block=block, offset=offset)
    return float(np.median(found)) if found.size else math.nan


def _block_rms(decoded: Plane, original: Plane, valid: Mask, *, block: int, offset: tuple[int, int]) -> float:
    found = _block_biases(decoded, original, valid, block=block, offset=offset)
    return math.sqrt(float(np.mean(found**2))) if found.size else math.nan


def _histogram_distance(decoded: Plane, original: Plane, valid: Mask) -> float:
    if not valid.any():
        return math.nan
    shares = [
        np.histogram(np.clip(one[valid], 0.0, SPAN), bins=BINS, range=(0.0, SPAN))[0] / valid.sum()
        for one in (decoded, original)
    ]
    return float(np.abs(shares[0] - shares[1]).sum()) / 2


def _quantile_shift(decoded: Plane, original: Plane, valid: Mask, *, share: float) -> float:
    if not valid.any():
        return math.nan
    return float(np.quantile(decoded[valid], share) - np.quantile(original[valid], share))
