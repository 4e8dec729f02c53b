"""Adaptive unsharp mask: sharpens where there is detail already; knows no file, no model and no unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter1d

from eorestore.errors import DataError, UsageError

_SIDE = 5  # of the box that evens out the Laplacian energy
_Plane = NDArray[np.float64]


def adaptive_unsharp(
    values: NDArray[np.float32],
    *,
    valid: NDArray[np.bool_],
    sigma: float = 1.0,
    strength: float = 0.5,
    mixture: float = 0.3,
    largest: float | None = None,
) -> NDArray[np.float32]:
    """An image whose details are made stronger where it has strong ones, band by band.

        y = x + mixture * energy / max(energy) * strength * (x - G x)

    G is a Gaussian blur, energy the mean of |Laplacian of x| (four neighbours) over 5 x 5 pixels. No more than
    mixture * strength of the detail x - G x is added, and that only where the energy is largest.

    This changes radiometry: local means are not kept, nothing is nearer to what was observed, and an image that is
    consistent with its input no longer is. It is for looking at, nothing here applies it by itself, and a projection
    onto the input belongs after it. Since the largest energy is that of the whole image, a tile of an image comes out
    otherwise than the image: apply it once, to the whole, or give tiles the `largest` of the whole.

    The plan that this follows mixes the sharpened image into the plain one by the same weight, and then clips to
    [0, 1], which cuts off whatever is hotter or colder. Here nothing is clipped; it leaves open how the energy is
    normalised and evened out, here by its largest value and a box; and gaps are left out, where it sharpened across
    them: blur and energy are means over valid pixels, a Laplacian has no neighbour in a gap. The image goes on beyond
    its edges as in a mirror, the outermost pixel not repeated.

    Args:
        values: (band, y, x), in any unit.
        valid: (y, x); what lies outside cannot change what lies inside, NaN included, and comes back as it was.
        sigma: of the blur, in pixels; it is cut at four sigma.
        strength: gain of the detail.
        mixture: weight of the sharpened image where the energy is largest, 0 to 1.
        largest: energy that counts as the largest, see `largest_energy`; None takes that of the band. Where there is
            more of it, the weight stays at `mixture`.

    Returns:
        (band, y, x), of the dtype that came in.

    Raises:
        DataError: shapes that do not fit.
        UsageError: a sigma, strength or mixture that cannot be.
    """
    if values.ndim != 3 or valid.shape != values.shape[1:]:
        raise DataError(
            f"values of shape {values.shape} with a mask of shape {valid.shape}",
            fix="give (band, y, x) and (y, x) of one size",
        )
    if sigma <= 0 or strength < 0 or not 0 <= mixture <= 1:
        raise UsageError(
            f"an unsharp mask of sigma {sigma:g}, strength {strength:g} and mixture {mixture:g}",
            fix="give a sigma above 0, a strength from 0 on and a mixture from 0 to 1",
        )
    seen = valid.astype(np.float64)
    around = {"blur": _gaussian(seen, sigma), "box": _box(seen)}
    result = values.copy()
    for band, plane in enumerate(values):
        x = np.where(valid, plane, 0.0).astype(np.float64)
        energy = _over(_box(np.abs(_laplacian(x, seen))), around["box"], valid)
        peak = energy.max(initial=0.0) if largest is None else largest
        if peak > 0:
            detail = np.where(valid, x - _over(_gaussian(x, sigma), around["blur"], valid), 0.0)
            sharpened = x + mixture * strength * np.minimum(energy / peak, 1.0) * detail
            result[band][valid] = sharpened[valid].astype(values.dtype)
    return result


def largest_energy(values: NDArray[np.float32], *, valid: NDArray[np.bool_]) -> float:
    """The largest Laplacian energy of (band, y, x), as `adaptive_unsharp` has it; 0 where nothing is valid."""
    seen = valid.astype(np.float64)
    weight = _box(seen)
    planes = [np.where(valid, plane, 0.0).astype(np.float64) for plane in values]
    return max(
        (float(_over(_box(np.abs(_laplacian(x, seen))), weight, valid).max(initial=0.0)) for x in planes), default=0.0
    )


def _over(total: _Plane, weight: _Plane, valid: NDArray[np.bool_]) -> _Plane:
    return np.divide(total, weight, out=np.zeros_like(total), where=valid)


def _gaussian(plane: _Plane, sigma: float) -> _Plane:
    return np.asarray(gaussian_filter(plane, sigma, mode="mirror"))


def _box(plane: _Plane) -> _Plane:
    rows = uniform_filter1d(plane, _SIDE, axis=0, mode="mirror")
    return np.asarray(uniform_filter1d(rows, _SIDE, axis=1, mode="mirror"))


def _laplacian(x: _Plane, seen: _Plane) -> _Plane:
    """Sum of the differences to the valid ones of the four neighbours; 0 where the pixel itself is none."""
    image, weight = np.pad(x, 1, mode="reflect"), np.pad(seen, 1, mode="reflect")
    total = np.zeros_like(x)
    for rows, columns in ((0, 1), (2, 1), (1, 0), (1, 2)):
        place = slice(rows, rows + x.shape[0]), slice(columns, columns + x.shape[1])
        total += weight[place] * (image[place] - x)
    return total * seen
