"""What coding does to uses of radar: band ratios, water, change, ships; knows no codec.

All images are in decibels. Shapes, `valid` and NaN as in metrics/sar.py.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from torch import Tensor

from eorestore.errors import DataError
from eorestore.metrics.sar_planes import Mask, Plane, box_mean, each_band, intensity, pooled

_BINS = 256
_NEAR, _FAR = 11, 21  # pixels: sides of the guard window and of the ring around it
_FACTOR = 8.0  # times the mean of the ring: 9 dB


def band_ratio_error_db(decoded: Tensor, original: Tensor, *, valid: Tensor, vv: int = 0, vh: int = 1) -> Tensor:
    """Root mean square error of VH / VV, that is of VH - VV in decibels; 0 is best.

    Args:
        decoded: in decibels, with both polarisations.
        original: the same.
        valid: bool; pixels that are valid in both bands count.
        vv: number of the band VV.
        vh: number of the band VH.

    Raises:
        DataError: there are not two such bands.
    """
    _check_bands(original, vv, vh)
    error = (decoded[..., [vh], :, :].double() - decoded[..., [vv], :, :].double()) - (
        original[..., [vh], :, :].double() - original[..., [vv], :, :].double()
    )
    both = _valid_in(valid, original, vv, vh)
    return pooled(lambda values: math.sqrt(float(np.mean(values**2))), error, valid=both)


def radar_vegetation_error(decoded: Tensor, original: Tensor, *, valid: Tensor, vv: int = 0, vh: int = 1) -> Tensor:
    """Root mean square error of the index 4 VH / (VV + VH) of intensities, in [0, 4]; 0 is best.

    The dual-polarised form of the radar vegetation index (Kim and van Zyl 2009). Arguments as in `band_ratio_error_db`.
    """
    _check_bands(original, vv, vh)
    found = []
    for image in (decoded.double(), original.double()):
        linear = 10 ** (image / 10)
        cross = linear[..., [vh], :, :]
        found.append(4 * cross / (linear[..., [vv], :, :] + cross))
    both = _valid_in(valid, original, vv, vh)
    return pooled(lambda values: math.sqrt(float(np.mean(values**2))), found[0] - found[1], valid=both)


def water_iou(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Intersection over union of two water masks, mean over bands; in [0, 1], higher is better.

    Water is what is darker than Otsu's threshold (1979; 256 bins in decibels) of the image itself. On a scene without
    water the masks hold its darker class, whatever that is.
    """
    return each_band(_water_iou, decoded, original, valid=valid)


def change_false_alarms(
    decoded: Tensor, original: Tensor, *, valid: Tensor, threshold_db: float = 1.0, side: int = 5
) -> Tensor:
    """Share of pixels that a log-ratio detector takes for changed between Z and Z', mean over bands; 0 is best.

    Changed is |10 log10(mean Z' / mean Z)| > threshold over `side` x `side` windows (Rignot and van Zyl 1993).

    Args:
        decoded: in decibels.
        original: the same.
        valid: bool; only whole valid windows count.
        threshold_db: in decibels.
        side: of the window, odd; 1 takes single pixels.
    """
    return each_band(partial(_false_alarms, threshold_db=threshold_db, side=side), decoded, original, valid=valid)


def ship_agreement(decoded: Tensor, original: Tensor, *, valid: Tensor) -> Tensor:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of bright points found in Z and in Z'; in [0, 1], higher is better.

    A cell-averaging detector of constant false-alarm rate: a pixel is found where its intensity is at least 8 times
    (9 dB) the mean of the ring between an 11 x 11 and a 21 x 21 window around it. Only whole valid windows count. NaN
    where nothing is found in either image.
    """
    return each_band(_ship_agreement, decoded, original, valid=valid)


def otsu_threshold(values: Plane) -> float:
    """The value that splits a list of values into two classes of largest between-class variance (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    sums = np.cumsum(counts * centres)
    gap = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(centres[np.argmax(below * above * gap**2)])


def _check_bands(image: Tensor, vv: int, vh: int) -> None:
    if max(vv, vh) >= image.shape[-3]:
        raise DataError(
            f"the image has {image.shape[-3]} band(s); the ratio of polarisations needs bands {vv} and {vh}",
            fix="give VV and VH in one image",
        )


def _valid_in(valid: Tensor, image: Tensor, vv: int, vh: int) -> Tensor:
    seen = valid.bool().expand(image.shape)
    return seen[..., [vv], :, :] & seen[..., [vh], :, :]


def _water_iou(decoded: Plane, original: Plane, valid: Mask) -> float:
    if not valid.any():
        return math.nan
    one, other = (image[valid] <= otsu_threshold(image[valid]) for image in (decoded, original))
    return float((one & other).sum() / (one | other).sum())


def _false_alarms(decoded: Plane, original: Plane, valid: Mask, *, threshold_db: float, side: int) -> float:
    after, whole = box_mean(intensity(decoded), valid, side=side)
    before, _ = box_mean(intensity(original), valid, side=side)
    if not whole.any():
        return math.nan
    return float((np.abs(10 * np.log10(after[whole] / before[whole])) > threshold_db).mean())


def _ship_agreement(decoded: Plane, original: Plane, valid: Mask) -> float:
    one, other = _bright_points(decoded, valid), _bright_points(original, valid)
    found = int(one.sum() + other.sum())
    return 2 * float((one & other).sum()) / found if found else math.nan


def _bright_points(image: Plane, valid: Mask) -> Mask:
    linear = intensity(image)
    far, whole = box_mean(linear, valid, side=_FAR)
    near, _ = box_mean(linear, valid, side=_NEAR)
    ring = (far * _FAR**2 - near * _NEAR**2) / (_FAR**2 - _NEAR**2)
    return np.asarray(whole & (linear >= _FACTOR * ring))
