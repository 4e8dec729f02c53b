"""AFSST-style network: a spectral Transformer for optics and a window Transformer for SAR, fused stage by stage.

Our reading of "Adaptive fusion-based two-flow spectral-spatial Transformer network for SAR-based optical cloud
removal". Only a reader's notes on that method were at hand, neither the paper nor its code or scores: the parts are
the method's, their inner form and every size are ours. No published number belongs to this network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError, UsageError
from eorestore.layers.shifted_window import ShiftedWindowBlock
from eorestore.layers.sobel import LearnableSobel
from eorestore.layers.spectral_attention import SpectralBlock
from eorestore.models import scene_estimate
from eorestore.models.model import Model, Output, Prepared, SceneSample, Settings
from eorestore.models.starting_point import seen_bands, start_from_estimate

_SCALES = ((3, 1, 1.0), (5, 1, 2.0), (3, 3, 4.0))  # kernel, dilation, and blur in pixels of each branch of MSFEM
_EXPANSION, _RATIO = 2, 3  # with these a spectral and a window block have about equal numbers of parameters


@dataclass(frozen=True)
class AFSSTSettings(Settings):
    """Width, depth and parts of AFSST; the defaults are ours.

    channels: of both flows; divisible by heads. blocks: stages. depth: blocks of each flow in a stage.
    window: side of an attention window, at half resolution; even. head_channels: at full resolution.
    spectral_flow: spectral blocks for optics; False is AFSST-spa, where window blocks stand in their place.
    spatial_flow: window blocks for SAR; False is the spectral-only network, where spectral blocks stand in their place.
    fusion: `tfusion` weighs the flows; `concat_features` joins them by a 1x1 convolution; `concat_input` gives SAR to
        the optical flow as further bands: there is no SAR flow, and `spatial_flow`, `msfem`, `sobel` mean nothing.
    msfem: multi-scale SAR features; False is one 5x5 convolution. sobel: whether MSFEM sees gradients of SAR, and
        whether their factors are learned.
    mask_attention: the mask changes how much a pixel counts in the optical flow's attention.
    start, sees_cloud: as in GLF-CR; see models.starting_point.
    """

    channels: int = 96
    blocks: int = 8
    depth: int = 2
    heads: int = 4
    window: int = 8
    head_channels: int = 32
    bands: int = 13
    sar_bands: int = 2
    spectral_flow: bool = True
    spatial_flow: bool = True
    fusion: Literal["tfusion", "concat_features", "concat_input"] = "tfusion"
    msfem: bool = True
    sobel: Literal["learned", "fixed", "off"] = "learned"
    mask_attention: bool = False
    start: Literal["cloudy", "estimate"] = "cloudy"
    sees_cloud: bool = False

    def __post_init__(self) -> None:
        if self.channels % self.heads or self.window % 2:
            raise ConfigError(
                f"afsst: channels {self.channels} must divide by heads {self.heads}, window {self.window} by 2",
                fix=f"choose channels as a multiple of {self.heads} and an even window",
            )
        if not self.spectral_flow and not self.spatial_flow:
            raise ConfigError(
                "afsst: spectral_flow and spatial_flow are both off, which would only swap the flows",
                fix="set spectral_flow=false for AFSST-spa, or spatial_flow=false for the spectral-only network",
            )

    @property
    def two_flows(self) -> bool:
        """Whether SAR has a flow of its own."""
        return self.fusion != "concat_input"


class AFSST(Model):
    """Two flows at half resolution; after every stage the fused features go on as the optical flow.

        seen -> unshuffle 2 -> conv3 = F0 -> O -> [spectral block] x depth -+-> fusion -> O -> next stage
        sar  -> MSFEM                     -> S -> [window block] x depth ---+-----------> S -> next stage
        image = start + conv3(shuffle 2(gelu(conv3(conv3(O) + F0))))

    MSFEM: 3x3, 5x5 and dilated 3x3 convolutions, each of SAR and of the Sobel gradients of SAR blurred to its own
    scale times a learnable factor, merged by 1x1. TFusion: O' = beta_O O + beta_S S, with beta a softmax over the two
    flows for each channel and pixel, from both flows around the pixel and from their means over the tile.

    A SAR band that is missing enters as 0; where all are missing, beta_S is 0 throughout. `mask_attention` follows
    the idea of S2-Transformer (Wang et al. 2022), where a camera's mask guides spectral and spatial attention: here
    the cloud mask lets hidden pixels count more or less in the channel statistics, or as keys in a window; it starts
    without effect. The last convolution starts at zero: the untrained model returns what it starts from.

    Statistics of the tile make `reach` global. Extras, with `tfusion`: `sar_weight`, the mean of beta_S over channels
    and stages, that is how much of what went on came from SAR.
    """

    settings_type = AFSSTSettings
    settings: AFSSTSettings
    optional_inputs = ("sar",)

    def __init__(self, settings: AFSSTSettings) -> None:
        super().__init__(settings)
        s = settings
        self.corrects_estimate = s.start == "estimate"
        self.adds_back = self.corrects_estimate and s.sees_cloud
        seen = seen_bands(s.bands, sees_cloud=s.sees_cloud) if self.corrects_estimate else s.bands
        seen += 0 if s.two_flows else s.sar_bands
        self.optical_stem = nn.Conv2d(4 * seen, s.channels, 3, padding=1)
        self.optical_flow = nn.ModuleList(
            _Flow(s, spectral=s.spectral_flow, mask_bands=4 * s.mask_attention) for _ in range(s.blocks)
        )
        if s.two_flows:
            self.sar_stem = _MSFEM(s) if s.msfem else _PlainStem(s)
            self.sar_flow = nn.ModuleList(_Flow(s, spectral=not s.spatial_flow) for _ in range(s.blocks))
            fusion = _TFusion if s.fusion == "tfusion" else _Concatenation
            self.fusions = nn.ModuleList(fusion(s.channels) for _ in range(s.blocks))
        self.join = nn.Conv2d(s.channels, s.channels, 3, padding=1)
        last = nn.Conv2d(s.head_channels, s.bands * (1 + self.adds_back), 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        wide = nn.Conv2d(s.channels, 4 * s.head_channels, 3, padding=1)
        self.head = nn.Sequential(wide, nn.GELU(), nn.PixelShuffle(2), last)
        has_windows = not s.spectral_flow or (s.two_flows and s.spatial_flow)
        self.multiple_of = self.phase = 2 * s.window if has_windows else 2
        self.needs_scene = self.corrects_estimate
        self.doubts_mask = self.adds_back
        self.extras = {"sar_weight": 1} if s.fusion == "tfusion" else {}

    def prepare(self, scene: SceneSample) -> Prepared:
        """With `start="estimate"` the scene's interpolation and SAR regression; else nothing. Raises MaskError."""
        if not self.corrects_estimate:
            return Prepared()
        return scene_estimate.prepare_estimate(scene, sees_cloud=self.settings.sees_cloud)

    def forward(
        self,
        *,
        cloudy: Tensor,
        sar: Tensor,
        mask: Tensor | None = None,
        surface: Tensor | None = None,
        coefficients: Tensor | None = None,
        veil: Tensor | None = None,
    ) -> Output:
        """Restore a batch; y and x are multiples of `multiple_of`.

        Args:
            cloudy: (batch, bands, y, x), normalised.
            sar: (batch, sar_bands, y, x), normalised; a missing band is NaN.
            mask: (batch, 1, y, x), 1 where a pixel is to be restored, else 0. Used by `start="estimate"` and by
                `mask_attention`.
            surface: (batch, bands, y, x), the interpolation that `prepare` found; as all that follow, used with
                `start="estimate"`.
            coefficients: (batch, feature + 1, bands), the SAR regression.
            veil: (batch, 2 bands + 5, bands), clouds and ground of the scene, with `sees_cloud`.

        Returns:
            The image (batch, bands, y, x), in no way limited to the range of the input, and with `tfusion` the map
            `sar_weight`.

        Raises:
            UsageError: `start="estimate"` without mask or what `prepare` returns; `mask_attention` without mask.
        """
        if self.corrects_estimate:
            start, seen, unit = start_from_estimate(
                cloudy,
                sar,
                mask,
                model="afsst",
                sees_cloud=self.settings.sees_cloud,
                surface=surface,
                coefficients=coefficients,
                veil=veil,
            )
        else:
            start, seen, unit = cloudy, cloudy, cloudy.new_ones(())
        there = ~sar.isnan().all(dim=(1, 2, 3), keepdim=True)
        sar = torch.nan_to_num(sar, nan=0.0)
        deep, weights = self._features(seen, sar, self._hidden(mask), there=there)
        correction = self.head(deep)
        extras = {}
        if self.extras:
            mean = torch.stack(weights).mean(dim=(0, 2))[:, None]
            extras = {"sar_weight": F.interpolate(mean, scale_factor=2, mode="nearest")}
        if self.adds_back:
            correction, gain = correction.chunk(2, dim=1)
            return Output(start + unit * correction + gain * (cloudy - start), extras)
        return Output(start + unit * correction, extras)

    def _hidden(self, mask: Tensor | None) -> Tensor | None:
        """The mask as (batch, 4, y / 2, x / 2) for `mask_attention`."""
        if not self.settings.mask_attention:
            return None
        if mask is None:
            raise UsageError("afsst with mask_attention got no mask", fix="give mask: 1 = restore, 0 = clear")
        return F.pixel_unshuffle(mask, 2)

    def _features(
        self, seen: Tensor, sar: Tensor, hidden: Tensor | None, *, there: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Features at half resolution, and beta_S of every stage, (batch, channel, y / 2, x / 2)."""
        two_flows = self.settings.two_flows
        shallow = self.optical_stem(F.pixel_unshuffle(seen if two_flows else torch.cat([seen, sar], dim=1), 2))
        optical, weights = shallow, []
        sar_features = self.sar_stem(sar) if two_flows else None
        for index, flow in enumerate(self.optical_flow):
            optical = flow(optical, mask=hidden)
            if sar_features is None:
                continue
            sar_features = self.sar_flow[index](sar_features)
            optical, weight = self.fusions[index](optical, sar_features, there=there)
            weights.append(weight)
        return self.join(optical) + shallow, weights


class _Flow(nn.Module):
    """The blocks of one flow in one stage; every second window block is shifted."""

    def __init__(self, settings: AFSSTSettings, *, spectral: bool, mask_bands: int = 0) -> None:
        super().__init__()
        s = settings
        self.blocks = nn.ModuleList(
            SpectralBlock(s.channels, s.heads, expansion=_EXPANSION, mask_bands=mask_bands)
            if spectral
            else ShiftedWindowBlock(
                s.channels, s.heads, window=s.window, shifted=bool(index % 2), ratio=_RATIO, mask_bands=mask_bands
            )
            for index in range(s.depth)
        )

    def forward(self, features: Tensor, *, mask: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            features = block(features, mask=mask)
        return features


class _MSFEM(nn.Module):
    """SAR and its gradients at three scales, merged: (batch, sar band, y, x) -> (batch, channel, y / 2, x / 2)."""

    def __init__(self, settings: AFSSTSettings) -> None:
        super().__init__()
        with_gradients = settings.sobel != "off"
        bands = 4 * settings.sar_bands * (3 if with_gradients else 1)
        width = -(-settings.channels // len(_SCALES))
        self.gradients = nn.ModuleList(
            LearnableSobel(sigma=sigma, learned=settings.sobel == "learned")
            for _, _, sigma in _SCALES
            if with_gradients
        )
        self.branches = nn.ModuleList(
            nn.Conv2d(bands, width, size, padding=dilation * (size // 2), dilation=dilation)
            for size, dilation, _ in _SCALES
        )
        self.merge = nn.Conv2d(len(_SCALES) * width, settings.channels, 1)

    def forward(self, sar: Tensor) -> Tensor:
        seen = [sar] * len(self.branches)
        if len(self.gradients):
            seen = [torch.cat([sar, gradient(sar)], dim=1) for gradient in self.gradients]
        found = [branch(F.pixel_unshuffle(one, 2)) for branch, one in zip(self.branches, seen, strict=True)]
        merged: Tensor = self.merge(F.gelu(torch.cat(found, dim=1)))
        return merged


class _PlainStem(nn.Module):
    """unshuffle 2 and one 5x5 convolution, in the place of MSFEM."""

    def __init__(self, settings: AFSSTSettings) -> None:
        super().__init__()
        self.entry = nn.Conv2d(4 * settings.sar_bands, settings.channels, 5, padding=2)

    def forward(self, sar: Tensor) -> Tensor:
        features: Tensor = self.entry(F.pixel_unshuffle(sar, 2))
        return features


class _TFusion(nn.Module):
    """beta_O O + beta_S S, beta a softmax over the two flows; both are 1/2 at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.around = nn.Conv2d(2 * channels, inner, 3, padding=1)
        self.overall = nn.Linear(2 * channels, inner)
        self.logits = nn.Conv2d(inner, 2 * channels, 1)
        for parameter in self.logits.parameters():
            nn.init.zeros_(parameter)

    def forward(self, optical: Tensor, sar: Tensor, *, there: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([optical, sar], dim=1)
        overall = self.overall(both.mean(dim=(2, 3)))[..., None, None]
        of_optical, of_sar = self.logits(F.gelu(self.around(both) + overall)).chunk(2, dim=1)
        of_sar = of_sar.masked_fill(~there, -torch.inf)
        weights = torch.stack([of_optical, of_sar]).softmax(dim=0)
        return weights[0] * optical + weights[1] * sar, weights[1]


class _Concatenation(nn.Module):
    """conv1(concat(O, S)); S is 0 where SAR is missing. The weight is S's presence, for TFusion's signature."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.join = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, optical: Tensor, sar: Tensor, *, there: Tensor) -> tuple[Tensor, Tensor]:
        present = there.to(sar.dtype)
        return self.join(torch.cat([optical, present * sar], dim=1)), present.expand_as(sar)
