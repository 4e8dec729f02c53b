"""A fixed set of validation items as one picture, a row an item: input, SAR, prediction, target; knows no model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_GAP = 4  # white pixels between panels


def write_pictures(path: Path, image: Tensor, batch: Mapping[str, Tensor], *, rgb: tuple[int, ...]) -> None:
    """Write the PNG of a batch. image: (batch, band, y, x). rgb: the bands shown as red, green and blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(draw_pictures(image, batch, rgb=rgb))


def draw_pictures(image: Tensor, batch: Mapping[str, Tensor], *, rgb: tuple[int, ...]) -> bytes:
    """The PNG of a batch; see `write_pictures`."""
    from matplotlib.image import imsave

    drawn = io.BytesIO()
    imsave(drawn, sheet(image, batch, rgb=rgb).transpose(1, 2, 0).copy(), format="png")
    return drawn.getvalue()


def sheet(image: Tensor, batch: Mapping[str, Tensor], *, rgb: tuple[int, ...]) -> NDArray[np.uint8]:
    """The picture as (3, y, x).

    Input, prediction and target share the stretch from the 2nd to the 98th percentile of the target, so that they
    can be compared: of each band where there are clouds, since air brightens blue most, otherwise of all bands. SAR has
    its own, of its first band.
    """
    rows = []
    for item in range(image.shape[0]):
        target = _bands(batch["target"][item], rgb)
        limits = _limits(target, apart="cloudy" in batch)
        panels = [_stretch(_bands(shown, rgb), *limits) for shown in (image[item], batch["target"][item])]
        if "sar" in batch:
            radar = _bands(batch["sar"][item], (0, 0, 0))
            panels.insert(0, _stretch(radar, *_limits(radar)))
        if "low" in batch:
            low = _bands(batch["low"][item], rgb)
            times = target.shape[-1] // low.shape[-1]
            panels.insert(0, _stretch(low.repeat(times, axis=1).repeat(times, axis=2), *limits))
        if "cloudy" in batch:
            panels.insert(0, _stretch(_bands(batch["cloudy"][item], rgb), *limits))
        rows.append(_join(panels, axis=2))
    return _join(rows, axis=1)


def _bands(image: Tensor, which: tuple[int, ...]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = image[list(which)].detach().float().cpu().numpy()
    return values


def _limits(values: NDArray[np.float32], *, apart: bool = False) -> NDArray[np.float32]:
    """What becomes black and what white, (2, 1, 1, 1), or (2, band, 1, 1) where each band has its own."""
    return np.nanpercentile(values, (2, 98), axis=(1, 2) if apart else None).reshape(2, -1, 1, 1)


def _stretch(values: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.uint8]:
    scaled = np.nan_to_num((values - low) / np.maximum(high - low, 1e-6))
    grey: NDArray[np.uint8] = (255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return grey


def _join(panels: list[NDArray[np.uint8]], *, axis: int) -> NDArray[np.uint8]:
    shape = list(panels[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, dtype=np.uint8)
    spaced = [part for panel in panels for part in (gap, panel)][1:]
    return np.concatenate(spaced, axis=axis)
