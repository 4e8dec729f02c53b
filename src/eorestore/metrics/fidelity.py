"""How near an image is to its reference, in value and in structure; knows no sensor and no cloud."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.layers.ssim import Border, at_centres, ssim_map


def mae(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Mean absolute error over bands and pixels: mean |p - t|, in the unit of the images; lower is better.

    Args:
        prediction: (batch, band, y, x) or (band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) or (1, y, x) bool; what lies outside cannot change the score, NaN included.
        region: bool like `valid`; only valid pixels inside it count. None: all valid pixels.

    Returns:
        (batch,), or a scalar for a single image; float64; NaN where no pixel counts.
    """
    prediction, target, valid, counted = aligned(prediction, target, valid, region)
    return mean_of_item(_difference(prediction, target, valid).abs(), counted)


def rmse(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Root of the mean squared error over all bands and pixels of an image; lower is better. See `mae`."""
    return torch.sqrt(_mean_squared_error(prediction, target, valid, region))


def psnr(
    prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None, peak: float = 1.0
) -> Tensor:
    """Peak signal-to-noise ratio in decibels: 10 log10(peak^2 / MSE); higher is better, infinite at equality.

    Convention of SEN12MS-CR (and of every table here): one MSE over all bands and pixels of one image, then
    decibels, and decibels are averaged over images. Neither is the mean of the bands' PSNR, nor the PSNR of
    an MSE pooled over images; both give other numbers. Inside a region the MSE is that of the region's valid
    pixels and all bands, with the same peak. Arguments and shapes as in `mae`.
    """
    return 10 * torch.log10(peak**2 / _mean_squared_error(prediction, target, valid, region))


def ssim(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    region: Tensor | None = None,
    border: Border = "interior",
    data_range: float = 1.0,
) -> Tensor:
    """Structural similarity (Wang et al. 2004), mean over bands and pixels. At most 1, higher is better.

    11 x 11 Gaussian, sigma 1.5, population variances. `border` is `interior` (windows inside the image only,
    so a rim of 5 pixels is not scored) or `zero` (zero padding, as papers on SEN12MS-CR; see `ssim_paper`).
    Windows centred in `region` see the valid pixels around it too. Arguments and shapes as in `mae`.

    Raises:
        DataError: the image is smaller than the window and `border` is `interior`.
    """
    prediction, target, valid, counted = aligned(prediction, target, valid, region)
    batched = (image if image.dim() == 4 else image[None] for image in (prediction, target, valid))
    x, y, seen = batched
    similarity = ssim_map(x, y, valid=seen, border=border, data_range=data_range)
    if prediction.dim() == 3:
        similarity = similarity[0]
    return mean_of_item(similarity, at_centres(counted, border=border))


def ssim_paper(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """SSIM with zero padding: comparable with papers on SEN12MS-CR, whose Gaussian may sit half a pixel off.

    That offset changes at most the third decimal; the padding changes much more. Arguments as in `ssim`.
    """
    return ssim(prediction, target, valid=valid, region=region, border="zero")


def aligned(
    prediction: Tensor, target: Tensor, valid: Tensor, region: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images as float64, and the masks of valid and of counted pixels, all on one device.

    Devices without float64 hand over to the CPU.
    """
    device = torch.device("cpu") if prediction.device.type == "mps" else prediction.device
    valid = valid.to(device, torch.bool)
    counted = valid if region is None else valid & region.to(device, torch.bool)
    return (
        prediction.detach().to(device, torch.float64),
        target.detach().to(device, torch.float64),
        valid,
        counted,
    )


def mean_of_item(values: Tensor, counted: Tensor) -> Tensor:
    """Mean over bands and counted pixels of each item: (..., band, y, x) -> (...); NaN without any."""
    total = torch.where(counted, values, values.new_zeros(())).sum(dim=(-3, -2, -1))
    return total / (counted.sum(dim=(-3, -2, -1)) * values.shape[-3])


def _difference(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, prediction - target, prediction.new_zeros(()))


def _mean_squared_error(prediction: Tensor, target: Tensor, valid: Tensor, region: Tensor | None) -> Tensor:
    prediction, target, valid, counted = aligned(prediction, target, valid, region)
    return mean_of_item(_difference(prediction, target, valid) ** 2, counted)
