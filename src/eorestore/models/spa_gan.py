"""SpA-GAN's generator: residual blocks weighted by a map of where the cloud is; knows no discriminator and no loss.

Pan: "Cloud removal for remote sensing imagery via spatial attention generative adversarial network", arXiv:2009.13015
(2020). Its generator is SPANet of Wang, Yang, Xu, Chen, Zhang, Lau: "Spatial attentive single-image deraining with a
high quality real rain dataset", CVPR (2019). Written from their descriptions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.models.model import Model, Output, Settings

_DIRECTIONS = 4  # from the left, from the right, from above, from below


@dataclass(frozen=True)
class SpaGanSettings(Settings):
    """Width, depth and inputs of SpA-GAN's generator; the defaults are the published network at 13 bands.

    channels: between first and last convolution; even.
    entry_blocks, exit_blocks: residual blocks before and after the attentive ones.
    stages, stage_blocks: times that the attention is looked at anew, and the attentive blocks that follow each time.
    sar: whether the network sees SAR beside the cloudy image. Ours; the paper has optical bands only.
    """

    channels: int = 32
    entry_blocks: int = 3
    stages: int = 4
    stage_blocks: int = 3
    exit_blocks: int = 2
    sar: bool = False
    bands: int = 13
    sar_bands: int = 2

    def __post_init__(self) -> None:
        if self.channels % 2 or self.stages < 1 or self.stage_blocks < 1:
            raise ConfigError(
                f"spa-gan: channels {self.channels} must be even, stages {self.stages} and stage_blocks "
                f"{self.stage_blocks} at least 1",
                fix="the published values are channels 32, stages 4, stage_blocks 3",
            )


class SpaGan(Model):
    """A map of the cloud, found by sweeps over the whole image, says where the residual blocks may act.

        cloudy [+ sar] -> conv3 -> [x = relu(block(x) + x)] x 3
          -> 4 times: A = attention(x), then [x = relu(A block(x) + x)] x 3
          -> [x = relu(block(x) + x)] x 2 -> conv3 -> image

    One attention with one set of weights serves all four stages; `attention` of the extras is the first stage's map,
    which the paper's loss draws towards the cloud. The image is predicted as it is, not as a correction.

    Differs from the paper: 13 bands instead of 3, and with `sar` two more at the input; the four sweeps are recurrent,
    as both papers have them, where the author's program looks one pixel far; their weights act as at most 1, so that a
    wide tile cannot make a sweep grow without bound. A sweep sees the whole tile, hence the reach is global.
    """

    settings_type = SpaGanSettings
    settings: SpaGanSettings

    def __init__(self, settings: SpaGanSettings) -> None:
        super().__init__(settings)
        s = settings
        seen = s.bands + s.sar_bands * s.sar
        self.extras = {"attention": 1}
        self.optional_inputs = () if s.sar else ("sar",)
        self.stem = nn.Conv2d(seen, s.channels, 3, padding=1, bias=False)
        self.entry = nn.ModuleList(_block(s.channels) for _ in range(s.entry_blocks))
        self.attention = _SpatialAttention(s.channels)
        self.stages = nn.ModuleList(_Stage(s.channels, s.stage_blocks) for _ in range(s.stages))
        self.exit = nn.ModuleList(_block(s.channels) for _ in range(s.exit_blocks))
        self.head = nn.Conv2d(s.channels, s.bands, 3, padding=1, bias=False)

    def forward(self, *, cloudy: Tensor, sar: Tensor) -> Output:
        """Restore a batch of any size.

        Args:
            cloudy: (batch, bands, y, x), normalised.
            sar: (batch, sar_bands, y, x), normalised; not looked at without the setting `sar`, and may be NaN then.

        Returns:
            The image (batch, bands, y, x), in no way limited to the range of the input, and the extra `attention`
            (batch, 1, y, x) from 0 to 1, high where there is cloud.
        """
        features = F.relu(self.stem(torch.cat([cloudy, sar], dim=1) if self.settings.sar else cloudy))
        for block in self.entry:
            features = F.relu(block(features) + features)
        maps = []
        for stage in self.stages:
            maps.append(self.attention(features))
            features = stage(features, maps[-1])
        for block in self.exit:
            features = F.relu(block(features) + features)
        return Output(self.head(features), {"attention": maps[0]})


class FourSweeps(nn.Module):
    """Four recurrent sweeps that carry every pixel's features along its row and its column (Bell et al. 2016).

    h(t) = relu(x(t) + w h(t - 1)) along each direction, with a weight for each direction and channel that starts at
    1: a recurrent network of rectified units with identity weights (IRNN, Le et al. 2015).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(_DIRECTIONS, channels))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) -> (batch, 4, channel, y, x): from the left, the right, above, below."""
        # The value is held to 1 and the gradient passes, so that a weight that went beyond can come back.
        weights = self.weights + (self.weights.clamp(-1, 1) - self.weights).detach()
        rows = _both_ways(features, weights[:2], axis=3)
        columns = _both_ways(features, weights[2:], axis=2)
        return torch.stack([*rows, *columns], dim=1)


def _both_ways(features: Tensor, weights: Tensor, *, axis: int) -> list[Tensor]:
    """Two sweeps along `axis`, onward with weights[0] and back with weights[1]; the shape stays."""
    # The axis goes first, so that every step of a sweep reads and writes memory in a row.
    steps = features.movedim(axis, 0).contiguous().unbind(0)
    onward = _sweep(steps, weights[0])
    back = _sweep(steps[::-1], weights[1])[::-1]
    return [torch.stack(states).movedim(0, axis) for states in (onward, back)]


def _sweep(steps: tuple[Tensor, ...], weight: Tensor) -> list[Tensor]:
    """The states after each of `steps` (batch, channel, position), with a weight (channel,)."""
    states = [F.relu(steps[0])]
    for step in steps[1:]:
        states.append(F.relu(torch.addcmul(step, states[-1], weight[:, None])))
    return states


class _SpatialAttention(nn.Module):
    """Where the cloud is: two rounds of four sweeps, each direction weighted by a gate, then one map from 0 to 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels // 2, channels // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels // 2, _DIRECTIONS, 1),
            nn.Sigmoid(),
        )
        self.entry = nn.Conv2d(channels, channels, 1)
        self.first_sweeps = FourSweeps(channels)
        self.first_join = nn.Conv2d(_DIRECTIONS * channels, channels, 1)
        self.second_sweeps = FourSweeps(channels)
        self.second_join = nn.Conv2d(_DIRECTIONS * channels, channels, 1)
        self.head = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) -> (batch, 1, y, x)."""
        gates = self.gates(features)[:, :, None]
        swept = self.first_join((self.first_sweeps(self.entry(features)) * gates).flatten(1, 2))
        swept = self.second_join((self.second_sweeps(swept) * gates).flatten(1, 2))
        return torch.sigmoid(self.head(F.relu(swept)))


class _Stage(nn.Module):
    """Residual blocks whose corrections are weighted by one map of attention."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_block(channels) for _ in range(blocks))

    def forward(self, features: Tensor, attention: Tensor) -> Tensor:
        """(batch, channel, y, x) and (batch, 1, y, x) -> (batch, channel, y, x)."""
        for block in self.blocks:
            features = F.relu(block(features) * attention + features)
        return features


def _block(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1, bias=False),
    )
