"""GLF-CR: clouds out of an optical image, guided by SAR; its versions, and its compact form over an estimate.

Xu, Shi, Ebel, Yu, Xia, Yang, Zhu: "GLF-CR: SAR-enhanced cloud removal with global-local fusion", ISPRS
Journal of Photogrammetry and Remote Sensing 192 (2022). Written from a description of the network. Versions v1 to v4
are settings of this one network; each adds to the one before, and equals it until it is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from eorestore.errors import ConfigError
from eorestore.layers.blocks import ResidualConv
from eorestore.layers.dynamic_filter import dynamic_filter
from eorestore.layers.windows import shift_mask
from eorestore.models import scene_estimate
from eorestore.models.glf_cr_blocks import DenseBlock
from eorestore.models.glf_cr_branches import TEXTURE_REACH, CrossModalAttention, GlobalLocalBlend, TextureBranch
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
    cross_attention: v1; indices of the blocks with cross-modal attention, (2, 3, 4) in the plan; none in v0.
    cross_attention_kind: in the windows of the block, or over channels.
    cross_attention_place: after or before the block's fusion. Before it, unfiltered SAR enters the optical stream.
    texture: v3; the texture branch, and its edge map as the extra `edges`.
    global_blocks: v4; indices of the blocks with a global path, (3, 4, 5) in the plan; none before v4.
    global_stride, global_tokens: the global path looks at every `global_stride`th feature, averaged down to at most
        `global_tokens` whatever the tile.
    branch_channels: inside what v1, v3 and v4 add, a multiple of their heads; `channels` where None.
    checkpointing: in training, keep only what enters a block and compute the rest again: less memory, a third slower.
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
    cross_attention: tuple[int, ...] = ()
    cross_attention_kind: Literal["window", "channel"] = "window"
    cross_attention_place: Literal["after", "before"] = "after"
    cross_attention_heads: int = 8
    texture: bool = False
    global_blocks: tuple[int, ...] = ()
    global_stride: int = 4
    global_heads: int = 8
    global_tokens: int = 256
    branch_channels: int | None = None
    checkpointing: bool = False

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
        for name, heads in (("cross_attention", self.cross_attention_heads), ("global_blocks", self.global_heads)):
            indices = getattr(self, name)
            if len(set(indices)) < len(indices) or not set(indices) <= set(range(self.blocks)):
                raise ConfigError(
                    f"glf-cr: {name} {list(indices)} does not name blocks once each",
                    fix=f"with blocks {self.blocks} the indices are 0 to {self.blocks - 1}",
                )
            if indices and self.branch_width % heads:
                raise ConfigError(
                    f"glf-cr: branch_channels {self.branch_width} does not divide by the {heads} heads of {name}",
                    fix=f"choose branch_channels as a multiple of {heads}",
                )
        if min(self.global_stride, self.global_tokens) < 1:
            raise ConfigError("glf-cr: global_stride and global_tokens must be at least 1", fix="see the v4 preset")

    @property
    def branch_width(self) -> int:
        """Channels inside the added branches."""
        return self.branch_channels or self.channels


class GLFCR(Model):
    """Two streams at half resolution: SAR gates the attention of dense blocks, then is filtered into the optics.

        cloudy -> unshuffle 2 -> conv5 = F1 -> conv3 -> O -+-> [dense block -> fusion] x 6
        sar    -> unshuffle 2 -> conv5      -> conv3 -> S -+
        joined = conv3(conv1(all six O)) + F1
        image  = start + conv3(shuffle 2(conv3(joined)))

        with versions: [dense block -> v4 global path -> fusion -> v1 cross-modal attention], v3 texture after joined

    Differs from the paper in nothing that changes its output. The shift mask is computed for each input, so
    any size whose sides divide by `multiple_of` = 2 * window works. With `start="estimate"`, which is ours, the
    optical stem sees the filled image and the mask as one more band, and the last convolution starts at zero: the
    untrained model returns the estimate. With `sees_cloud` all is in units of the scene's own spread, and the
    correction is residual + gain * (cloudy - filled), the form that undoes a veil: (cloudy - t * cloud) / (1 - t).

    `reach` is an upper bound: it counts every window as if the pixel lay in its corner. It is 564 pixels at
    the published size, far beyond a tile, so tiles are blended. A global path and attention over channels see all of
    a tile: `reach` is None.
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
        self.dense_blocks = nn.ModuleList(_dense_block(s, index) for index in range(s.blocks))
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
        self.doubts_mask = self.needs_scene and s.sees_cloud
        block = s.layers * s.window + 1 + max(5, s.filter_size // 2)
        seen_by_all = bool(s.global_blocks) or (bool(s.cross_attention) and s.cross_attention_kind == "channel")
        added = len(s.cross_attention) * s.window + s.texture * TEXTURE_REACH
        self.reach = None if seen_by_all else 2 * (3 + s.blocks * block + added + 2) + 2
        # Drawn last, so that one seed gives every version the same weights of v0.
        self.cross_attentions = nn.ModuleDict({str(index): _cross_attention(s, index) for index in s.cross_attention})
        self.texture = TextureBranch(s.channels, width=s.branch_width) if s.texture else None
        self.extras = {"edges": 1} if s.texture else {}
        self.optical_global_paths = nn.ModuleDict({str(index): _global_path(s) for index in s.global_blocks})
        self.sar_global_paths = nn.ModuleDict({str(index): _global_path(s) for index in s.global_blocks})

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
        veil: Tensor | None = None,
    ) -> Output:
        """Restore a batch; y and x are multiples of `multiple_of`.

        Args:
            cloudy: (batch, bands, y, x), normalised.
            sar: (batch, sar_bands, y, x), normalised.
            mask: (batch, 1, y, x), 1 where a pixel is to be restored, else 0. Not used with `start="cloudy"`.
            estimate: (batch, bands, y, x), read under the mask. Not used with `start="cloudy"`.
            surface: the interpolation that `prepare` found; makes the estimate where none is given.
            coefficients: the SAR regression that `prepare` found; makes the estimate where none is given.
            veil: (batch, 2 bands + 5, bands), clouds and ground of the scene, with `sees_cloud`.

        Returns:
            The image (batch, bands, y, x), in no way limited to the range of the input; with `texture` the extra
            `edges`, (batch, 1, y, x) in [0, 1].

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
                veil=veil,
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
        for index in range(self.settings.blocks):
            if self.settings.checkpointing and self.training and torch.is_grad_enabled():
                optical, sar = checkpoint(self._block, index, optical, sar, shifted, use_reentrant=False)
            else:
                optical, sar = self._block(index, optical, sar, shifted)
            stages.append(optical)
        deep = self.join(torch.cat(stages, dim=1)) + shallow
        extras = {}
        if self.texture is not None:
            deep, edges = self.texture(deep)
            extras["edges"] = F.interpolate(edges, scale_factor=2, mode="bilinear")
        correction = self.head(deep)
        if self.settings.start == "estimate" and self.settings.sees_cloud:
            correction, gain = correction.chunk(2, dim=1)
            return Output(start + unit * correction + gain * (cloudy - start), extras)
        return Output(start + unit * correction, extras)

    def _block(self, index: int, optical: Tensor, sar: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        """One dense block, its fusion, and what the versions add there."""
        place = self.settings.cross_attention_place
        attend = self.cross_attentions[str(index)] if index in self.settings.cross_attention else None
        optical, sar = self.dense_blocks[index](optical, sar, shifted)
        if index in self.settings.global_blocks:
            optical = self.optical_global_paths[str(index)](optical)
            sar = self.sar_global_paths[str(index)](sar)
        if attend is not None and place == "before":
            optical, sar = attend(optical, sar, shifted)
        optical, sar = self._fuse(index, optical, sar)
        if attend is not None and place == "after":
            optical, sar = attend(optical, sar, shifted)
        return optical, sar

    def _fuse(self, index: int, optical: Tensor, sar: Tensor) -> tuple[Tensor, Tensor]:
        """The "local fusion": filter SAR with predicted kernels, then let each stream take from the other."""
        kernels = self.kernel_generators[index](torch.cat([optical, sar], dim=1))
        filtered = dynamic_filter(sar, kernels, size=self.settings.filter_size)
        difference = filtered - optical
        optical = optical + torch.sigmoid(self.sar_gates[index](difference)) * difference
        difference = optical - filtered
        return optical, sar + torch.sigmoid(self.optical_gates[index](difference)) * difference


def _dense_block(settings: GLFCRSettings, index: int) -> DenseBlock:
    first, last = index * settings.layers, max(settings.blocks * settings.layers - 1, 1)
    return DenseBlock(
        settings.channels,
        settings.growth,
        heads=settings.heads,
        window=settings.window,
        mlp_ratio=settings.mlp_ratio,
        drop_path=[settings.drop_path * (first + layer) / last for layer in range(settings.layers)],
    )


def _kernel_generator(channels: int, size: int) -> nn.Sequential:
    # The last LeakyReLU is the paper's: kernels are neither softmaxed nor normalised.
    return nn.Sequential(
        nn.Conv2d(2 * channels, channels, 3, padding=1),
        nn.LeakyReLU(0.1),
        ResidualConv(channels),
        ResidualConv(channels),
        nn.Conv2d(channels, channels * size * size, 1),
        # In place: kernels are size * size times as large as the features, and no gradient needs them unrectified.
        nn.LeakyReLU(0.1, inplace=True),
    )


def _cross_attention(settings: GLFCRSettings, index: int) -> CrossModalAttention:
    return CrossModalAttention(
        settings.channels,
        settings.cross_attention_heads,
        kind=settings.cross_attention_kind,
        width=settings.branch_width,
        window=settings.window,
        shift=settings.window // 2 if index % 2 else 0,
        # After the last fusion nothing reads the SAR stream any more.
        both=settings.cross_attention_place == "before" or index < settings.blocks - 1,
    )


def _global_path(settings: GLFCRSettings) -> GlobalLocalBlend:
    return GlobalLocalBlend(
        settings.channels,
        settings.global_heads,
        width=settings.branch_width,
        stride=settings.global_stride,
        tokens=settings.global_tokens,
    )
