"""How far indices of vegetation and water lie from those of the reference; knows bands by name, no sensor's scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eorestore.errors import BandError
from eorestore.metrics.fidelity import aligned, mean_of_item

INDICES: Mapping[str, tuple[str, str]] = {
    "ndvi": ("B08", "B04"),  # (near infrared - red) / (near infrared + red), Rouse et al. 1974
    "ndwi": ("B03", "B08"),  # (green - near infrared) / (green + near infrared), McFeeters 1996
}
_LEAST = 1e-6  # reflectances whose sum is smaller have no index


def index_error(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor,
    region: Tensor | None = None,
    index: str,
    bands: Sequence[str],
) -> Tensor:
    """Mean absolute difference of a normalised difference index; in [0, 2], lower is better.

    Pixels whose reference has no index (both reflectances 0) do not count; a prediction without one has index 0.

    Args:
        prediction: (batch, band, y, x) or (band, y, x), reflectance.
        target: the same shape.
        valid: (batch, 1, y, x) or (1, y, x) bool; what lies outside cannot change the score, NaN included.
        region: bool like `valid`; only valid pixels inside it count. None: all valid pixels.
        index: name in INDICES.
        bands: names of the images' bands.

    Returns:
        (batch,), or a scalar for a single image; float64; NaN where no pixel counts.

    Raises:
        BandError: a band of the index is not among `bands`.
    """
    prediction, target, _, counted = aligned(prediction, target, valid, region)
    error = index_difference(prediction, target, index=index, bands=bands)
    return mean_of_item(error, counted & ~error.isnan())


def index_difference(prediction: Tensor, target: Tensor, *, index: str, bands: Sequence[str]) -> Tensor:
    """|index of p - index of t| a pixel, (..., 1, y, x); NaN where the target has none. Raises BandError."""
    wanted = INDICES[index]
    if not has_index(index, bands):
        raise BandError(
            f"{index} needs the bands {' and '.join(wanted)}, and there are {', '.join(bands)}",
            fix=f"leave {index} out for these images",
        )
    rows = [list(bands).index(name) for name in wanted]
    truth = _normalized_difference(target, rows)
    found = _normalized_difference(prediction, rows)
    return (torch.nan_to_num(found, nan=0.0) - truth).abs()


def has_index(index: str, bands: Sequence[str]) -> bool:
    """Whether `bands` hold both bands of the index."""
    return all(name in bands for name in INDICES[index])


def _normalized_difference(image: Tensor, rows: list[int]) -> Tensor:
    """(a - b) / (a + b) of two bands, negative reflectance taken as 0; NaN where there is no light at all."""
    first, second = (image[..., row : row + 1, :, :].clamp_min(0) for row in rows)
    total = first + second
    nothing = total < _LEAST
    share = (first - second) / torch.where(nothing, torch.ones_like(total), total)
    return torch.where(nothing, torch.full_like(total, torch.nan), share)
