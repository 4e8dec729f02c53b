"""Eight-fold self-ensemble: mean, median and spread over flips and quarter turns; knows no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from eorestore.errors import UnknownNameError


def turn(image: Tensor, index: int) -> Tensor:
    """One of the eight flips and quarter turns of the last two axes, `index` 0 to 7; 0 leaves the image alone."""
    turned = torch.rot90(image, index % 4, dims=(-2, -1))
    return turned.flip(-1) if index >= 4 else turned


def turn_back(image: Tensor, index: int) -> Tensor:
    """The inverse of `turn`."""
    turned = image.flip(-1) if index >= 4 else image
    return torch.rot90(turned, -(index % 4), dims=(-2, -1))


def self_ensemble(
    forward: Callable[[Mapping[str, Tensor]], Tensor],
    inputs: Mapping[str, Tensor],
    *,
    reduce: Literal["mean", "median"] = "mean",
) -> Tensor:
    """Mean or median of `forward` over the eight turns.

    Source: the geometric self-ensemble of Lim et al. 2017 (EDSR), a mean; the median is that of ZSSR (Shocher et al.
    2018).

    Args:
        forward: image(s) by keyword -> (batch, band, y, x).
        inputs: what has fewer than four axes, or another size than the first image, stays as it is.
        reduce: `median` is the mean of the middle two of the eight, and NaN where one of them is; it holds all eight.

    Raises:
        UsageError: another `reduce`.
    """
    _check(reduce)
    turned = _turned_back(forward, inputs)
    return _mean(turned) if reduce == "mean" else _median(torch.stack([*turned]))


def self_ensemble_with_spread(
    forward: Callable[[Mapping[str, Tensor]], Tensor],
    inputs: Mapping[str, Tensor],
    *,
    reduce: Literal["mean", "median"] = "mean",
) -> tuple[Tensor, Tensor]:
    """What `self_ensemble` gives, and beside it how far the eight lie apart at every pixel, of the same shape.

    The spread is the standard deviation of the eight about their mean, sqrt(mean (x - mean)^2), whatever `reduce` is:
    the eight are all there are, no sample. It tells where the model leans on orientation, not how large its error is.
    """
    _check(reduce)
    stacked = torch.stack([*_turned_back(forward, inputs)])
    image = _mean(stacked) if reduce == "mean" else _median(stacked)
    return image, stacked.std(dim=0, correction=0)


def _turned_back(forward: Callable[[Mapping[str, Tensor]], Tensor], inputs: Mapping[str, Tensor]) -> Iterator[Tensor]:
    height, width = next(value.shape[-2:] for value in inputs.values() if value.ndim == 4)
    for index in range(8):
        turned = {
            key: turn(value, index) if value.ndim == 4 and value.shape[-2:] == (height, width) else value
            for key, value in inputs.items()
        }
        yield turn_back(forward(turned), index)


def _mean(images: Iterable[Tensor]) -> Tensor:
    total: Tensor | None = None
    for image in images:
        total = image if total is None else total + image
    if total is None:
        raise ValueError("no turn was made")
    return total / 8


def _median(images: Tensor) -> Tensor:
    # torch.median takes the lower one of the middle two, and NaN where there is one.
    lower, upper = images.median(dim=0).values, -(-images).median(dim=0).values
    return (lower + upper) / 2


def _check(reduce: str) -> None:
    if reduce not in ("mean", "median"):
        raise UnknownNameError("self-ensemble", reduce, ("mean", "median"))
