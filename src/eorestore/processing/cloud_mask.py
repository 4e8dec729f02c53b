"""Cloud and shadow from thresholds on reflectance; works on L1C and on L2A without B10; knows no file.

The score follows the rule-based detector that GLF-CR carries (Xu et al. 2022, after Meraner et al. 2020 and Zhu's
Fmask 2012), with two terms of ours: a short-wave floor (snow is dark at 1.6 micrometres, cloud is not) and a
blue-to-red ratio (bright soil and sand are redder than cloud; thick cloud, which a low sun reddens, is brighter in the
blue than they are). A shadow counts only where a cloud lies towards the sun, since dark fields and water pass every
spectral test for shadow. Statistics of the shadow test are taken once for the scene, so that tiles agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, distance_transform_edt, grey_closing, median_filter, uniform_filter

from eorestore.errors import MaskError, MissingError
from eorestore.raster import Raster

NEEDED = ("B01", "B02", "B03", "B04", "B08", "B11")
THRESHOLD = 0.2
GROW = 4  # pixels by which clouds and shadows are widened
SHADOW_REACH = 80  # pixels from a cloud within which a shadow is believed
HALO = SHADOW_REACH + GROW + 8
WATER = 0.1  # normalised difference of green and near infrared above which a dark pixel is water, not shadow
_TOO_SMALL = 1e-6


@dataclass(frozen=True)
class ShadowLimits:
    """Upper limits of a shadow's reflectance in a scene: mean of B08 and B11, and B02."""

    infrared: float
    blue: float


def cloud_score(raster: Raster) -> NDArray[np.float32]:
    """Score (y, x) in [0, 1]; above THRESHOLD is cloud. Raises MaskError where a band of NEEDED is missing.

    The least of linear ramps r(x; a, b) = (x - a) / (b - a) over brightness, blue, short-wave infrared, colour
    and snow index; closed by 5 x 5 and averaged over 7 x 7 pixels. B10 is used where the scene has it.
    """
    missing = [name for name in NEEDED if name not in raster.bands]
    if missing:
        raise MaskError(
            f"the built-in cloud mask needs {', '.join(missing)}",
            fix="give a mask with --mask FILE, or --mask none to restore every pixel",
        )
    band = {name: raster.values[raster.bands.index(name)] for name in raster.bands.names}
    score = np.minimum(1.0, _ramp(band["B02"], 0.1, 0.5))
    terms = [
        _ramp(band["B01"], 0.1, 0.3),
        _ramp(band["B02"] + band["B03"] + band["B04"], 0.2, 0.8),
        _ramp(_ratio(band["B03"] - band["B11"], band["B03"] + band["B11"]), 0.8, 0.6),
        _ramp(band["B11"], 0.12, 0.22),
        np.maximum(_ramp(_ratio(band["B02"], band["B04"]), 0.85, 0.95), _ramp(band["B02"], 0.4, 0.5)),
    ]
    if "B10" in band:
        terms.append(_ramp(band["B01"] + band["B10"], 0.15, 0.2))
    for term in terms:
        np.minimum(score, term, out=score)
    closed = grey_closing(score.astype(np.float32), (5, 5))
    smoothed: NDArray[np.float32] = np.clip(uniform_filter(closed, 7), np.float32(0), np.float32(1))
    return smoothed


def shadow_limits(pieces: Sequence[Raster]) -> ShadowLimits:
    """Limits from pieces of a scene: CSI below min + 3/4 (mean - min), B02 below min + 5/6 (mean - min).

    Taken over valid pixels without cloud; the minimum is the 0.5th percentile, which a dead pixel cannot move.
    Without a clear pixel there is nothing to compare with, and no pixel is called shadow.
    """
    infrared, blue = [], []
    for piece in pieces:
        clear = piece.valid & (cloud_score(piece) <= THRESHOLD)
        infrared.append(_infrared(piece)[clear])
        blue.append(piece.values[piece.bands.index("B02")][clear])
    together = np.concatenate(infrared), np.concatenate(blue)
    if together[0].size == 0:
        return ShadowLimits(-math.inf, -math.inf)
    return ShadowLimits(_between(together[0], 3 / 4), _between(together[1], 5 / 6))


