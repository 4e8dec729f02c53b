"""How well an image keeps the edges of its reference: correlations of Sobel magnitudes; knows no sensor."""

from __future__ import annotations

import torch
from torch import Tensor

from eorestore.layers.sobel import inner, sobel
from eorestore.metrics.fidelity import aligned


def gradient_correlation(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Pearson correlation of the Sobel magnitudes of a band, mean over bands. In [-1, 1], higher is better.

    Only pixels count whose 3 x 3 neighbourhood is inside the image and valid. A band without any gradient in
    either image has no correlation and is left out.

    Args:
        prediction: (batch, band, y, x) or (band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) or (1, y, x) bool; what lies outside cannot change the score, NaN included.
        region: bool like `valid`; only valid pixels inside it count. None: all valid pixels.

    Returns:
        (batch,), or a scalar for a single image; float64; NaN where no pixel counts or nothing varies.
    """
    prediction, target, valid, counted = aligned(prediction, target, valid, region)
    x, y = sobel_magnitude(prediction, valid), sobel_magnitude(target, valid)
    return band_correlation(x, y, counted & inner(valid))


def edge_correlation(prediction: Tensor, target: Tensor, *, valid: Tensor, region: Tensor | None = None) -> Tensor:
    """Pearson correlation of two edge maps of one channel each. In [-1, 1], higher is better.

    The edge map of an image is the mean over bands of its Sobel magnitudes, each divided by its own mean over the
    counted pixels, so that bright bands do not drown dark ones. The correlation is that of the edge preservation
    index (Sattar et al. 1997), with the Sobel magnitude in place of their Laplacian, since it is the strength of
    edges that restored images lose. Arguments and shapes as in `gradient_correlation`.
    """
    prediction, target, valid, counted = aligned(prediction, target, valid, region)
    x, y = sobel_magnitude(prediction, valid), sobel_magnitude(target, valid)
    return edge_map_correlation(x, y, counted & inner(valid))


def sobel_magnitude(image: Tensor, valid: Tensor) -> Tensor:
    """sqrt(gx^2 + gy^2) a pixel, (..., band, y, x); it means something where `inner` is true."""
    seen = torch.where(valid, image, image.new_zeros(()))
    across, down = sobel(seen.view(-1, *image.shape[-3:])).chunk(2, dim=1)
    return torch.hypot(across, down).view(image.shape)


def band_correlation(x: Tensor, y: Tensor, counted: Tensor) -> Tensor:
    """Mean over bands of Pearson's correlation over the counted pixels: (..., band, y, x) -> (...)."""
    found = _pearson(x, y, counted)
    known = found.isfinite()
    return torch.where(known, found, found.new_zeros(())).sum(dim=-1) / known.sum(dim=-1)


def edge_map_correlation(x: Tensor, y: Tensor, counted: Tensor) -> Tensor:
    """Pearson's correlation of the mean over bands of `x` and of `y`, each band scaled to mean 1: -> (...)."""
    return _pearson(_edge_map(x, counted), _edge_map(y, counted), counted)[..., 0]


def _edge_map(magnitude: Tensor, counted: Tensor) -> Tensor:
    weights = counted.to(magnitude.dtype)
    mean = (magnitude * weights).sum(dim=(-2, -1), keepdim=True) / weights.sum(dim=(-2, -1), keepdim=True)
    scaled = torch.where(mean > 0, magnitude / mean, magnitude.new_zeros(()))
    return scaled.mean(dim=-3, keepdim=True)


def _pearson(x: Tensor, y: Tensor, counted: Tensor) -> Tensor:
    """(..., band); NaN where nothing is counted or one of both does not vary."""
    weights = counted.to(x.dtype)
    number = weights.sum(dim=(-2, -1), keepdim=True)
    away_x = (x - (x * weights).sum(dim=(-2, -1), keepdim=True) / number) * weights
    away_y = (y - (y * weights).sum(dim=(-2, -1), keepdim=True) / number) * weights
    spread = torch.sqrt((away_x**2).sum(dim=(-2, -1)) * (away_y**2).sum(dim=(-2, -1)))
    return (away_x * away_y).sum(dim=(-2, -1)) / spread
