"""How far into a hole interpolation can be trusted, learned from the scene itself; knows no file.

Near its edge a hole resembles its surroundings, deep inside it does not, and how soon that happens differs from
scene to scene. So the mask is laid, mirrored, over the clear pixels; what is hidden by it is interpolated from the
rest, and least squares say, depth by depth, how much of the interpolation should be kept. In kriging the variogram
plays this part.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

DEPTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # pixels; trust is linear in between
_MIRRORS = ((-2,), (-1,), (-2, -1))
_TYPICAL_DEPTH = 16.0
_PRIOR_PIXELS = 300.0  # what the typical trust counts against measured pixels

Interpolate = Callable[[Tensor, Tensor], Tensor]


def depth_of(known: Tensor) -> Tensor:
    """Distance (1, 1, y, x) in pixels to the nearest pixel where `known` (1, 1, y, x) is above 0."""
    distance = distance_transform_edt((known[0, 0] <= 0).cpu().numpy()).astype(np.float32)
    return torch.from_numpy(distance)[None, None]


def trust_by_depth(remainder: Tensor, known: Tensor, *, interpolate: Interpolate) -> Tensor:
    """Trust at each of DEPTHS, between 0 and 1, for interpolating `remainder` (1, band, y, x) into holes.

    known: (1, 1, y, x), 1 where the remainder was observed. Bands count equally. Where a depth does not occur among
    the mirrored holes a typical trust 1 / (1 + (depth / 16)^2) stands.
    """
    clear = known > 0
    spread = remainder.movedim(1, -1)[clear[:, 0]].std(dim=0).clamp_min(1e-6)[None, :, None, None]
    scaled = remainder / spread
    bands = remainder.shape[1]
    nodes = torch.tensor(DEPTHS)
    typical = 1 / (1 + (nodes / _TYPICAL_DEPTH) ** 2)
    agreement = typical * _PRIOR_PIXELS * bands
    power = torch.full_like(nodes, _PRIOR_PIXELS * bands)
    for axes in _MIRRORS:
        kept = clear & clear.flip(axes)
        if not bool(kept.any()):
            continue
        hidden = (clear & ~kept)[0, 0]
        guess = interpolate(scaled, kept.to(remainder.dtype))[0][:, hidden]
        weights = _hats(depth_of(kept.to(remainder.dtype))[0, 0][hidden])
        truth = scaled[0][:, hidden]
        agreement = agreement + weights @ (guess * truth).sum(dim=0)
        power = power + weights @ (guess * guess).sum(dim=0)
    return (agreement / power).clamp(0, 1)


def trust_map(depth: Tensor, trust: Tensor) -> Tensor:
    """What to keep of the interpolation, (1, 1, y, x), at every depth of a map; 1 at depth 0.

    Half-way between keeping all and the measured trust: a scene with a trend over all of it is served by the first,
    one without by the second, and few clear pixels tell the two apart badly.
    """
    inside: Tensor = (_hats(depth.flatten()).T @ trust).view_as(depth)
    return torch.where(depth > 0, (1 + inside) / 2, 1.0)


def _hats(depth: Tensor) -> Tensor:
    """(node, pixel) weights of linear interpolation over log depth between DEPTHS; constant beyond the ends."""
    nodes = torch.tensor(DEPTHS).log()
    place = depth.clamp(DEPTHS[0], DEPTHS[-1]).log()
    upper = torch.searchsorted(nodes, place).clamp(1, len(nodes) - 1)
    share = (place - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1])
    weights = torch.zeros(len(nodes), len(depth))
    columns = torch.arange(len(depth))
    weights[upper, columns] = share
    weights[upper - 1, columns] = 1 - share
    return weights