def cloud_and_shadow(
    raster: Raster, limits: ShadowLimits, *, sun_azimuth: float | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(cloud, shadow), both bool (y, x), before widening. Pixels within HALO of the block's edge need context.

    sun_azimuth: degrees clockwise from north; with it a shadow needs a cloud on the line towards the sun,
    without it any cloud within SHADOW_REACH pixels.
    """
    cloud = _without_specks(cloud_score(raster) > THRESHOLD) & raster.valid
    if not cloud.any():
        return cloud, np.zeros_like(cloud)
    dark = (_infrared(raster) < limits.infrared) & (raster.values[raster.bands.index("B02")] < limits.blue)
    green, near_infrared = (raster.values[raster.bands.index(name)] for name in ("B03", "B08"))
    dark &= green - near_infrared < WATER * (green + near_infrared)
    dark = median_filter(dark.astype(np.uint8), 5).astype(bool) & raster.valid & ~cloud
    if sun_azimuth is not None:
        return cloud, dark & _away_from_sun(cloud, sun_azimuth)
    return cloud, dark & widen(cloud, SHADOW_REACH)


def widen(mask: NDArray[np.bool_], pixels: int = GROW) -> NDArray[np.bool_]:
    """All pixels within `pixels` of the mask."""
    if not mask.any():
        return mask
    near: NDArray[np.bool_] = distance_transform_edt(~mask) <= pixels
    return near


def csmask(raster: Raster) -> NDArray[np.bool_]:
    """Cloud and shadow by the network of ukis-csmask (Apache-2.0), bool (y, x). Raises MissingError, MaskError.

    It expects pixels of about 30 m; at 10 m it calls bright fields cloud and dark ones shadow.
    """
    try:
        from ukis_csmask.mask import CSmask
    except ImportError:
        raise MissingError.package("ukis-csmask", "masks") from None
    names = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "swir16": "B11", "swir22": "B12"}
    missing = [name for name in names.values() if name not in raster.bands]
    if missing:
        raise MaskError(f"csmask needs {', '.join(missing)}", fix="use --mask auto or give a mask file")
    image = np.ascontiguousarray(raster.select(names.values()).values.transpose(1, 2, 0))
    level = "l1c" if "B10" in raster.bands else "l2a"
    classes = CSmask(image, band_order=list(names), product_level=level).csm
    covered: NDArray[np.bool_] = (np.squeeze(classes) > 0) & raster.valid
    return covered


def _without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Opened by 3 x 3 pixels; the scene's edge does not erode."""
    opened: NDArray[np.bool_] = binary_opening(np.pad(mask, 1, mode="edge"), np.ones((3, 3), bool))
    return opened[1:-1, 1:-1]


def _infrared(raster: Raster) -> NDArray[np.float32]:
    near, short = (raster.values[raster.bands.index(name)] for name in ("B08", "B11"))
    mean: NDArray[np.float32] = (near + short) / 2
    return mean


def _away_from_sun(cloud: NDArray[np.bool_], azimuth: float) -> NDArray[np.bool_]:
    near = np.zeros_like(cloud)
    wide = widen(cloud, 6)
    angle = math.radians(azimuth)
    for distance in range(0, SHADOW_REACH, 4):
        down, right = round(distance * math.cos(angle)), round(-distance * math.sin(angle))
        near |= _shifted(wide, down, right)
    return near


def _shifted(mask: NDArray[np.bool_], down: int, right: int) -> NDArray[np.bool_]:
    moved = np.zeros_like(mask)
    height, width = mask.shape
    if abs(down) >= height or abs(right) >= width:
        return moved
    target = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
    origin = slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0))
    moved[target] = mask[origin]
    return moved


def _ramp(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    return (values - low) / (high - low)


def _ratio(above: NDArray[np.float32], below: NDArray[np.float32]) -> NDArray[np.float32]:
    floor: NDArray[np.float32] = np.maximum(below, np.float32(_TOO_SMALL))
    return above / floor


def _between(values: NDArray[np.float32], share: float) -> float:
    low = float(np.percentile(values, 0.5))
    return low + share * (float(values.mean(dtype=np.float64)) - low)
