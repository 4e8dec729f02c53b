"""PSNR and SSIM as the benchmarks of super-resolution give them: on luma, in 8 bits, without the rim; knows no model.

Two protocols, which differ in the second decimal of a decibel. Each is chosen by what is handed over:

- RGB, for models: three bands are rounded to 8 bits and brought to luma, which is not rounded.
- Y only, the classic one: one band, which is luma already, is rounded to 8 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.errors import BandError
from eorestore.metrics import fidelity

SHAVE = 4  # pixels a side at x4
_PEAK = 255
_WEIGHTS = (65.481, 128.553, 24.966)
_BLACK = 16.0


def luma(image: Tensor) -> Tensor:
    """Y of ITU-R BT.601 on the scale of 8 bits, 16 for black to 235 for white, not rounded.

    Args:
        image: (..., 3, y, x): red, green, blue in 0 ... 1.

    Returns:
        (..., 1, y, x): 16 + 65.481 R + 128.553 G + 24.966 B.
    """
    weights = image.new_tensor(_WEIGHTS)[:, None, None]
    return _BLACK + (weights * image).sum(dim=-3, keepdim=True)


def eight_bit_luma(image: Tensor) -> Tensor:
    """Luma 0 ... 255, (..., 1, y, x) float64, of what 8 bits keep of an image in 0 ... 1.

    image: (..., 3, y, x) for red, green, blue, or (..., 1, y, x) for luma / 255. Raises BandError for other bands.
    """
    bands = image.shape[-3]
    if bands not in (1, 3):
        raise BandError(f"luma is of red, green, blue; the image has {bands} bands", fix="score the bands one by one")
    precise = image.detach().to("cpu" if image.device.type == "mps" else image.device, torch.float64)
    levels = (precise.clamp(0, 1) * _PEAK + 0.5).floor()
    return levels if bands == 1 else luma(levels / _PEAK)


def psnr_luma(
    prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None, shave: int = SHAVE
) -> Tensor:
    """10 log10(255^2 / MSE) on luma in decibels; higher is better, infinite where 8 bits hold no difference.

    Args:
        prediction: (batch, 3, y, x) or (3, y, x) in 0 ... 1; with one band for the classic protocol, see the module.
        target: the same shape.
        valid: (batch, 1, y, x) or (1, y, x) bool; what lies outside cannot change the score, NaN included.
        region: bool like `valid`; only valid pixels inside it count. None: all valid pixels.
        shave: pixels a side that do not count; the factor of the enlargement, by custom.

    Returns:
        (batch,), or a scalar for a single image; float64; NaN where no pixel counts.

    Raises:
        BandError: neither one band nor three.
    """
    x, y, seen, inside = _shaved(prediction, target, valid, region, shave)
    return fidelity.psnr(x, y, valid=seen, region=inside, peak=_PEAK)


def ssim_luma(
    prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None, shave: int = SHAVE
) -> Tensor:
    """Structural similarity (Wang et al. 2004) on luma; at most 1, higher is better. Arguments as in `psnr_luma`.

    11 x 11 Gaussian of sigma 1.5, K 0.01 and 0.03, L 255, windows inside the shaved image only: `fidelity.ssim`, whose
    definition this is. Raises BandError, and DataError where no window fits.
    """
    x, y, seen, inside = _shaved(prediction, target, valid, region, shave)
    return fidelity.ssim(x, y, valid=seen, region=inside, data_range=_PEAK)


def _shaved(
    prediction: Tensor, target: Tensor, valid: Tensor, region: Tensor | None, shave: int
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    height, width = target.shape[-2:]
    kept = (..., slice(shave, max(shave, height - shave)), slice(shave, max(shave, width - shave)))
    x, y = (eight_bit_luma(image[kept]) for image in (prediction, target))
    return x, y, valid[kept], None if region is None else region[kept]
