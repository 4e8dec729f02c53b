"""Attention over channels, then over places, computed from the features themselves; knows no network around it.

CBAM: Woo, Park, Lee, Kweon, "CBAM: convolutional block attention module", ECCV (2018). Written from the paper.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError

SPATIAL_KERNEL = 7


class CBAM(nn.Module):
    """Features times a weight per channel, then times a weight per place.

        c = sigmoid(MLP(mean over y, x) + MLP(max over y, x))     F' = c F
        s = sigmoid(conv7x7[mean over channels, max over channels of F'])     F'' = s F'

    The MLP has channels / reduction hidden units with ReLU and no bias. Differs from the authors' code: no batch norm
    after the spatial convolution, which would make the attention of an image depend on the batch it was trained in.
    Its reach is global, by the means and maxima over the image.

    Args:
        channels: channels of the features.
        reduction: by which the hidden units are fewer than channels. Raises ConfigError where none is left.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction if reduction > 0 else 0
        if hidden < 1:
            raise ConfigError(
                f"CBAM with reduction {reduction} leaves no hidden unit on {channels} channels",
                fix=f"use a reduction of 1 to {channels}, or put the attention where there are more channels",
            )
        self.narrow = nn.Conv2d(channels, hidden, 1, bias=False)
        self.widen = nn.Conv2d(hidden, channels, 1, bias=False)
        self.spatial = nn.Conv2d(2, 1, SPATIAL_KERNEL, padding=SPATIAL_KERNEL // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        mean, peak = features.mean(dim=(2, 3), keepdim=True), features.amax(dim=(2, 3), keepdim=True)
        features = features * torch.sigmoid(self._mixed(mean) + self._mixed(peak))
        places = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        return features * torch.sigmoid(self.spatial(places))

    def _mixed(self, summary: Tensor) -> Tensor:
        mixed: Tensor = self.widen(F.relu(self.narrow(summary)))
        return mixed
