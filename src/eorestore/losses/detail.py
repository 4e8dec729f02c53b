"""Fine detail of one image: values, edges and high frequencies weighed against each other; knows no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from eorestore.layers.reflection import reflect_pad
from eorestore.layers.sobel import inner, sobel
from eorestore.losses.pixel import l1 as mean_l1
from eorestore.losses.pixel import mean_over
from eorestore.losses.weighted import WeightedSum

Form = Literal["magnitude", "components"]
WITHIN: Mapping[str, float] = {"l1": 1.0, "edge": 0.5, "high_frequency": 0.3}
_SMALL = 1e-8  # under the root, so that its gradient is finite on flat ground


class DetailLoss(NamedTuple):
    """total: scalar to minimise. terms: those with a weight, by name, without it and without gradient."""

    total: Tensor
    terms: dict[str, Tensor]


def detail_loss(
    prediction: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    l1: float = 0.6,
    edge: float = 0.15,
    high_frequency: float = 0.25,
) -> DetailLoss:
    """l1 * L1 + edge * 0.5 * `edge_strength_l1` + high_frequency * 0.3 * `high_pass_l1`. In [0, inf), 0 at equality.

    A term of weight 0 is not worked out. Defaults are those of the plan for learning from a single thermal scene.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; pixels outside it get no gradient, and may hold NaN. None: all are valid.
        l1: weight of the mean absolute difference.
        edge: weight of the difference at edges.
        high_frequency: weight of the difference after a high-pass filter.

    Returns:
        total is 0 where no pixel is valid.

    Raises:
        ConfigError: a weight is negative or not finite, or all are 0.
    """
    if valid is None:
        valid = torch.ones_like(prediction[:, :1], dtype=torch.bool)
    weights = {"l1": l1, "edge": edge, "high_frequency": high_frequency}
    terms = {"l1": mean_l1, "edge": edge_strength_l1, "high_frequency": high_pass_l1}
    used = {name: weight * WITHIN[name] for name, weight in weights.items() if weight}
    total, parts = WeightedSum(terms, used)(prediction, target, valid=valid)
    return DetailLoss(total, parts)


def edge_strength_l1(prediction: Tensor, target: Tensor, *, valid: Tensor, form: Form = "magnitude") -> Tensor:
    """L1 between strengths of edges. In [0, inf), lower is better, 0 at equality.

    `magnitude`: mean of |m(p) - m(t)|, m = sqrt(gx^2 + gy^2 + 1e-8). `components`: mean of ||gx p| - |gx t|| plus that
    along y. Gradients are those of Sobel's operator with weights 1, 2, 1, not divided by 8, the image mirrored at its
    edge. An edge turned round costs nothing, as it does in `gradient.sobel_l1`, which compares the gradients.

    Args:
        prediction: (batch, band, y, x).
        target: the same shape.
        valid: (batch, 1, y, x) bool; a pixel counts where its 3 x 3 neighbourhood is valid as far as it is inside.
        form: which strength.

    Returns:
        Scalar; 0 where no pixel counts.
    """
    strengths = [_strength(torch.where(valid, image, image.new_zeros(())), form) for image in (prediction, target)]
    difference = (strengths[0] - strengths[1]).abs()
    mean = mean_over(difference, _mirrored_inner(valid))
    return mean if form == "magnitude" else 2 * mean


def high_pass_l1(prediction: Tensor, target: Tensor, *, valid: Tensor) -> Tensor:
    """L1 after the 3 x 3 filter with 8 in its centre and -1 around. In [0, inf), lower is better, 0 at equality.

    It is 0 too where both differ by a plane. Borders, arguments and result as in `edge_strength_l1`.
    """
    zero = prediction.new_zeros(())
    difference = torch.where(valid, prediction, zero) - torch.where(valid, target, zero)
    # linear: one pass over the difference is that of both images; 8 and -1 around are 9 times the way from the mean
    passed = 9 * (difference - F.avg_pool2d(reflect_pad(difference, 1), 3, stride=1))
    return mean_over(passed.abs(), _mirrored_inner(valid))


def _strength(image: Tensor, form: Form) -> Tensor:
    gradients = 8 * sobel(reflect_pad(image, 1))[..., 1:-1, 1:-1]
    if form == "components":
        return gradients.abs()
    across, down = gradients.chunk(2, dim=1)
    return torch.sqrt(across**2 + down**2 + _SMALL)


def _mirrored_inner(valid: Tensor) -> Tensor:
    """Pixels whose 3 x 3 neighbourhood is valid, the mask going on as in a mirror."""
    return inner(reflect_pad(valid.float(), 1) > 0)[..., 1:-1, 1:-1]
