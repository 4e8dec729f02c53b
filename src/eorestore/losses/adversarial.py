"""What a discriminator and the network it judges make small, from the scores alone; knows neither of the two."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Kind = Literal["hinge", "bce", "lsgan"]


def generator_loss(fake: Tensor, *, kind: Kind) -> Tensor:
    """How far restored images are from passing for real ones; lower is better.

    hinge: -mean D(fake) (Lim and Ye 2017), in (-inf, inf). bce: mean -log sigmoid(D(fake)), the form without
    saturation (Goodfellow et al. 2014), in (0, inf). lsgan: 1/2 mean (D(fake) - 1)^2 (Mao et al. 2017), in [0, inf).

    Args:
        fake: scores of restored images, any shape, before any sigmoid.
        kind: which of the three.

    Returns:
        Scalar.
    """
    if kind == "hinge":
        return -fake.mean()
    if kind == "bce":
        return F.softplus(-fake).mean()
    return (fake - 1).square().mean() / 2


def discriminator_loss(real: Tensor, fake: Tensor, *, kind: Kind) -> Tensor:
    """How far a discriminator is from telling real images from restored ones; lower is better, in [0, inf).

    hinge: mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)). bce: 1/2 mean -log sigmoid(D(real)) + 1/2 mean
    -log(1 - sigmoid(D(fake))), halved as Isola et al. (2017) do. lsgan: 1/2 mean (D(real) - 1)^2 + 1/2 mean D(fake)^2.
    A discriminator that scores all images 0 has 2, log 2 and 1/2.

    Args:
        real: scores of real images, any shape, before any sigmoid.
        fake: scores of restored images, any shape.
        kind: which of the three; papers as in `generator_loss`.

    Returns:
        Scalar.
    """
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind == "bce":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    return ((real - 1).square().mean() + fake.square().mean()) / 2
