"""Regression from SAR to the ground of one scene, fitted on its clear pixels; knows no network and no file.

Tensors are (batch, band, y, x). Two forms: plain least squares, which is what the baselines do, and `fit_ground`, which
also bends and knows what it is worth elsewhere in the scene.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from eorestore.errors import MaskError
from eorestore.layers.sobel import gaussian_blur

SIGMAS = (2.0, 6.0)  # Gaussian widths in pixels at which the SAR image is seen, besides the image itself
REACH = 18  # pixels: three times the widest
WAVES = 64
_RIDGE, _RIDGE_WAVES = 1e-3, 1e-4
_FREQUENCY, _AMPLITUDE = 4.0, 0.3  # of the waves, whose features lie between 0 and 1
_BLOCKS = 16  # of the scene, each left out once
_ENOUGH = 3  # clear pixels for every coefficient, below which nothing is said
_PIXELS = 65536  # at a time: the waves of as many pixels take 17 MB

Windows = Sequence[tuple[Tensor, Tensor, Tensor]]  # of (features, bands, mask), mask 1 where a pixel is hidden


class _Sums(NamedTuple):
    """What a block adds to the normal equations: gram (feature + 1, same), moment (feature + 1, band), squares (band,).

    The last feature is 1, so that gram[-1, -1] is the number of pixels.
    """

    gram: Tensor
    moment: Tensor
    squares: Tensor


def sar_features(sar: Tensor) -> Tensor:
    """(batch, feature, y, x): the SAR bands as they are and smoothed by each of SIGMAS; linear in dB.

    A missing band (NaN) gives features of 0, which the regression's ridge leaves without weight.
    """
    sar = torch.nan_to_num(sar, nan=0.0)
    return torch.cat([sar, *(gaussian_blur(sar, sigma) for sigma in SIGMAS)], dim=1)


def fit_regression(windows: Windows) -> Tensor:
    """Least squares from features to bands over clear pixels: coefficients (feature + 1, band), constant last.

    A small ridge keeps the normal equations solvable where a feature is constant. Raises MaskError without clear
    pixels.
    """
    total = _total([_sums(features, bands, mask < 0.5) for features, bands, mask in windows])
    if total is None or float(total.gram[-1, -1]) < len(total.gram):
        raise MaskError("too few clear pixels for a regression", fix="give a tighter mask or a larger scene")
    return _solve(total, _RIDGE).float()


def apply_regression(features: Tensor, coefficients: Tensor) -> Tensor:
    """Bands (batch, band, y, x) from features and coefficients (feature + 1, band) or (batch, feature + 1, band)."""
    if coefficients.ndim == 2:
        coefficients = coefficients[None]
    weights, constant = coefficients[:, :-1], coefficients[:, -1]
    return torch.einsum("bfyx,bfc->bcyx", features, weights.expand(len(features), -1, -1)) + constant[..., None, None]


def fit_ground(windows: Windows, *, bends: bool = True) -> Tensor:
    """Regression that bends and is trusted as far as it carries: coefficients (feature + WAVES + 1, band).

    The mean of two fits: on the features, and on them with random Fourier features beside them (Rahimi and Recht 2007),
    whose errors differ. What SAR says of the ground in one part of a scene need not hold in another, so that each
    fit is measured on sixteen blocks of the scene, each left out once, and drawn towards the mean of the clear pixels
    by one factor, the best for those blocks. Without `bends` the first fit alone, whose value for the mean of some
    pixels is the mean of its values. Raises MaskError without clear pixels.
    """
    across = max(1, math.ceil(math.sqrt(_BLOCKS / max(len(windows), 1))))
    blocks = []
    for features, bands, mask in windows:
        clear = mask < 0.5
        for rows in _parts(clear.shape[-2], across):
            for columns in _parts(clear.shape[-1], across):
                block = (..., rows, columns)
                if bool(clear[block].any()):
                    seen = with_waves(features[block]) if bends else features[block]
                    blocks.append(_sums(seen, bands[block], clear[block]))
    total = _total(blocks)
    plain = 0 if total is None else len(total.gram) - WAVES * bends
    if total is None or float(total.gram[-1, -1]) < plain:
        raise MaskError("too few clear pixels for a regression", fix="give a tighter mask or a larger scene")
    chosen = [*range(plain - 1), len(total.gram) - 1]
    linear = _trusted([_of(one, chosen) for one in blocks], _RIDGE)
    bent = _trusted(blocks, _RIDGE_WAVES) if bends else None
    if linear is None:
        linear = _solve(_of(total, chosen), _RIDGE)
    straight = widened(linear.float())
    return straight if bent is None else (straight + bent.float()) / 2


def widened(coefficients: Tensor) -> Tensor:
    """Coefficients (feature + 1, band) of a linear regression as `ground_from_sar` takes them."""
    waves = coefficients.new_zeros(WAVES, coefficients.shape[1])
    return torch.cat([coefficients[:-1], waves, coefficients[-1:]])


def ground_from_sar(features: Tensor, coefficients: Tensor) -> Tensor:
    """Bands (batch, band, y, x) from features and `fit_ground`'s coefficients, with a batch axis in front or none."""
    rows = max(1, _PIXELS // features.shape[-1])
    precise = contextlib.nullcontext() if features.is_meta else torch.autocast(features.device.type, enabled=False)
    with precise:
        strips = torch.split(features.float(), rows, dim=-2)
        return torch.cat([apply_regression(with_waves(strip), coefficients) for strip in strips], dim=-2)


def with_waves(features: Tensor) -> Tensor:
    """Features (batch, feature, y, x) and WAVES cosines of random directions among them, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    directions = _FREQUENCY * torch.randn(WAVES, features.shape[1], generator=generator)
    phases = 2 * math.pi * torch.rand(WAVES, generator=generator)
    directions, phases = directions.to(features), phases.to(features)
    angles = torch.einsum("bfyx,wf->bwyx", features, directions) + phases[:, None, None]
    return torch.cat([features, _AMPLITUDE * torch.cos(angles)], dim=1)


def _parts(length: int, parts: int) -> list[slice]:
    edges = [length * part // parts for part in range(parts + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(edges)]


def _sums(features: Tensor, bands: Tensor, clear: Tensor) -> _Sums:
    rows = features.movedim(1, -1)[clear[:, 0]].double()
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    targets = bands.movedim(1, -1)[clear[:, 0]].double()
    return _Sums(rows.T @ rows, rows.T @ targets, targets.square().sum(dim=0))


def _of(sums: _Sums, chosen: list[int]) -> _Sums:
    """The sums of the chosen features alone."""
    return _Sums(sums.gram[chosen][:, chosen], sums.moment[chosen], sums.squares)


def _total(blocks: Sequence[_Sums]) -> _Sums | None:
    return _Sums(*(torch.stack(parts).sum(dim=0) for parts in zip(*blocks, strict=True))) if blocks else None


def _solve(sums: _Sums, ridge: float) -> Tensor:
    added = torch.full_like(sums.gram.diagonal(), ridge * float(sums.gram[-1, -1]))
    added[-1] = 0
    solution: Tensor = torch.linalg.solve(sums.gram + torch.diag(added), sums.moment)
    return solution


def _trusted(blocks: Sequence[_Sums], ridge: float) -> Tensor | None:
    """Least squares over all blocks, shrunk as the blocks left out ask for; None where the rest is always too small."""
    total = _total(blocks)
    if total is None:
        return None
    agreement, power, spread = [], [], []
    for block in blocks:
        rest = _Sums(*(whole - part for whole, part in zip(total, block, strict=True)))
        if float(rest.gram[-1, -1]) < _ENOUGH * len(rest.gram):
            continue
        mean = rest.moment[-1] / rest.gram[-1, -1]
        departure = _solve(rest, ridge)
        departure[-1] -= mean
        agreement.append((departure * block.moment).sum(dim=0) - mean * (block.gram[-1] @ departure))
        power.append((departure * (block.gram @ departure)).sum(dim=0))
        spread.append(block.squares - 2 * mean * block.moment[-1] + mean**2 * block.gram[-1, -1])
    if not spread:
        return None
    weight = 1 / torch.stack(spread).sum(dim=0).clamp_min(1e-12)  # bands count equally
    kept = (weight @ torch.stack(agreement).sum(dim=0)) / (weight @ torch.stack(power).sum(dim=0)).clamp_min(1e-12)
    solution = _solve(total, ridge) * kept.clamp(0, 1)
    solution[-1] += (1 - kept.clamp(0, 1)) * total.moment[-1] / total.gram[-1, -1]
    return solution
