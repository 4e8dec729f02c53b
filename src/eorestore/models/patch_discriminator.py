"""A network that tells real images from restored ones, patch by patch; it restores nothing and is no `Model`.

Isola, Zhu, Zhou, Efros: "Image-to-image translation with conditional adversarial networks", CVPR (2017), the 70 x 70
PatchGAN. Written from its description.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from eorestore.errors import ConfigError

_SLOPE = 0.2
_MOST_WIDER = 8  # times the first level's channels


@dataclass(frozen=True)
class PatchDiscriminatorSettings:
    """Width and depth of a patch discriminator; the defaults are the published network.

    bands: of the image and of all that is seen beside it.
    channels: of the first level; every following one has twice as many, up to eight times.
    layers: levels that halve the size.
    """

    bands: int
    channels: int = 64
    layers: int = 3

    def __post_init__(self) -> None:
        if min(self.bands, self.channels, self.layers) < 1:
            raise ConfigError(
                f"patch discriminator: bands {self.bands}, channels {self.channels} and layers {self.layers} must be "
                "at least 1",
                fix="the published values are channels 64, layers 3",
            )

    @property
    def field(self) -> int:
        """Side in pixels of the patch that one score is about; 70 with 3 layers."""
        side = 1
        for stride in [1, 1] + [2] * self.layers:
            side = (side - 1) * stride + 4
        return side

    @property
    def least_side(self) -> int:
        """Side in pixels of the smallest image: its deepest norm still sees 2 x 2 positions."""
        return 3 << self.layers


class PatchDiscriminator(nn.Module):
    """One score for each patch of an image, high where it looks real.

        image [, cloudy, sar] -> conv4/2 -> 64 -> conv4/2 -> 128 -> conv4/2 -> 256 -> conv4 -> 512 -> conv4 -> 1

    Leaky ReLU between, instance norm before it but for the first. Differs from the paper in that norm: batch norm
    there, which with batches of one image is the same, while here an image's scores must not depend on its neighbours
    in the batch. No sigmoid squashes the scores; that is the loss's part.
    """

    def __init__(self, settings: PatchDiscriminatorSettings) -> None:
        super().__init__()
        self.settings = settings
        s = settings
        widths = [s.channels * min(2**level, _MOST_WIDER) for level in range(s.layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(s.bands, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        for level in range(1, s.layers + 1):
            stride = 2 if level < s.layers else 1
            parts += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride=stride, padding=1, bias=False),
                nn.InstanceNorm2d(widths[level], affine=True),
                nn.LeakyReLU(_SLOPE),
            ]
        self.body = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, seen: Tensor) -> Tensor:
        """Scores (batch, 1, y', x') of (batch, bands, y, x), whose sides are at least `settings.least_side`."""
        scores: Tensor = self.body(seen)
        return scores
