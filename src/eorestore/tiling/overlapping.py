"""Overlapping patches of an image in memory, blended by Gaussian weights; knows no model and no file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from eorestore.errors import UsageError
from eorestore.tiling.patches import Predict, predicted_windows
from eorestore.tiling.tiles import plan_tiles

_LEAST = 1e-6  # of the weight at a patch's centre: every pixel of a patch counts for something


def automatic_patch(scale: int) -> int:
    """Input pixels along a side of a patch: 128 up to x4, 96 up to x8, 64 beyond."""
    if scale < 1:
        raise UsageError(f"a scale of {scale}", fix="give a whole number from 1 on")
    if scale <= 4:
        return 128
    return 96 if scale <= 8 else 64


@torch.no_grad()
def overlapping_patches(
    predict: Predict,
    image: Tensor,
    *,
    scale: int,
    patch: int,
    overlap: float = 0.25,
    sigma: float = 0.3,
    fade: bool = True,
    batch: int = 4,
) -> Tensor:
    """The image through `predict` patch by patch; where patches overlap, their weighted mean.

    The weight of a pixel falls off from the centre of its patch as a Gaussian along either axis. A Gaussian alone has
    not fallen to nothing at the edge of a patch, so that a part of what two patches disagree on would stay there as a
    step; the fade takes it away. Patches are those of `plan_tiles`: the last one of an axis is moved back inside, and
    an axis shorter than a patch is one shorter patch. Where all patches agree, the result is what they agree on, bit
    by bit.

    Blending hides the borders of patches, it does not make their insides agree: for a model of known reach, tiles
    cropped out of a halo (`plan_tiles` with mode "crop") equal the whole image, and these do not.

    Args:
        predict: (item, band, y, x) -> (item, any band, scale * y, scale * x), floats.
        image: (batch, band, y, x).
        scale: output pixels per input pixel along an axis.
        patch: input pixels along a side, such as `automatic_patch(scale)`.
        overlap: share of a patch that two neighbours have in common at least, rounded to whole pixels; 0 to 0.5.
        sigma: of the Gaussian, in patches.
        fade: whether the Gaussian is multiplied by a ramp that rises linearly over each overlap.
        batch: patches handed to `predict` at once.

    Returns:
        (batch, any band, scale * y, scale * x), of the dtype and on the device of the predictions.

    Raises:
        UsageError: sizes that cannot serve, or predictions of another size.
    """
    if not 0 <= overlap <= 0.5 or sigma <= 0:
        raise UsageError(
            f"patches that share {overlap:g} of their side, weighted with sigma {sigma:g}",
            fix="give an overlap from 0 to 0.5 and a sigma above 0",
        )
    height, width = image.shape[-2:]
    plan = plan_tiles((height, width), tile=patch, overlap=min(round(overlap * patch), patch // 2))
    predictions = predicted_windows(predict, image, (tile.window for tile in plan), scale=scale, batch=batch)
    rows = [(row[0].core.row, row[0].core.height) for row in plan.rows]
    columns = [(tile.core.column, tile.core.width) for tile in plan.rows[0]]
    down, across = (_spans(one, sigma=sigma * patch, fade=fade, scale=scale) for one in (rows, columns))
    # Weights are products of one of the row and one of the column, so that one axis is blended after the other.
    strips = (_blended(islice(predictions, len(row)), across, axis=-1) for row in plan.rows)
    return _blended(strips, down, axis=-2)


@dataclass(frozen=True, eq=False)
class _Span:
    """Output pixels of a patch along an axis; share: its weight over that of all patches up to it, float64."""

    start: int
    share: Tensor


def _spans(spans: Sequence[tuple[int, int]], *, sigma: float, fade: bool, scale: int) -> list[_Span]:
    ends = [(start * scale, (start + length) * scale) for start, length in spans]
    total = torch.zeros(ends[-1][1], dtype=torch.float64)
    shares = []
    for index, (start, end) in enumerate(ends):
        place = torch.arange(start, end, dtype=torch.float64) + 0.5
        weight = torch.exp(-0.5 * ((place - (start + end) / 2) / (sigma * scale)) ** 2)
        if fade and index > 0:
            weight *= ((place - start) / max(ends[index - 1][1] - start, 1)).clamp_max(1)
        if fade and index + 1 < len(ends):
            weight *= ((end - place) / max(end - ends[index + 1][0], 1)).clamp_max(1)
        weight.clamp_min_(_LEAST)
        total[start:end] += weight
        shares.append(_Span(start, weight / total[start:end]))
    return shares


def _blended(pieces: Iterable[Tensor], spans: Sequence[_Span], *, axis: int) -> Tensor:
    """Pieces along an axis (-1 or -2) as one; a running mean, which equal values leave as it is."""
    mean: Tensor | None = None
    for piece, span in zip(pieces, spans, strict=True):
        if mean is None:
            shape = list(piece.shape)
            shape[axis] = spans[-1].start + len(spans[-1].share)
            mean = piece.new_zeros(shape)
        place = mean.narrow(axis, span.start, len(span.share))
        share = span.share.to(piece)
        place += (piece - place) * (share if axis == -1 else share[:, None])
    if mean is None:
        raise ValueError("no patch was made")
    return mean
