"""Whether a mask leaves out the rim of clouds and shadows, told from the scene alone; knows no file.

Our own method. What lies right beside a mask is compared with the mean of what lies a little farther away. Beside a
mask that covers its clouds the two differ as ground does, in any direction; beside one that is too narrow they differ
towards cloud or shadow, all around. A matched filter (Manolakis, Marden and Shaw 2003) with the covariance of the
ground farther away weighs the bands, so that a hundredth of a cloud can be seen where the ground is calm.

Its limits were set on training and validation places (eight skies each at 10 to 70 % of cloud) and on the real scene of
benchmarks/real_clouds.py, by trials without record: none of 448 masks that fit was doubted, and of masks too narrow by
a pixel 98 in a hundred were. benchmarks/tight_masks.py scores what it is worth on test places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from eorestore.models.model import SceneSample
from eorestore.models.veil import towards_cloud_and_shadow

STEP, MOST = 3, 9  # pixels: by how much a mask grows at once, and at most
_BESIDE, _AWAY = 2.0, (4.0, 10.0)  # pixels from the mask: what is looked at, and what it is compared with
_SMOOTH, _NEAR_ENOUGH = 4.0, 0.01  # of the mean of what is away: pixels, and least weight
_BLOCK = 12  # pixels: side of the pieces that count as independent
_LEAST_PIXELS, _LEAST_BLOCKS = 100, 8
_LEAST_SHARES = (0.01, 0.05)  # of a thick cloud, and of the light: less does no harm
_SIGMAS = (4.0, 5.0)  # standard errors of either from which on it is no chance
_LOADING = 0.01  # reflectance: a filter must not lean on bands that happen to be calm

_Image = NDArray[np.float32]


def missed_rim(pieces: Sequence[tuple[Tensor, Tensor]]) -> int:
    """By how many pixels the masks should be wider so that what lies beside them is clear.

    A multiple of `STEP` up to `MOST`, 0 where too little is clear to tell.

    pieces: (bands (1, band, y, x) as normalised reflectance, mask (1, 1, y, x), 1 where it hides) of one scene at full
    resolution.
    """
    wider = 0
    while wider < MOST and _is_missed([(bands, widen_mask(mask, wider)) for bands, mask in pieces]):
        wider += STEP
    return wider


def with_wider_mask(scene: SceneSample, pixels: int) -> SceneSample:
    """The scene with masks that are wider by so many of its pixels, or more where the overview is coarse."""
    if pixels == 0:
        return scene
    overview = {**scene.overview, "mask": widen_mask(scene.overview["mask"], math.ceil(pixels / scene.factor))}
    windows = tuple({**window, "mask": widen_mask(window["mask"], pixels)} for window in scene.windows)
    return replace(scene, overview=overview, windows=windows)


def widen_mask(mask: Tensor, pixels: int) -> Tensor:
    """`mask` (1, 1, y, x), 1 also where a masked pixel is at most that many pixels away."""
    if pixels <= 0 or not bool((mask > 0).any()):
        return mask
    near = _distance(mask) <= pixels
    return torch.maximum(mask, torch.from_numpy(near)[None, None].to(mask))


def _distance(mask: Tensor) -> _Image:
    return np.asarray(distance_transform_edt((mask[0, 0] < 0.5).cpu().numpy()), dtype=np.float32)


def _is_missed(pieces: Sequence[tuple[Tensor, Tensor]]) -> bool:
    under = torch.cat([bands.movedim(1, -1)[mask[:, 0] > 0.5] for bands, mask in pieces])
    found = [
        _differences(bands[0].cpu().numpy(), _distance(mask)) for bands, mask in pieces if bool((mask > 0.5).any())
    ]
    if not found:
        return False
    beside, away, ground = (np.concatenate([piece[index] for piece in found], axis=-1) for index in range(3))
    # Blocks of different pieces are different blocks.
    labels = [(number, *label) for number, piece in enumerate(found) for label in zip(*piece[3], strict=True)]
    if min(beside.shape[1], away.shape[1]) < _LEAST_PIXELS or len(set(labels)) < _LEAST_BLOCKS:
        return False
    blocks = np.unique(np.array(labels), axis=0, return_inverse=True)[1].reshape(-1)
    covariance = np.cov(away) + _LOADING**2 * np.eye(len(away))
    mean = torch.from_numpy(ground.mean(axis=1)).to(under)
    directions = towards_cloud_and_shadow(under, ground=mean).double().cpu().numpy()
    weights = np.linalg.solve(covariance, directions)
    shares = np.linalg.solve(directions.T @ weights, weights.T) @ beside
    limits = zip(shares, _LEAST_SHARES, _SIGMAS, strict=True)
    return any(_is_sure(share, blocks, least, sigmas) for share, least, sigmas in limits)


def _differences(bands: _Image, distance: _Image) -> tuple[_Image, _Image, _Image, NDArray[np.int64]]:
    """Beside the mask and away from it: bands less the mean of what is away; those means; blocks of the former."""
    away = (distance > _AWAY[0]) & (distance <= _AWAY[1])
    weight = gaussian_filter(away.astype(np.float32), _SMOOTH)
    enough = weight > _NEAR_ENOUGH
    beside = (distance > 0) & (distance <= _BESIDE) & enough
    mean = np.stack([gaussian_filter(band * away, _SMOOTH) for band in bands]) / np.maximum(weight, _NEAR_ENOUGH)
    return (
        (bands - mean)[:, beside],
        (bands - mean)[:, away & enough],
        mean[:, beside],
        np.stack(np.nonzero(beside)) // _BLOCK,
    )


def _is_sure(share: NDArray[np.float64], blocks: NDArray[np.int64], least: float, sigmas: float) -> bool:
    """Whether the mean is above `least` and, blocks being independent, above that many of its standard errors."""
    mean = share.mean()
    sums, counts = np.bincount(blocks, share), np.bincount(blocks)
    error = np.sqrt(np.square(sums - mean * counts).sum()) / len(share)
    return bool(mean > max(least, sigmas * error))
