"""Passes over an image in patches side by side, each with its grid elsewhere, and their mean; knows no model."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import torch
from torch import Tensor

from eorestore.errors import UsageError
from eorestore.raster.grid import Window
from eorestore.tiling.patches import Predict, enlarged, predicted_windows
from eorestore.tiling.tiles import Tile, TilePlan


@torch.no_grad()
def shifted_passes(
    predict: Predict,
    image: Tensor,
    *,
    scale: int,
    patch: int,
    passes: int = 6,
    offset: float = 0.33,
    seed: int,
    batch: int = 4,
) -> Tensor:
    """Mean over passes; each cuts the image into patches side by side, on a grid shifted at random.

    A border between patches lies elsewhere in another pass, so that the mean shows each with the strength of one pass
    only. Every pass answers for every pixel once. Passes whose cuts fall on the same pixels are predicted once and
    counted as often as they were drawn: an image no larger than a patch is one prediction.

    Args:
        predict: (item, band, y, x) -> (item, any band, scale * y, scale * x), floats.
        image: (batch, band, y, x).
        scale: output pixels per input pixel along an axis.
        patch: input pixels along a side.
        passes: number of grids.
        offset: largest shift down and to the right, as a share of a patch, 0 to 1; all whole pixels up to it are
            equally likely.
        seed: of the shifts; the same seed gives the same grids on every device.
        batch: patches handed to `predict` at once.

    Returns:
        (batch, any band, scale * y, scale * x), of the dtype and on the device of the predictions.

    Raises:
        UsageError: sizes that cannot serve, or predictions of another size.
    """
    if passes < 1 or not 0 <= offset <= 1:
        raise UsageError(
            f"{passes} passes shifted by up to {offset:g} of a patch",
            fix="give at least 1 pass and a share from 0 to 1",
        )
    height, width = image.shape[-2:]
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.randint(round(offset * patch) + 1, (passes, 2), generator=generator).tolist()
    plans = Counter(plan_shifted((height, width), patch=patch, shift=(down, right)) for down, right in shifts)
    mean: Tensor | None = None
    seen = 0
    for plan, times in plans.items():
        found = _one_pass(predict, image, plan, scale=scale, batch=batch)
        seen += times
        # A running mean leaves what all passes agree on as it is, bit by bit.
        mean = found if mean is None else mean + (found - mean) * (times / seen)
    if mean is None:
        raise ValueError("no pass was made")
    return mean


def plan_shifted(size: tuple[int, int], *, patch: int, shift: tuple[int, int] = (0, 0)) -> TilePlan:
    """Patches side by side, cut at `shift` (down, right), `shift` + `patch` and so on, that cover a scene once.

    A piece at the scene's edge that is narrower than a patch is read as a whole patch moved inside, of which only that
    piece is answered for. An axis no longer than a patch is not cut, so all windows are of one size.

    Raises:
        UsageError: a patch without pixels, or a negative shift.
    """
    if patch < 1 or min(shift) < 0:
        raise UsageError(
            f"patches of {patch} pixels shifted by {shift}", fix="give a patch from 1 on, shifts from 0 on"
        )
    down, across = (_pieces(length, patch, first) for length, first in zip(size, shift, strict=True))
    height, width = min(patch, size[0]), min(patch, size[1])
    rows = tuple(
        tuple(
            Tile(
                window=Window(min(row, size[0] - height), min(column, size[1] - width), height, width),
                core=Window(row, column, until_row - row, until_column - column),
            )
            for column, until_column in across
        )
        for row, until_row in down
    )
    return TilePlan(size, "crop", rows)


def _pieces(length: int, patch: int, first: int) -> list[tuple[int, int]]:
    cuts = [*range(first % patch, length, patch)] if length > patch else []
    borders = [0, *(cut for cut in cuts if cut > 0), length]
    return [*pairwise(borders)]


def _one_pass(predict: Predict, image: Tensor, plan: TilePlan, *, scale: int, batch: int) -> Tensor:
    result: Tensor | None = None
    windows = (tile.window for tile in plan)
    for tile, predicted in zip(plan, predicted_windows(predict, image, windows, scale=scale, batch=batch), strict=True):
        if result is None:
            result = predicted.new_empty(*predicted.shape[:-2], plan.size[0] * scale, plan.size[1] * scale)
        inner = enlarged(tile.core.relative_to(tile.window), scale)
        core = enlarged(tile.core, scale)
        result[..., core.rows, core.columns] = predicted[..., inner.rows, inner.columns]
    if result is None:
        raise ValueError("a plan without tiles")
    return result
