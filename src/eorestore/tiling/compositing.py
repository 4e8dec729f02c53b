"""Observed and restored pixels in one image: clear ones stay as they are, the seam is closed by a smooth membrane.

Knows no file and no model. Everything has finite support (`MARGIN` pixels), so that blocks give the same pixels
as the whole scene.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from eorestore.raster.encoding import Encoding

FADE = 16  # pixels over which the membrane fades inwards
RING = 4  # width of the clear ring on which it is measured
_SIGMA = 8.0
_TRUNCATE = 3.0
MARGIN = 32  # >= RING + SIGMA * TRUNCATE and >= FADE
_COLUMNS = 512


class Source(IntEnum):
    """Where a pixel of the result comes from."""

    NODATA = 0
    OBSERVED = 1
    RESTORED = 2


def compose(
    raw: NDArray[Any],
    restored: NDArray[Any],
    *,
    valid: NDArray[np.bool_],
    mask: NDArray[np.bool_] | None,
    encoding: Encoding,
    rows: slice,
    encoded: bool = False,
    unclear: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Raw result and source layer for `rows` of a block that carries up to MARGIN rows around them.

    raw: (band, y, x) as stored. restored: the same bands in physical units. mask: True where a pixel is to be
    replaced; None replaces every valid pixel and draws no seam. Unmasked and invalid pixels are copied bit by
    bit. No value under the mask enters the result. encoded: `restored` is raw already (without a mask only).
    unclear: the mask and what beside it is no clear ground either, so that the seam is not measured on it.
    """
    if mask is None:
        coded = restored[:, rows] if encoded else encoding.encode(restored[:, rows])
        source = np.where(valid[rows], np.uint8(Source.RESTORED), np.uint8(Source.NODATA))
        return (coded if valid[rows].all() else np.where(valid[rows], coded, raw[:, rows])), source
    result = raw[:, rows].copy()
    source = np.where(valid[rows], np.uint8(Source.OBSERVED), np.uint8(Source.NODATA))
    width = raw.shape[2]
    unclear = mask if unclear is None else unclear
    for first in range(0, width, _COLUMNS):
        last = min(first + _COLUMNS, width)
        wanted = (mask & valid)[rows, first:last]
        if not wanted.any():
            continue
        left, right = max(first - MARGIN, 0), min(last + MARGIN, width)
        piece = restored[:, :, left:right] + membrane(
            encoding.decode(raw[:, :, left:right]),
            restored[:, :, left:right],
            unclear[:, left:right],
            valid[:, left:right],
        )
        coded = encoding.encode(np.ascontiguousarray(piece[:, rows, first - left : last - left]))
        np.copyto(result[:, :, first:last], coded, where=wanted)
        source[:, first:last][wanted] = Source.RESTORED
    return result, source


def membrane(
    observed: NDArray[np.float32],
    restored: NDArray[np.float32],
    mask: NDArray[np.bool_],
    valid: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """A smooth surface of (observed - restored), measured on the clear ring around the mask, fading inwards.

    All arrays (band, y, x) or (y, x). Formula: m = fade(d) * G(ring * difference) / G(ring), G a Gaussian of 8
    pixels cut at 24, fade a raised cosine that falls from 1 at the edge of the mask to 0 at FADE pixels inside.
    """
    clear = valid & ~mask
    ring = clear & (distance_transform_edt(~mask) <= RING) if mask.any() else np.zeros_like(mask)
    if not ring.any():
        return np.zeros_like(restored)
    weight = _smooth(ring.astype(np.float32))
    depth = np.minimum(distance_transform_edt(mask), FADE)
    fade = 0.5 + 0.5 * np.cos(np.pi * depth / FADE)
    gain = np.where(mask & (weight > 1e-6), fade / np.maximum(weight, 1e-6), 0).astype(np.float32)
    surface = np.empty_like(restored)
    for band in range(len(restored)):
        difference = np.where(ring, observed[band] - restored[band], np.float32(0))
        surface[band] = _smooth(difference) * gain
    return surface


def _smooth(values: NDArray[np.float32]) -> NDArray[np.float32]:
    smoothed: NDArray[np.float32] = gaussian_filter(values, _SIGMA, truncate=_TRUNCATE, mode="constant")
    return smoothed
