"""Expert fusion: one image out of those that several frozen experts made of the same small one; knows no expert.

Written from a plan of seven phases, of which the experts are the first. Each of the others is a switch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from eorestore.errors import ConfigError, UsageError
from eorestore.layers.frequency_bands import BANDS, spectral_profile
from eorestore.models import expert_fusion_parts as parts
from eorestore.models.model import Model, Output, Prepared, SceneSample, Settings


@dataclass(frozen=True)
class ExpertFusionSettings(Settings):
    """Sizes, phases and inputs; the defaults are a compact network that trains on a CPU.

    experts, bands: how many images there are and what each has, in a fixed order. scale: enlargement by the experts.
    channels: of phases 3 to 6, a multiple of heads; 64 with 4 heads in the plan.
    refine_channels, refine_layers: of the refinement, first and last layer counted; 64 and 4 in the plan.
    edge_channels: of each level of the edges; 32 in the plan.
    frequency: phase 2; nine bands of the small image make three guidance bands. Without it there are two fixed ones.
    cross_band: phase 3; the guidance bands attend to each other, then a large kernel looks around.
    cross_expert: phase 4; the experts' features attend to each other and shift the weights.
    hierarchical: phase 5; weights from coarse to fine. gates: phase 6; weights from each pixel's disagreement.
    refine, edges: phase 7; a residual, and stronger or weaker edges.
    keep: experts that have a weight at a pixel, at most, with `gates`; those tied with the last stay.
    strict_identity: corrections of phase 7 are multiplied by spread / (spread + agreement), the spread of the experts
        smoothed over 5x5 pixels, so that where they agree the image is theirs. Without it phase 7 is free.
    agreement: spread at which half of a correction is left, in normalised units.
    feature_channels: of the features of each expert, in `features` one after another; where empty, phase 4 looks at
        the experts' deviations folded to the small size.
    dct: 8x8 DCT as the mean over all places of its grid, or on one grid of blocks.
    limits: band limits that are learned once, or that a network moves for each image (for each scene, by `prepare`).
    kernel: the large kernel, dilated or as strips.
    gain: what deviations and spread are multiplied by before a network sees them; experts differ by hundredths.
    chunk: pixels that attention takes at a time.
    sigma: the error to expect: a floor, and a share of the experts' spread within 5x5 pixels. The defaults are a
        regression on 20 natural images and three public experts, where the image's detail told nothing more.
    """

    experts: int = 3
    bands: int = 3
    scale: int = 4
    channels: int = 24
    heads: int = 4
    refine_channels: int = 24
    refine_layers: int = 4
    edge_channels: int = 8
    frequency: bool = True
    cross_band: bool = True
    cross_expert: bool = True
    hierarchical: bool = True
    gates: bool = True
    refine: bool = True
    edges: bool = True
    keep: int = 3
    strict_identity: bool = True
    agreement: float = 0.005
    feature_channels: tuple[int, ...] = ()
    dct: Literal["sliding", "blocks"] = "sliding"
    wavelet: Literal["haar", "db2", "db4"] = "db2"
    fft_size: int = 17
    limits: Literal["learned", "image"] = "learned"
    kernel: Literal["dilated", "strips"] = "dilated"
    gain: float = 20.0
    chunk: int = 16384
    sigma: tuple[float, float] = (0.017, 6.75)

    def __post_init__(self) -> None:
        if self.channels % self.heads:
            raise ConfigError(
                f"expert-fusion: channels {self.channels} does not divide by heads {self.heads}",
                fix=f"choose channels as a multiple of {self.heads}",
            )
        if min(self.experts, self.bands, self.scale, self.keep, self.chunk, self.refine_layers - 1) < 1:
            raise ConfigError(
                "expert-fusion: experts, bands, scale, keep and chunk must be at least 1, refine_layers 2",
                fix="the defaults are 3 experts, 3 bands, scale 4, keep 3, chunk 16384 and 4 refine_layers",
            )
        if self.gain <= 0 or self.agreement <= 0:
            raise ConfigError("expert-fusion: gain and agreement must be above 0", fix="the defaults are 20 and 0.005")
        if self.feature_channels and len(self.feature_channels) != self.experts:
            raise ConfigError(
                f"expert-fusion: feature_channels has {len(self.feature_channels)} numbers for {self.experts} experts",
                fix="give one number for each expert, or none",
            )
        if self.feature_channels and not self.cross_expert:
            raise ConfigError("expert-fusion: only cross_expert reads features", fix="leave feature_channels empty")
        if (self.frequency or self.cross_band) and not self.is_guided:
            raise ConfigError(
                "expert-fusion: frequency and cross_band guide hierarchical, gates and refine, and all three are off",
                fix="switch one of the three on, or frequency and cross_band off",
            )

    @property
    def is_guided(self) -> bool:
        """Whether a phase is on that looks at the small image."""
        return self.hierarchical or self.gates or self.refine

    @property
    def is_weighted(self) -> bool:
        """Whether a phase is on that weighs the experts."""
        return self.hierarchical or self.gates or self.cross_expert


PLAN = ExpertFusionSettings(
    channels=64,
    refine_channels=64,
    edge_channels=32,
    feature_channels=(180, 180, 64),
    wavelet="db4",
    limits="image",
)
"""The sizes of the plan: fusion 64, 4 heads, refinement 4 x 64, features of HAT-L, DAT and NAFNet."""


class ExpertFusion(Model):
    """The mean of the experts, weights away from it where that helped, and small corrections.

        low -> 2 frequency bands -> guidance -> 3 cross-band, large kernel -> context
        features -> 4 cross-expert -> scores
        deviations, spread, context, scores -> 5 hierarchical -> smooth weights
        deviations, spread, context, scores -> 6 gates -> sharp weights, and how far to go to them
        fused = mean + sum of weights * deviations
        image = fused + agreement(spread) * (7 refinement + edges)

    Differs from the plan where that broke the image: weights sum to 1 and no share of the small image is added, so
    brightness is kept; each last layer starts at 0, so the untrained network is the mean of the experts; nothing sees
    an image's local mean; gates see what the experts disagree on; edges are reflected; there is no sigmoid on pixels,
    clamp, batch norm, dropout, or mean over a tile. The mean is taken around the first expert, so that experts which
    agree give their common image to the last bit, before training and after.

    Tiles start on multiples of 8, the grid of the DCT. `reach` is an upper bound.
    """

    settings_type = ExpertFusionSettings
    settings: ExpertFusionSettings
    joint = ("gates", "difficulty")

    def __init__(self, settings: ExpertFusionSettings) -> None:
        super().__init__(settings)
        s = settings
        per_image = s.frequency and s.limits == "image"
        seen = (s.experts + 1) * s.bands
        guides = BANDS if s.frequency else 2
        context = guides + s.channels * s.cross_band
        self.frequency = (
            parts.FrequencyGuidance(grid=s.dct, wavelet=s.wavelet, fft_size=s.fft_size, per_image=per_image)
            if s.frequency
            else parts.PlainGuidance()
        )
        self.cross_band = (
            parts.CrossBand(guides, s.bands, s.channels, heads=s.heads, chunk=s.chunk, form=s.kernel)
            if s.cross_band
            else None
        )
        inputs = s.feature_channels or (s.bands * s.scale**2,) * s.experts
        self.cross_expert = (
            parts.CrossExpert(inputs, s.channels, heads=s.heads, chunk=s.chunk, features=bool(s.feature_channels))
            if s.cross_expert
            else None
        )
        self.hierarchical = (
            parts.HierarchicalWeights(seen, context, s.channels, experts=s.experts) if s.hierarchical else None
        )
        self.gates = parts.Gates(seen, context, s.channels, experts=s.experts) if s.gates else None
        self.refine = (
            parts.Refinement(s.bands, seen, context, channels=s.refine_channels, layers=s.refine_layers)
            if s.refine
            else None
        )
        self.edges = parts.Edges(s.edge_channels) if s.edges else None
        self.scale, self.phase, self.tiling = s.scale, 8, "crop"
        self.multiple_of = 4 // math.gcd(4, s.scale)
        self.needs_scene = per_image
        self.extras = (
            ({"gates": s.experts} if s.is_weighted else {})
            | ({"difficulty": 1} if s.gates else {})
            | ({"edges": 1} if s.edges else {})
            | {"sigma": s.bands}
        )
        self.reach = self._reach()

    def prepare(self, scene: SceneSample) -> Prepared:
        """With `limits="image"` the spectrum that sets the band limits, mean over the windows of the scene."""
        if not self.needs_scene:
            return Prepared()
        profiles = torch.cat([spectral_profile(window["low"]) for window in scene.windows])
        return Prepared(constants={"profile": profiles.mean(dim=0)})

    def forward(
        self,
        *,
        low: Tensor,
        experts: Tensor,
        features: Tensor | None = None,
        profile: Tensor | None = None,
        together: int = 1,
    ) -> Output:
        """Fuse a batch; y and x are multiples of `multiple_of`.

        Args:
            low: the small image, (batch, band, y, x), normalised.
            experts: (batch, expert, band, scale * y, scale * x), normalised as `low`, in no way limited in range.
            features: (batch, sum of feature_channels, y, x), where the settings name them.
            profile: (batch or 1, 14), what `prepare` learned with `limits="image"`; that of `low` where None.
            together: so many items of the batch, one after another, are bands of one scene. They share their weights,
                from the mean of what each group of bands speaks for, so that a pixel is from one expert in all bands.

        Returns:
            The image, and as extras `gates`, the weight of each expert, `difficulty` in (0, 1), and `edges`, the mean
            over bands of the size of their correction, each where its phase is on; and `sigma`, see `sigma_of`.

        Raises:
            UsageError: shapes that do not fit the settings or each other, or features that are missing or too many.
        """
        self._check(low, experts, features)
        s = self.settings
        first = experts[:, 0]
        # around the first expert: the mean of equal numbers is not always that number, the mean of zeros is
        mean = first + (experts - first[:, None]).mean(dim=1)
        deviations = experts - mean[:, None]
        spread = deviations.abs().mean(dim=1)
        seen = torch.cat([deviations.flatten(1, 2), spread], dim=1) * s.gain
        context = self._context(low, profile) if s.is_guided else low
        extras = {}
        fused = mean
        if s.is_weighted:
            weights, difficulty = self._weights(seen, context, deviations, features, together)
            extras["gates"] = weights
            if difficulty is not None:
                extras["difficulty"] = difficulty
            fused = mean + ((weights - 1 / s.experts)[:, :, None] * deviations).sum(dim=1)
        wide = spread.mean(dim=1, keepdim=True)
        agreement = parts.smooth(wide) if s.strict_identity else torch.ones_like(wide)
        if s.strict_identity:
            agreement = agreement / (agreement + s.agreement)
        image = fused
        if self.refine is not None:
            image = image + agreement * self.refine(fused, seen, context)
        if self.edges is not None:
            correction = agreement * self.edges(fused, wide * s.gain)
            image = image + correction
            extras["edges"] = correction.abs().mean(dim=1, keepdim=True)
        return Output(image, {**extras, "sigma": self.sigma_of(wide)})

    def sigma_of(self, spread: Tensor) -> Tensor:
        """The error to expect of each band (batch, band, y, x), where experts differ by `spread` (batch, 1, y, x)."""
        floor, share = self.settings.sigma
        return (floor + share * parts.smooth(spread.detach())).expand(-1, self.settings.bands, -1, -1)

    def _context(self, low: Tensor, profile: Tensor | None) -> Tensor:
        if self.needs_scene and profile is None:
            profile = spectral_profile(low)
        guidance = self.frequency(low, profile)
        energies = parts.local_energy(guidance)
        return energies if self.cross_band is None else torch.cat([energies, self.cross_band(guidance)], dim=1)

    def _weights(
        self, seen: Tensor, context: Tensor, deviations: Tensor, features: Tensor | None, together: int
    ) -> tuple[Tensor, Tensor | None]:
        s = self.settings

        def shared(values: Tensor) -> Tensor:
            return values if together == 1 else reduce_groups(values, together)

        scores = torch.zeros_like(deviations[:, :, 0])
        if self.cross_expert is not None:
            if features is None:
                features = F.pixel_unshuffle(deviations.flatten(1, 2) * s.gain, s.scale)
            scores = parts.resized(self.cross_expert(features), scores)
        logits = scores if self.hierarchical is None else scores + self.hierarchical(seen, context)
        weights = shared(logits).softmax(dim=1)
        if self.gates is None:
            return weights, None
        gates, difficulty = (shared(values) for values in self.gates(seen, context, scores))
        weights = weights + difficulty * (gates.softmax(dim=1) - weights)
        return parts.keep_largest(weights, s.keep), difficulty

    def _check(self, low: Tensor, experts: Tensor, features: Tensor | None) -> None:
        s = self.settings
        batch, _, height, width = low.shape
        expected = (batch, s.experts, s.bands, s.scale * height, s.scale * width)
        if low.shape[1] != s.bands or experts.shape != expected:
            raise UsageError(
                f"expert-fusion: low is {tuple(low.shape)} and experts {tuple(experts.shape)}, not {expected}",
                fix="give the outputs of the experts that the network was trained for, all of one size",
            )
        wanted = (batch, sum(s.feature_channels), height, width) if s.feature_channels else None
        if (None if features is None else tuple(features.shape)) != wanted:
            raise UsageError(
                f"expert-fusion: features are {'missing' if features is None else tuple(features.shape)}, "
                f"not {wanted or 'left out'}",
                fix="give the experts' features one after another, as the settings name them",
            )

    def _reach(self) -> int:
        s = self.settings
        around = self.cross_band.reach if self.cross_band is not None else 0
        small = self.frequency.reach + max(parts.ENERGY_REACH, around) + 1 if s.is_guided else 0
        small = max(small, 2 * s.cross_expert)
        weights = max(parts.HIERARCHY_REACH * s.hierarchical, parts.GATE_REACH * s.gates)
        correction = max(self.refine.reach if self.refine is not None else 0, parts.PYRAMID_REACH * s.edges)
        agreement = parts.ENERGY_REACH * (s.strict_identity and (s.refine or s.edges))
        return small + -(-max(weights + correction, agreement, parts.ENERGY_REACH) // s.scale) + 1


def reduce_groups(values: Tensor, together: int) -> Tensor:
    """(batch, ...) where each run of `together` items has the mean of them."""
    means = rearrange(values, "(b g) ... -> b g ...", g=together).mean(dim=1)
    return means.repeat_interleave(together, dim=0)


def parameters_by_phase(settings: ExpertFusionSettings) -> dict[str, int]:
    """Number of parameters of each phase that is on and has any, in order."""
    with torch.device("meta"):
        model = ExpertFusion(settings)
    counts = {name: sum(p.numel() for p in phase.parameters()) for name, phase in model.named_children()}
    return {name: count for name, count in counts.items() if count}
