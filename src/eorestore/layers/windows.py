"""Square windows over feature maps: cut, merge, shift, mask and index; knows no network.

Everything is computed for the size at hand, so a network never carries the size it was trained on.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

BLOCKED = -100.0  # added to a logit: e^-100 leaves nothing of a token that is no neighbour


def cut_windows(features: Tensor, size: int) -> Tensor:
    """(batch, channel, y, x) -> (batch * windows, size * size, channel), windows row by row.

    y and x must be multiples of `size`.
    """
    return rearrange(features, "b c (wy sy) (wx sx) -> (b wy wx) (sy sx) c", sy=size, sx=size)


def merge_windows(tokens: Tensor, size: int, *, height: int, width: int) -> Tensor:
    """The inverse of `cut_windows`: (batch, channel, height, width)."""
    rows, columns = height // size, width // size
    return rearrange(tokens, "(b wy wx) (sy sx) c -> b c (wy sy) (wx sx)", wy=rows, wx=columns, sy=size, sx=size)


def cyclic_shift(features: Tensor, pixels: int) -> Tensor:
    """Roll (batch, channel, y, x) by `pixels` along both axes; a positive number rolls up and left."""
    return features.roll((-pixels, -pixels), (2, 3)) if pixels else features


def shift_mask(height: int, width: int, *, size: int, shift: int, device: torch.device | None = None) -> Tensor:
    """What to add to attention logits after `cyclic_shift`, so that opposite borders do not see each other.

    Swin Transformer (Liu et al., ICCV 2021). The roll brings pixels of the first `shift` rows and columns
    into the last windows; there, only tokens from the same side attend to each other.

    Returns:
        (windows, size * size, size * size), 0 where two tokens may meet and -100 where not.
    """
    rows = _sides(height, size, shift, device)
    columns = _sides(width, size, shift, device)
    regions = (3 * rows[:, None] + columns[None, :]).float()
    tokens = cut_windows(regions[None, None], size)[..., 0]
    apart = tokens[:, :, None] != tokens[:, None, :]
    return apart * BLOCKED


def _sides(length: int, size: int, shift: int, device: torch.device | None) -> Tensor:
    place = torch.arange(length, device=device)
    return (place >= length - size).long() + (place >= length - shift).long()


def relative_position_index(size: int) -> Tensor:
    """Row of the bias table for each pair of tokens in a window, (size * size, size * size), Swin's order.

    The table has (2 size - 1)^2 rows, one for each offset (dy, dx) between two tokens: row
    (dy + size - 1) * (2 size - 1) + dx + size - 1.
    """
    place = torch.arange(size)
    row, column = (axis.flatten() for axis in torch.meshgrid(place, place, indexing="ij"))
    offset_y = row[:, None] - row[None, :] + size - 1
    offset_x = column[:, None] - column[None, :] + size - 1
    return offset_y * (2 * size - 1) + offset_x
