"""GLF-CR: clouds out of an optical image, guided by SAR; and its compact form over an estimate of the scene.

Xu, Shi, Ebel, Yu, Xia, Yang, Zhu: "GLF-CR: SAR-enhanced cloud removal with global-local fusion", ISPRS
Journal of Photogrammetry and Remote Sensing 192 (2022). Written from a description of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.layers.attention import JointWindowAttention
from eorestore.layers.blocks import MLP, DropPath, ResidualConv
from eorestore.layers.dynamic_filter import dynamic_filter
from eorestore.layers.windows import cut_windows, cyclic_shift, merge_windows, shift_mask
from eorestore.models import scene_estimate
from eorestore.models.model import Model, Output, Prepared, SceneSample, Settings
from eorestore.models.starting_point import seen_bands, start_from_estimate


@dataclass(frozen=True)
class GLFCRSettings(Settings):
    """Width, depth and inputs of GLF-CR; the defaults are the published network.

    channels: of both streams between the blocks. growth: channels that a layer adds; divisible by heads.
    blocks, layers: dense blocks, and layers in each.
    window: side of an attention window, at half resolution; even.
    filter_size: side of the dynamic filters; odd.
    head_channels: at full resolution, before the last convolution.
    drop_path: rate of stochastic depth in the last layer; it grows linearly from 0.
    start: `cloudy` adds what the network finds to the observed image (the paper); `estimate` adds it to the
        observed image with its masked pixels replaced by an estimate, so these never reach the network.
    sees_cloud: with `start="estimate"`, look also at the observation under the mask: the estimate takes up what thin
        cloud and shadow let through (models.thin_cloud), and the network sees by how much the observation still
        differs, and may add that difference back with a gain for each pixel and band.
    """

    channels: int = 96
    growth: int = 48
    blocks: int = 6
    layers: int = 5
    heads: int = 8
    window: int = 8
    mlp_ratio: int = 2
    filter_size: int = 5
    head_channels: int = 64
    drop_path: float = 0.2
    bands: int = 13
    sar_bands: int = 2
    start: Literal["cloudy", "estimate"] = "cloudy"
    sees_cloud: bool = False

    def __post_init__(self) -> None:
        if self.growth % self.heads:
            raise ConfigError(
                f"glf-cr: growth {self.growth} does not divide by heads {self.heads}",
                fix=f"choose growth as a multiple of {self.heads}",
            )
        if self.window % 2 or self.filter_size % 2 == 0:
            raise ConfigError(
                f"glf-cr: window {self.window} must be even, filter_size {self.filter_size} odd",
                fix="the published values are window 8, filter_size 5",
            )


class GLFCR(Model):
    """Two streams at half resolution: SAR gates the attention of dense blocks, then is filtered into the optics.

        cloudy -> unshuffle 2 -> conv5 = F1 -> conv3 -> O -+-> [dense block -> fusion] x 6
        sar    -> unshuffle 2 -> conv5      -> conv3 -> S -+
        joined = conv3(conv1(all six O)) + F1
        image  = start + conv3(shuffle 2(conv3(joined)))

    Differs from the paper in nothing that changes its output. The shift mask is computed for each input, so
    any size whose sides divide by `multiple_of` = 2 * window works. With `start="estimate"`, which is ours, the
    optical stem sees the filled image and the mask as one more band, and the last convolution starts at zero: the
    untrained model returns the estimate. With `sees_cloud` all is in units of the scene's own spread, and the
    correction is residual + gain * (cloudy - filled), the form that undoes a veil: (cloudy - t * cloud) / (1 - t).

    `reach` is an upper bound: it counts every window as if the pixel lay in its corner. It is 564 pixels at
    the published size, far beyond a tile, so tiles are blended.
    """

    settings_type = GLFCRSettings
    settings: GLFCRSettings

    def __init__(self, settings: GLFCRSettings) -> None:
        super().__init__(settings)
        s = settings
        optical_bands = s.bands
        if s.start == "estimate":
            optical_bands = seen_bands(s.bands, sees_cloud=s.sees_cloud)
        self.optical_stem = nn.Conv2d(4 * optical_bands, s.channels, 5, padding=2)
        self.optical_entry = nn.Conv2d(s.channels, s.channels, 3, padding=1)
        self.sar_stem = nn.Conv2d(4 * s.sar_bands, s.channels, 5, padding=2)
        self.sar_entry = nn.Conv2d(s.channels, s.channels, 3, padding=1)
        self.dense_blocks = nn.ModuleList(_DenseBlock(s, index) for index in range(s.blocks))
        self.kernel_generators = nn.ModuleList(_kernel_generator(s.channels, s.filter_size) for _ in range(s.blocks))
        self.sar_gates = nn.ModuleList(nn.Conv2d(s.channels, s.channels, 1) for _ in range(s.blocks))
        self.optical_gates = nn.ModuleList(nn.Conv2d(s.channels, s.channels, 1) for _ in range(s.blocks))
        self.join = nn.Sequential(
            nn.Conv2d(s.blocks * s.channels, s.channels, 1), nn.Conv2d(s.channels, s.channels, 3, padding=1)
        )
        last = nn.Conv2d(s.head_channels, s.bands * (1 + s.sees_cloud), 3, padding=1)
        if s.start == "estimate":
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        self.head = nn.Sequential(nn.Conv2d(s.channels, 4 * s.head_channels, 3, padding=1), nn.PixelShuffle(2), last)
        self.multiple_of = self.phase = 2 * s.window
        self.needs_scene = s.start == "estimate"
        block = s.layers * s.window + 1 + max(5, s.filter_size // 2)
        self.reach = 2 * (3 + s.blocks * block + 2) + 2

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
        mask: Tensor | None = None,
        estimate: Tensor | None = None,
        surface: Tensor | None = None,
        coefficients: Tensor | None = None,
        spectrum: Tensor | None = None,
        ground: Tensor | None = None,
        covariance: Tensor | None = None,
    ) -> Output:
        """Restore a batch; y and x are multiples of `multiple_of`.

        Args:
            cloudy: (batch, bands, y, x), normalised.
            sar: (batch, sar_bands, y, x), normalised.
            mask: (batch, 1, y, x), 1 where a pixel is to be restored, else 0. Not used with `start="cloudy"`.
            estimate: (batch, bands, y, x), read under the mask. Not used with `start="cloudy"`.
            surface: the interpolation that `prepare` found; makes the estimate where none is given.
            coefficients: the SAR regression that `prepare` found; makes the estimate where none is given.
            spectrum: (batch, bands), the scene's thick cloud; with `sees_cloud`.
            ground: (batch, bands), mean of the clear pixels; with `sees_cloud`.
            covariance: (batch, bands, bands) of clear pixels around what SAR explains; with `sees_cloud`.

        Returns:
            The image (batch, bands, y, x), in no way limited to the range of the input.

        Raises:
            UsageError: `start="estimate"` without mask or estimate.
        """
        if self.settings.start == "estimate":
            start, optical_input, unit = start_from_estimate(
                cloudy,
                sar,
                mask,
                model="glf-cr",
                sees_cloud=self.settings.sees_cloud,
                estimate=estimate,
                surface=surface,
                coefficients=coefficients,
                spectrum=spectrum,
                ground=ground,
                covariance=covariance,
            )
        else:
            start = optical_input = cloudy
            unit = cloudy.new_ones(())
        shallow = self.optical_stem(F.pixel_unshuffle(optical_input, 2))
        optical = self.optical_entry(shallow)
        sar = self.sar_entry(self.sar_stem(F.pixel_unshuffle(sar, 2)))
        window = self.settings.window
        shifted = shift_mask(*optical.shape[-2:], size=window, shift=window // 2, device=optical.device)
        stages = []
        for index, block in enumerate(self.dense_blocks):
            optical, sar = block(optical, sar, shifted)
            optical, sar = self._fuse(index, optical, sar)
            stages.append(optical)
        deep = self.join(torch.cat(stages, dim=1)) + shallow
        correction = self.head(deep)
        if self.settings.start == "estimate" and self.settings.sees_cloud:
            correction, gain = correction.chunk(2, dim=1)
            return Output(start + unit * correction + gain * (cloudy - start))
        return Output(start + unit * correction)

    def _fuse(self, index: int, optical: Tensor, sar: Tensor) -> tuple[Tensor, Tensor]:
        """The "local fusion": filter SAR with predicted kernels, then let each stream take from the other."""
        kernels = self.kernel_generators[index](torch.cat([optical, sar], dim=1))
        filtered = dynamic_filter(sar, kernels, size=self.settings.filter_size)
        difference = filtered - optical
        optical = optical + torch.sigmoid(self.sar_gates[index](difference)) * difference
        difference = optical - filtered
        return optical, sar + torch.sigmoid(self.optical_gates[index](difference)) * difference


class _DenseBlock(nn.Module):
    """Layers that each see all before them, in both streams, and a 3x3 convolution back to `channels`."""

    def __init__(self, settings: GLFCRSettings, index: int) -> None:
        super().__init__()
        first, last = index * settings.layers, max(settings.blocks * settings.layers - 1, 1)
        self.layers = nn.ModuleList(
            _DenseLayer(settings, layer, drop_path=settings.drop_path * (first + layer) / last)
            for layer in range(settings.layers)
        )
        grown = settings.channels + settings.layers * settings.growth
        self.optical_out = nn.Conv2d(grown, settings.channels, 3, padding=1)
        self.sar_out = nn.Conv2d(grown, settings.channels, 3, padding=1)

    def forward(self, optical: Tensor, sar: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        optical_all, sar_all = optical, sar
        for layer in self.layers:
            optical_new, sar_new = layer(optical_all, sar_all, shifted)
            optical_all = torch.cat([optical_all, optical_new], dim=1)
            sar_all = torch.cat([sar_all, sar_new], dim=1)
        return optical + self.optical_out(optical_all), sar + self.sar_out(sar_all)


class _DenseLayer(nn.Module):
    """Convolution to `growth` channels in both streams, then a joint window attention and an MLP each.

    The windows of odd layers are shifted by half a window. There is no norm before the attention, and the
    skip around it starts after the ReLU.
    """

    def __init__(self, settings: GLFCRSettings, index: int, *, drop_path: float) -> None:
        super().__init__()
        channels, growth = settings.channels + index * settings.growth, settings.growth
        self.window = settings.window
        self.shift = settings.window // 2 if index % 2 else 0
        self.optical_conv = nn.Conv2d(channels, growth, 3, padding=1)
        self.sar_conv = nn.Conv2d(channels, growth, 3, padding=1)
        self.attention = JointWindowAttention(growth, settings.heads, window=settings.window)
        self.optical_norm = nn.LayerNorm(growth)
        self.sar_norm = nn.LayerNorm(growth)
        self.optical_mlp = MLP(growth, ratio=settings.mlp_ratio)
        self.sar_mlp = MLP(growth, ratio=settings.mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, optical: Tensor, sar: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        optical, sar = F.relu(self.optical_conv(optical)), F.relu(self.sar_conv(sar))
        optical_seen, sar_seen = self.attention(
            self._cut(optical), self._cut(sar), mask=shifted if self.shift else None
        )
        optical = optical + self.drop_path(self._merge(optical_seen, optical))
        sar = sar + self.drop_path(self._merge(sar_seen, sar))
        optical = optical + self.drop_path(_per_pixel(optical, self.optical_norm, self.optical_mlp))
        return optical, sar + self.drop_path(_per_pixel(sar, self.sar_norm, self.sar_mlp))

    def _cut(self, features: Tensor) -> Tensor:
        return cut_windows(cyclic_shift(features, self.shift), self.window)

    def _merge(self, tokens: Tensor, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        return cyclic_shift(merge_windows(tokens, self.window, height=height, width=width), -self.shift)


def _per_pixel(features: Tensor, norm: nn.LayerNorm, mlp: MLP) -> Tensor:
    mixed: Tensor = mlp(norm(features.movedim(1, -1)))
    return mixed.movedim(-1, 1)


def _kernel_generator(channels: int, size: int) -> nn.Sequential:
    # The last LeakyReLU is the paper's: kernels are neither softmaxed nor normalised.
    return nn.Sequential(
        nn.Conv2d(2 * channels, channels, 3, padding=1),
        nn.LeakyReLU(0.1),
        ResidualConv(channels),
        ResidualConv(channels),
        nn.Conv2d(channels, channels * size * size, 1),
        nn.LeakyReLU(0.1),
    )
