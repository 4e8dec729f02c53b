"""Whether borders of patches show in an image; knows no model and no unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from torch import Tensor

from eorestore.errors import UsageError
from eorestore.metrics.sar_planes import Mask, Plane, each_band
from eorestore.tiling.tiles import TilePlan


def seam_strength(image: Tensor, *, valid: Tensor, rows: Sequence[int] = (), columns: Sequence[int] = ()) -> Tensor:
    """Mean |second difference| across the borders of patches over that elsewhere, mean over bands. From 0; 1: no seam.

        sum over borders of |x[i - 1] - 2 x[i] + x[i + 1]| / sum over borders of the mean of the same elsewhere

    Second differences run down across the borders of `rows`, and to the right across those of `columns`; one counts
    as across a border if the border lies between two of its three pixels. "Elsewhere" is taken along the same axis, so
    that an image rougher down than across has strength 1 as well. Slopes do not count, steps and kinks do. Lower is
    better above 1; below 1 the borders are smoother than the rest. Noise moves it by about 1 / sqrt(pixels at borders).
    Where patches overlap, both edges of each overlap are borders: `patch_borders` lists them.

    Args:
        image: (batch, band, y, x) or (band, y, x), in any unit.
        valid: (batch, 1, y, x) or (1, y, x) bool; second differences of three valid pixels count.
        rows: the first row below each border.
        columns: the first column to the right of each border.

    Returns:
        (batch,), or a scalar for a single image; float64; NaN where nothing counts at the borders or nothing varies,
        infinite where it varies at the borders alone.

    Raises:
        UsageError: a border that does not lie inside the image.
        DataError: the shapes do not fit.
    """
    for name, places, length in (("row", rows, image.shape[-2]), ("column", columns, image.shape[-1])):
        outside = [place for place in places if not 0 < place < length]
        if outside:
            raise UsageError(
                f"no border lies before {name} {outside[0]} of {length}",
                fix=f"give the first {name} behind every border, 1 to {length - 1}",
            )
    return each_band(partial(_seam_strength, borders=(rows, columns)), image, valid=valid)


def patch_borders(plan: TilePlan, *, scale: int = 1) -> tuple[list[int], list[int]]:
    """Rows and columns at which a patch of the plan begins or ends inside the scene, in output pixels."""
    rows = {edge for row in plan.rows for edge in (row[0].core.row, row[0].core.row + row[0].core.height)}
    columns = {edge for tile in plan.rows[0] for edge in (tile.core.column, tile.core.column + tile.core.width)}
    down, across = (sorted(edges - {0, length}) for edges, length in zip((rows, columns), plan.size, strict=True))
    return [edge * scale for edge in down], [edge * scale for edge in across]


def _seam_strength(image: Plane, valid: Mask, *, borders: tuple[Sequence[int], Sequence[int]]) -> float:
    found = expected = 0.0
    for axis, places in enumerate(borders):
        x, seen = np.moveaxis(image, axis, 0), np.moveaxis(valid, axis, 0)
        if len(x) < 3 or not len(places):
            continue
        bend = np.abs(np.diff(x, n=2, axis=0))
        whole = seen[:-2] & seen[1:-1] & seen[2:]
        middle = np.arange(1, len(x) - 1)
        across = (np.isin(middle, places) | np.isin(middle + 1, places))[:, None]
        at_borders, elsewhere = bend[whole & across], bend[whole & ~across]
        if at_borders.size and elsewhere.size:
            found += float(at_borders.sum())
            expected += float(elsewhere.mean()) * at_borders.size
    if expected == 0:
        return math.inf if found > 0 else math.nan
    return found / expected
