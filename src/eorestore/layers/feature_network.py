"""A frozen network that looks at RGB and shows its features at several levels; knows no file and no loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pooling = Literal["max", "average"]


class FeatureNetwork(nn.Module):
    """Stages of 3 x 3 convolutions with ReLU, halved between, tapped at the end of every stage.

    ```
    rgb -> standardise -> [conv, ReLU] x n -> tap 1 -> pool 2 -> [conv, ReLU] x n -> tap 2 -> ...
    ```

    The layout of VGG (Simonyan and Zisserman 2015) without its classifier; no normalisation layer, so that a
    pixel's features do not depend on the rest of a batch. Its parameters take no gradient.

    stages: output channels of the convolutions, stage by stage.
    taps: names of the layers tapped, as VGG's are counted: `relu1_2` follows the second convolution of stage 1.
    mean, std: per channel of the RGB images in [0, 1] that it was trained on.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stages: Sequence[Sequence[int]],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        pooling: Pooling,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.taps = tuple(f"relu{level}_{len(widths)}" for level, widths in enumerate(stages, start=1))
        self.stages = nn.ModuleList()
        before = 3
        for widths in stages:
            ins = (before, *widths[:-1])
            self.stages.append(nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in zip(ins, widths, strict=True)))
            before = widths[-1]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(requires_grad=False)

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """(batch, 3, y, x) in [0, 1] -> one (batch, channel, y / 2^level, x / 2^level) per stage, rounded down.

        An image of less than 2 ** (stages - 1) pixels a side gives only the levels that it has pixels for.
        """
        features = (rgb - self.mean) / self.std
        taps: list[Tensor] = []
        for level, stage in enumerate(self.stages):
            if level > 0:
                if min(features.shape[-2:]) < 2:
                    break
                features = self.halve(features)
            for conv in cast(nn.ModuleList, stage):
                features = F.relu(conv(features))
            taps.append(features)
        return tuple(taps)

    def halve(self, features: Tensor) -> Tensor:
        """Pooling over 2 x 2 pixels."""
        return F.max_pool2d(features, 2) if self.pooling == "max" else F.avg_pool2d(features, 2)
