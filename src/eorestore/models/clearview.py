"""Clearview, our default for cloud removal: corrects the scene's own estimate and says how sure it is of it.

Our own design. The parts are known ones: gated fusion of two streams (Xu et al. 2022 among others), a U-shaped
network (Ronneberger et al. 2015), a variance head (Nix and Weigend 1994; UnCRtainTS, Ebel et al. 2023), and modality
dropout (Neverova et al. 2015).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.models import scene_estimate, scene_regression
from eorestore.models.model import Model, Output, Prepared, SceneSample, Settings
from eorestore.models.starting_point import seen_bands, start_from_estimate

_MOST_LOG_SIGMA = 5.0  # sigma stays between unit / 150 and 150 units
_PLAIN_UNIT = 0.1  # reflectance; the unit of sigma where no scene gives one


@dataclass(frozen=True)
class ClearviewSettings(Settings):
    """Width, depth and inputs of Clearview.

    channels: of the optical stream at 1/2, 1/4, 1/8, ... of the resolution. sar_channels: of the SAR stream.
    blocks: residual blocks a level. head_channels: at full resolution, before the last convolution.
    bands, sar_bands: any; they are those of the processor.
    start: `estimate` corrects the scene's own estimate, `cloudy` the observed image.
    sees_cloud: with `start="estimate"`, see models.starting_point.
    """

    channels: tuple[int, ...] = (56, 80, 112)
    sar_channels: tuple[int, ...] = (24, 40, 56)
    blocks: int = 1
    head_channels: int = 32
    bands: int = 13
    sar_bands: int = 2
    start: Literal["estimate", "cloudy"] = "estimate"
    sees_cloud: bool = True

    def __post_init__(self) -> None:
        if not self.channels or len(self.channels) != len(self.sar_channels):
            raise ConfigError(
                f"clearview: {len(self.channels)} channels and {len(self.sar_channels)} sar_channels",
                fix="give one number for each level in both",
            )


class Clearview(Model):
    """Two streams down, SAR gated into the optics at every level, one stream up, three maps out.

        start = estimate of the scene, seen = what is known of its hidden pixels (models.starting_point)
        seen, mask           -> unshuffle 2 -> conv3 -> O -> [residual blocks -> O + gate * conv1(S)] -> half -> ...
        sar, what is missing -> unshuffle 2 -> conv3 -> S -> [residual blocks]                        -> half -> ...
        up: conv3(concat(doubled O, O of the level)) -> residual blocks
        correction, gain, log sigma = conv3(shuffle 2(conv3(O)))
        image = start + unit * correction + gain * (cloudy - start),   sigma = unit * exp(log sigma)

    The gate of a level is a sigmoid of both streams and the mask, by pixel and channel; it is 0 where no SAR band is
    there. All convolutions are plain: no statistic of a tile enters, so `reach` is finite. The last convolution
    starts at zero: the untrained model returns the estimate, with sigma equal to the scene's own spread.

    Extras: `sigma`, and `gate`, the mean of the finest gates: how much SAR was let in.
    """

    settings_type = ClearviewSettings
    settings: ClearviewSettings
    optional_inputs = ("sar",)

    def __init__(self, settings: ClearviewSettings) -> None:
        super().__init__(settings)
        s = settings
        sees = seen_bands(s.bands, sees_cloud=s.start == "estimate" and s.sees_cloud)
        widths, sar_widths = s.channels, s.sar_channels
        self.optical_entry = nn.Conv2d(4 * sees, widths[0], 3, padding=1)
        self.sar_entry = nn.Conv2d(8 * s.sar_bands, sar_widths[0], 3, padding=1)
        self.optical_down = nn.ModuleList(_half(*pair) for pair in itertools.pairwise(widths))
        self.sar_down = nn.ModuleList(_half(*pair) for pair in itertools.pairwise(sar_widths))
        self.optical_blocks = nn.ModuleList(_blocks(width, s.blocks) for width in widths)
        self.sar_blocks = nn.ModuleList(_blocks(width, s.blocks) for width in sar_widths)
        self.gates = nn.ModuleList(_Gate(*pair) for pair in zip(widths, sar_widths, strict=True))
        self.joins = nn.ModuleList(
            nn.Conv2d(below + width, width, 3, padding=1) for width, below in itertools.pairwise(widths)
        )
        self.up_blocks = nn.ModuleList(_blocks(width, s.blocks) for width in widths[:-1])
        last = nn.Conv2d(s.head_channels, 3 * s.bands, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        wide = nn.Conv2d(widths[0], 4 * s.head_channels, 3, padding=1)
        self.head = nn.Sequential(wide, nn.GELU(), nn.PixelShuffle(2), last)
        levels = len(widths)
        self.multiple_of = self.phase = 2**levels
        self.needs_scene = s.start == "estimate"
        self.doubts_mask = self.needs_scene and s.sees_cloud
        self.extras = {"sigma": s.bands, "gate": 1}
        self.reach = _reach(levels, s.blocks) + self.needs_scene * scene_regression.REACH

    def prepare(self, scene: SceneSample) -> Prepared:
        """With `start="estimate"` the scene's interpolation and SAR regression; else nothing. Raises MaskError."""
        if self.settings.start == "cloudy":
            return Prepared()
        return scene_estimate.prepare_estimate(scene, sees_cloud=self.settings.sees_cloud)

    def forward(
        self,
        *,
        cloudy: Tensor,
        sar: Tensor,
        mask: Tensor,
        surface: Tensor | None = None,
        coefficients: Tensor | None = None,
        veil: Tensor | None = None,
    ) -> Output:
        """Restore a batch; y and x are multiples of `multiple_of`.

        Args:
            cloudy: (batch, bands, y, x), normalised.
            sar: (batch, sar_bands, y, x), normalised; a missing band is NaN.
            mask: (batch, 1, y, x), 1 where a pixel is to be restored, else 0.
            surface: (batch, bands, y, x), the interpolation that `prepare` found, as all that follow.
            coefficients: (batch, feature + 1, bands), the SAR regression.
            veil: (batch, 2 bands + 5, bands), clouds and ground of the scene, with `sees_cloud`.

        Returns:
            The image (batch, bands, y, x), in no way limited to the range of the input, with `sigma` and `gate`.

        Raises:
            UsageError: `start="estimate"` without what `prepare` returns.
        """
        if self.settings.start == "estimate":
            start, seen, unit = start_from_estimate(
                cloudy,
                sar,
                mask,
                model="clearview",
                sees_cloud=self.settings.sees_cloud,
                surface=surface,
                coefficients=coefficients,
                veil=veil,
            )
            sigma_unit = unit
        else:
            start, seen, unit = cloudy, torch.cat([cloudy, mask], dim=1), cloudy.new_ones(1, 1, 1, 1)
            sigma_unit = _PLAIN_UNIT * unit
        there = sar.isfinite()
        looked_at = torch.cat([torch.where(there, 2 * sar - 1, 0.0), there.to(sar.dtype)], dim=1)
        optical, gate = self._features(seen, looked_at, mask, there=there.any(dim=1, keepdim=True).to(sar.dtype))
        correction, gain, log_sigma = self.head(optical).chunk(3, dim=1)
        sigma = sigma_unit * torch.exp(_MOST_LOG_SIGMA * torch.tanh(log_sigma / _MOST_LOG_SIGMA))
        gate = F.interpolate(gate.mean(dim=1, keepdim=True), scale_factor=2, mode="nearest")
        return Output(start + unit * correction + gain * (cloudy - start), {"sigma": sigma, "gate": gate})

    def _features(self, seen: Tensor, sar: Tensor, mask: Tensor, *, there: Tensor) -> tuple[Tensor, Tensor]:
        """Optical features at half resolution and the gate there."""
        optical, sar = self.optical_entry(F.pixel_unshuffle(seen, 2)), self.sar_entry(F.pixel_unshuffle(sar, 2))
        kept, finest = [], None
        for level, gate in enumerate(self.gates):
            if level:
                optical, sar = self.optical_down[level - 1](optical), self.sar_down[level - 1](sar)
            mask, there = F.avg_pool2d(mask, 2), F.max_pool2d(there, 2)
            optical, sar = self.optical_blocks[level](optical), self.sar_blocks[level](sar)
            optical, opened = gate(optical, sar, mask, there)
            finest = opened if finest is None else finest
            kept.append(optical)
        optical = kept.pop()
        for level in reversed(range(len(kept))):
            doubled = F.interpolate(optical, scale_factor=2, mode="nearest")
            optical = self.up_blocks[level](F.gelu(self.joins[level](torch.cat([doubled, kept[level]], dim=1))))
        return optical, optical[:, :1] if finest is None else finest


