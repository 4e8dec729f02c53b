"""Padding by reflection on images of any size, smaller ones than the padding too; knows no network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def reflect_pad(image: Tensor, pad: int | tuple[int, int, int, int]) -> Tensor:
    """(batch, channel, y, x) with its mirror image around it; the outermost pixel is the mirror and is not repeated.

    Where an axis is too short for its padding it is mirrored again and again; an axis of one pixel repeats it.

    Args:
        image: (batch, channel, y, x).
        pad: pixels on every side, or (left, right, top, bottom).
    """
    left, right, top, bottom = (pad,) * 4 if isinstance(pad, int) else pad
    height, width = image.shape[-2:]
    if max(top, bottom) < height and max(left, right) < width:
        return F.pad(image, (left, right, top, bottom), mode="reflect")
    rows = _mirrored(height, before=top, after=bottom, device=image.device)
    columns = _mirrored(width, before=left, after=right, device=image.device)
    return image.index_select(-2, rows).index_select(-1, columns)


def _mirrored(length: int, *, before: int, after: int, device: torch.device) -> Tensor:
    period = max(2 * (length - 1), 1)
    places = torch.arange(-before, length + after, device=device).remainder(period)
    return torch.minimum(places, period - places) if length > 1 else torch.zeros_like(places)
