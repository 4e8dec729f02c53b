"""Differences frequency by frequency: sub-bands of a wavelet transform, or the Fourier transform; know no unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from eorestore.errors import ConfigError, UnknownNameError
from eorestore.layers.reflection import reflect_pad
from eorestore.losses.pixel import mean_over

Wavelet = Literal["haar", "db2", "db4"]

LOW_PASS: Mapping[str, tuple[float, ...]] = {
    "haar": (0.5, 0.5),
    "db2": (0.34150635094610968, 0.59150635094610964, 0.15849364905389032, -0.091506350946109645),
    "db4": (
        0.16290171402564917, 0.50547285754591443, 0.44610006912337980, -0.019787513117822321,
        -0.13225358368451985, 0.021808150237088618, 0.023251800535490895, -0.0074934946651807366,
    ),
}  # fmt: skip
"""Scaling filters of Daubechies (1992), with sum 1, so that an approximation stays in the image's scale."""

SWT_WEIGHTS = (0.5, 1.5, 1.5, 2.0)  # approximation, horizontal, vertical, diagonal
PHASE_SHARE = 0.1
MAGNITUDE_FLOOR = 1e-3  # coefficients far below this have no phase worth a gradient
_CORNER = math.sqrt(0.5)  # cycles per pixel in the corner of a spectrum


class SubBands(NamedTuple):
    """One level of a stationary wavelet transform, every part (batch, band, y, x) as large as the image.

    horizontal: what changes along y, edges that run horizontally. vertical: what changes along x.
    """

    approximation: Tensor
    horizontal: Tensor
    vertical: Tensor
    diagonal: Tensor


def swt_l1(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    wavelet: Wavelet = "haar",
    levels: int = 2,
    weights: tuple[float, float, float, float] = SWT_WEIGHTS,
) -> Tensor:
    """L1 between the sub-bands of stationary wavelet transforms. In [0, inf), lower is better, 0 at equality.

        mean over levels of  sum over sub-bands s of w_s mean |s(p) - s(t)|

    Filters have sum 1 (`norm=True` in PyWavelets), so that all levels are in the image's scale. The difference of an
    invalid pixel counts as 0, and so does its coefficient; near it the others see it as restored.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.
        wavelet: a name in LOW_PASS.
        levels: how often the approximation is divided, at least 1.
        weights: of approximation, horizontal, vertical and diagonal details.

    Returns:
        Scalar; 0 where no pixel is valid.

    Raises:
        UnknownNameError, ConfigError: no such wavelet, or no level.
    """
    zero = prediction.new_zeros(())
    # The transform is linear: one pass over the difference is that of both images.
    difference = torch.where(valid, prediction, zero) - torch.where(valid, target, zero)
    parts = [
        weight * mean_over(band.abs(), valid)
        for level in stationary_wavelet(difference, wavelet=wavelet, levels=levels)
        for weight, band in zip(weights, level, strict=True)
    ]
    return torch.stack(parts).sum() / levels


def fft_l1(
    prediction: Tensor, target: Tensor, *, valid: Tensor, phase: float = PHASE_SHARE, corner: float = 2.0
) -> Tensor:
    """L1 between Fourier coefficients, high frequencies up, plus a term of phase. In [0, inf), lower is better.

        mean over frequencies of w |P - T|  +  phase * sum |T| (1 - cos(P, T)) / sum |T|
        w = 1 + (corner - 1) r / r_corner,  r = hypot(f_y, f_x) of `fftfreq`,  transforms orthonormal

    The complex difference, not that of the magnitudes: two images of equal magnitudes are not equal. A gap between
    phases goes by its cosine, since angles jump by 2 pi, and counts as much as the target has of its frequency; the
    mean of the image, frequency 0, has no phase and is left out. The radius comes from `fftfreq`, so that the weight
    is 1 at frequency 0 and `corner` where both axes are at Nyquist, for odd sizes too.

    Invalid pixels are the same in both images: the mean of the item's valid target. All frequencies see all pixels,
    so an item of which a share s is valid weighs about sqrt(s).

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN.
        phase: weight of the second term.
        corner: weight of the highest frequency in the first.

    Returns:
        Scalar; 0 at equality and where no pixel is valid.
    """
    known = torch.where(valid, target, target.new_zeros(()))
    mean = known.sum(dim=(2, 3), keepdim=True) / valid.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    found = torch.fft.fft2(torch.where(valid, prediction, mean), norm="ortho")
    wanted = torch.fft.fft2(torch.where(valid, known, mean), norm="ortho")
    rows, columns = (torch.fft.fftfreq(side, dtype=mean.dtype, device=mean.device) for side in found.shape[-2:])
    weights = 1 + (corner - 1) / _CORNER * torch.hypot(rows[:, None], columns)
    size = wanted.abs()
    size[..., 0, 0] = 0
    gap = (_direction(found) - _direction(wanted)).abs().square() / 2
    share = size / size.sum(dim=(-2, -1), keepdim=True).clamp_min(MAGNITUDE_FLOOR)
    magnitudes: Tensor = (weights * (found - wanted).abs()).mean()
    phases: Tensor = (share * gap).sum(dim=(-2, -1)).mean()
    return magnitudes + phase * phases


def stationary_wavelet(image: Tensor, *, wavelet: Wavelet, levels: int) -> list[SubBands]:
    """The undecimated wavelet transform (Nason and Silverman 1995), finest level first.

    As `swt2` of PyWavelets with `norm=True`, except that the image goes on by reflection and not periodically, so that
    the left edge is not compared with the right one, and that any size will do.

    Args:
        image: (batch, band, y, x).
        wavelet: a name in LOW_PASS.
        levels: at least 1. A coefficient of level n sees (2^n - 1)(length of the filter - 1) + 1 pixels.

    Raises:
        UnknownNameError, ConfigError: no such wavelet, or no level.
    """
    if wavelet not in LOW_PASS:
        raise UnknownNameError("wavelet", wavelet, LOW_PASS)
    if levels < 1:
        raise ConfigError(f"a wavelet transform of {levels} levels has no sub-bands", fix="give at least 1")
    low = torch.tensor(LOW_PASS[wavelet], dtype=image.dtype, device=image.device)
    signs = torch.ones_like(low)
    signs[1::2] = -1
    filters = torch.stack([low, low.flip(0) * signs])[:, None]
    before, after = low.numel() // 2 - 1, low.numel() // 2
    height, width = image.shape[-2:]
    rest = 2**levels - 1
    seen = reflect_pad(image, (before * rest, after * rest) * 2).flatten(0, 1)[:, None]
    found: list[SubBands] = []
    for level in range(levels):
        spacing = 2**level
        rest -= spacing
        across = F.conv2d(seen, filters[:, :, None, :], dilation=spacing)
        # (low, high) along x, each then low and high along y
        bands = F.conv2d(across, filters[..., None].repeat(2, 1, 1, 1), dilation=spacing, groups=2)
        inside = bands[..., before * rest :, before * rest :][..., :height, :width]
        approximation, horizontal, vertical, diagonal = inside.reshape(*image.shape[:2], 4, height, width).unbind(2)
        found.append(SubBands(approximation, horizontal, vertical, diagonal))
        seen = bands[:, :1]
    return found


def _direction(spectrum: Tensor) -> Tensor:
    """A complex number of size 1 with the same phase, less where there is next to nothing."""
    return spectrum / torch.sqrt(spectrum.real.square() + spectrum.imag.square() + MAGNITUDE_FLOOR**2)