class _Gate(nn.Module):
    """Adds SAR features to optical ones, as far as a sigmoid of both and of the mask lets them in."""

    def __init__(self, channels: int, sar_channels: int) -> None:
        super().__init__()
        self.opening = nn.Conv2d(channels + sar_channels + 1, channels, 1)
        self.offer = nn.Conv2d(sar_channels, channels, 1)

    def forward(self, optical: Tensor, sar: Tensor, mask: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        opened = there * torch.sigmoid(self.opening(torch.cat([optical, sar, mask], dim=1)))
        return optical + opened * self.offer(sar), opened


class _Residual(nn.Module):
    """x + conv3(gelu(conv3(gelu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = features + self.second(F.gelu(self.first(F.gelu(features))))
        return changed


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(channels) for _ in range(count)))


def _half(channels: int, below: int) -> nn.Conv2d:
    return nn.Conv2d(channels, below, 3, stride=2, padding=1)


def _reach(levels: int, blocks: int) -> int:
    """Upper bound in pixels: at level n a 3x3 convolution sees 2^(n + 1) pixels farther, and blocks lie on a grid."""
    reach = 2 + 1 + 2  # entry, head, last
    for level in range(levels):
        step = 2 ** (level + 1)
        convolutions = 2 * blocks + (level > 0)
        if level < levels - 1:
            convolutions += 2 * blocks + 1
        reach += step * (convolutions + 1)
    return reach
