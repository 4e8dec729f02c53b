"""Windows of an image through a function, several at a time; knows no plan, no blending and no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from eorestore.errors import UsageError
from eorestore.raster.grid import Window

Predict = Callable[[Tensor], Tensor]


def predicted_windows(
    predict: Predict, image: Tensor, windows: Iterable[Window], *, scale: int, batch: int
) -> Iterator[Tensor]:
    """What `predict` makes of every window, in their order.

    Args:
        predict: (item, band, y, x) -> (item, any band, scale * y, scale * x); items must not depend on each other.
        image: (item, band, y, x).
        windows: inside the image, all of one size.
        scale: output pixels per input pixel along an axis.
        batch: windows handed to `predict` at once, each with all items of the image; the last call may hold fewer.

    Raises:
        UsageError: the image has not four axes, or a prediction has another size than the window asks for.
    """
    if image.dim() != 4:
        raise UsageError(f"an image of shape {tuple(image.shape)}", fix="give (batch, band, y, x)")
    if scale < 1 or batch < 1:
        raise UsageError(f"scale {scale} with {batch} windows at a time", fix="give whole numbers from 1 on")
    waiting = iter(windows)
    while group := list(islice(waiting, batch)):
        pieces = torch.cat([image[..., window.rows, window.columns] for window in group])
        predicted = predict(pieces)
        height, width = pieces.shape[-2:]
        if len(predicted) != len(pieces) or predicted.shape[-2:] != (height * scale, width * scale):
            raise UsageError(
                f"patches of shape {tuple(pieces.shape)} came back as {tuple(predicted.shape)}",
                fix=f"predict must enlarge every patch {scale} times",
            )
        items = len(image)
        yield from (predicted[index * items : (index + 1) * items] for index in range(len(group)))


def enlarged(window: Window, scale: int) -> Window:
    """The same place in an image of `scale` times as many pixels along an axis."""
    return Window(window.row * scale, window.column * scale, window.height * scale, window.width * scale)
