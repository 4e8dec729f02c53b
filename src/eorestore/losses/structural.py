"""One minus structural similarity as a loss; knows no unit and expects images in [0, data_range]."""

from __future__ import annotations

from torch import Tensor

from eorestore.layers.ssim import Border, at_centres, ssim_map
from eorestore.losses.pixel import mean_over


def one_minus_ssim(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    data_range: float = 1.0,
    border: Border = "interior",
) -> Tensor:
    """1 - SSIM, averaged over bands and valid pixels (Wang et al. 2004). In [0, 2], lower is better.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it weigh nothing in any window and get no gradient.
        data_range: largest minus smallest possible value.
        border: see `eorestore.layers.ssim.ssim_map`.

    Returns:
        Scalar; 0 at equality and where no pixel is valid.

    Raises:
        DataError: the image is smaller than the 11 x 11 window.
    """
    similarity = ssim_map(prediction, target, valid=valid, data_range=data_range, border=border)
    return mean_over(1 - similarity, at_centres(valid, border=border))
