"""Steps between tiles that were coded each by itself, made smaller; knows no file and no coder.

At low rates the pixels on both sides of a tile's border are off by errors that know nothing of each other, and the
border shows as a fine line. The step between the two outermost lines of pixels is shared out over `REACH` pixels of
either side, falling to nought; a step far beyond what quantising explains is an edge of the ground and stays. (As the
deblocking filter of video coders: List, Joch, Lainema, Bjontegaard, Karczewicz, IEEE Trans. Circuits Syst. Video
Technol. 13, 2003; there the strength is chosen among five, here it falls smoothly with the size of the step.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.decibel import Observed

REACH = 3
_EXPLAINED = 0.5  # of the quantisation step: a step in the image at which half of it is taken away
SIDES = {"above": (-1, 0), "below": (1, 0), "left": (0, -1), "right": (0, 1)}
OPPOSITE = {"above": "below", "below": "above", "left": "right", "right": "left"}
_Any = TypeVar("_Any", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Line:
    """The outermost pixels of a tile at one side: values in decibel and what of them is valid, (band, n) each."""

    values: NDArray[np.float64]
    valid: NDArray[np.bool_]


def line_at(tile: Observed, side: str) -> Line:
    """The line of a tile at a side."""
    return Line(_seen_from(tile.values, side)[:, 0], _seen_from(tile.valid, side)[:, 0])


def smoothed(tile: Observed, beside: Mapping[str, Line], *, step: float) -> Observed:
    """A tile whose borders meet its neighbours.

    Args:
        tile: decibel, as decoded.
        beside: for each side that has a neighbour, the line of that neighbour, as decoded, that touches the tile.
        step: of quantisation, in decibel.
    """
    values = tile.values.astype(np.float64)
    for side, line in beside.items():
        own = line_at(tile, side)
        apart = np.where(own.valid & line.valid, line.values - own.values, 0.0)
        explained = (_EXPLAINED * step) ** 2
        share = apart * explained / (explained + apart**2) / 2
        inwards, valid = _seen_from(values, side), _seen_from(tile.valid, side)
        reach = min(REACH, inwards.shape[1])
        falling = 1 - (np.arange(reach) + 0.5) / REACH
        inwards[:, :reach] += np.where(valid[:, :reach], share[:, None] * falling[:, None], 0.0)
    return replace(tile, values=values)


def _seen_from(plane: NDArray[_Any], side: str) -> NDArray[_Any]:
    """A view (band, distance from the side, place along it) of (band, y, x)."""
    along = plane if side in ("above", "below") else plane.swapaxes(1, 2)
    return along if side in ("above", "left") else along[:, ::-1]
