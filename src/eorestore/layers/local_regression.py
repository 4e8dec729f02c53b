"""Detail of coarse bands from that of fine ones by least squares in windows; knows no sensor, trains nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from eorestore.layers.halving import BLUR, halve

NEAR, WIDE = 3, 12
"""Radii of the windows in coarse pixels."""
REACH = WIDE + 3
"""Coarse pixels that `local_detail` looks around."""
_NEAR_RIDGE, _WIDE_RIDGE = 0.1, 0.01  # of a fine band's variance in the wide window
_LEAST_VARIANCE = 1e-12  # of a band in 0 ... 1: below any noise


def local_detail(fine: Tensor, coarse: Tensor, *, blur: float = BLUR) -> Tensor:
    """What cubic enlargement of the coarse bands misses, as far as the fine bands around a pixel tell.

        detail = weights . (fine - cubic(halve(fine))),  weights = argmin |w . d(halve(fine)) - d(coarse)|^2 + ridge

    d(x) = x - its mean over 3 x 3. The weights are fitted around every coarse pixel in a window of radius NEAR, drawn
    towards those of a window of radius WIDE, and interpolated. As in the guided filter (He, Sun, Tang, TPAMI 2013),
    with several guides; fitted on detail, since bands that go together over fields need not do so across an edge. A
    gain or an offset of any band passes through.

    Args:
        fine: (batch, fine band, 2 y, 2 x).
        coarse: (batch, coarse band, y, x).
        blur: of the sensor, see layers.halving.

    Returns:
        (batch, coarse band, 2 y, 2 x); float32, without gradient.
    """
    with torch.no_grad():
        fine, coarse = fine.float(), coarse.float()
        small = halve(fine, blur=blur)
        guide, wanted = high_pass(small), high_pass(coarse)
        spread = torch.sqrt(_mean(guide.square(), WIDE) + _LEAST_VARIANCE)
        squares = (guide[:, :, None] * guide[:, None]).flatten(1, 2)
        products = (guide[:, :, None] * wanted[:, None]).flatten(1, 2)
        wide = _fitted(squares, products, spread, radius=WIDE, ridge=_WIDE_RIDGE, towards=None)
        near = _fitted(squares, products, spread, radius=NEAR, ridge=_NEAR_RIDGE, towards=wide)
        weights = (near / spread[:, :, None]).flatten(1, 2)
        large = F.interpolate(weights, scale_factor=2, mode="bilinear")
        missed = fine - F.interpolate(small, scale_factor=2, mode="bicubic")
        # a product of maps, since a product of matrices would follow autocast to half of the digits
        return (missed[:, :, None] * rearrange(large, "b (f c) y x -> b f c y x", f=fine.shape[1])).sum(dim=1)


def high_pass(image: Tensor) -> Tensor:
    """(batch, band, y, x) without its mean over 3 x 3; edges are repeated."""
    return image - _mean(image, 1)


def _fitted(
    squares: Tensor, products: Tensor, spread: Tensor, *, radius: int, ridge: float, towards: Tensor | None
) -> Tensor:
    """Weights (batch, fine, coarse, y, x) of guides divided by `spread`, drawn to `towards`, or to 0 without."""
    fine = spread.shape[1]
    scale = spread[:, :, None]
    matrix = rearrange(_mean(squares, radius), "b (f g) y x -> b f g y x", f=fine) / (scale * spread[:, None])
    right = rearrange(_mean(products, radius), "b (f c) y x -> b f c y x", f=fine) / scale
    matrix = matrix + ridge * torch.eye(fine, device=matrix.device)[None, :, :, None, None]
    return _solved(matrix, right if towards is None else right + ridge * towards)


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """The solution of (batch, n, n, y, x) systems by Gauss and Jordan; positive definite ones need no pivots.

    Whole maps at a time, which is far quicker than a small factorisation for every pixel.
    """
    rows = [torch.cat([matrix[:, row], right[:, row]], dim=1) for row in range(matrix.shape[1])]
    for number, row in enumerate(rows):
        rows[number] = row / row[:, number : number + 1]
        for other, values in enumerate(rows):
            if other != number:
                rows[other] = values - values[:, number : number + 1] * rows[number]
    return torch.stack([row[:, len(rows) :] for row in rows], dim=1)


def _mean(image: Tensor, radius: int) -> Tensor:
    """Mean over (2 radius + 1)^2 pixels of (batch, band, y, x); edges are repeated."""
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    side = 2 * radius + 1
    return F.avg_pool2d(F.avg_pool2d(padded, (side, 1), stride=1), (1, side), stride=1)
