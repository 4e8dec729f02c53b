"""Parts of the expert fusion: what it sees, and how weights and corrections are made of that; knows no expert.

Nothing here sees the local mean of an image, so a constant added to all images moves no weight and no correction.
Every edge is reflected, every part has a bounded reach, and no pixel's normalisation sees another pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.layers.frequency_bands import BANDS, DCTBands, FFTBands, Grid, Wavelet, WaveletBands, symmetric_filter
from eorestore.layers.large_kernel import Form, LargeKernelBlock
from eorestore.layers.reflection import reflect_pad

CENTRING_REACH = 6  # of `centred`
ENERGY_REACH = 2  # of `local_energy`
HIERARCHY_REACH = 28  # in pixels of the output: 6 down, 18 in convolutions and up again, and a pixel's place in a cell
GATE_REACH = 3
PYRAMID_REACH = 36  # in pixels of the output
_BINOMIAL = (6 / 16, 4 / 16, 1 / 16)
_CONTRAST = 5.0  # an image's structure is about a tenth of its range
_OWN_LEVEL = 3.0  # logit by which a guidance band starts as the three bands of its own level
_STEP = 0.05  # of the refinement: what its last layer gives is near 1, an error of the experts is near this
_EDGE_GAIN = 0.5  # by which edges are strengthened or weakened at most
_SOFT = 1e-3  # keeps the root of an energy smooth at 0


class ReflectedConv(nn.Conv2d):
    """A convolution that keeps the size, reflected at the edge, on images of any size."""

    def __init__(self, ins: int, outs: int, *, size: int = 3) -> None:
        super().__init__(ins, outs, size)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channel, y, x) in and out."""
        return F.conv2d(reflect_pad(features, self.kernel_size[0] // 2), self.weight, self.bias)


def silent(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with all its parameters 0, so that its branch starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def smooth(image: Tensor, *, spacing: int = 1) -> Tensor:
    """Binomial 5x5 over every `spacing`th pixel."""
    return symmetric_filter(image, _BINOMIAL, spacing=spacing)


def centred(image: Tensor) -> Tensor:
    """The image less its local mean: a constant gives 0."""
    return image - smooth(smooth(image), spacing=2)


def halved(image: Tensor) -> Tensor:
    """Half the size with (1, 3, 3, 1) / 8 against aliasing, in register with bilinear enlargement; even sides."""
    padded = reflect_pad(image, 1)
    for _ in range(2):
        until = padded.shape[-2] - 2
        first, second, third, fourth = (padded[..., k : until - 1 + k : 2, :] for k in range(4))
        padded = ((first + fourth) * 0.125 + (second + third) * 0.375).transpose(-2, -1)
    return padded


def resized(image: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the size of `like`."""
    if image.shape[-2:] == like.shape[-2:]:
        return image
    return F.interpolate(image, size=like.shape[-2:], mode="bilinear")


def local_energy(bands: Tensor) -> Tensor:
    """Root mean square over bands and 5x5 pixels: (batch, k, band, y, x) -> (batch, k, y, x)."""
    energy = smooth(bands.square().mean(dim=2))
    return (energy + _SOFT**2).sqrt() - _SOFT


class FrequencyGuidance(nn.Module):
    """Phase 2: nine bands of the small image, and three guidance bands as mixtures of them.

        weights = softmax over the nine of conv1x1(energies of the nine)      guidance_j = sum_k weights_jk band_k

    The low bands are centred first, since an energy with the mean in it is nothing but the mean. At first a guidance
    band is nearly the mean of the three bands of its level.
    """

    def __init__(self, *, grid: Grid, wavelet: Wavelet, fft_size: int, per_image: bool) -> None:
        super().__init__()
        self.dct = DCTBands(grid=grid, per_image=per_image)
        self.wavelet = WaveletBands(wavelet)
        self.fft = FFTBands(size=fft_size, per_image=per_image)
        self.reach = max(self.dct.reach, self.wavelet.reach, self.fft.reach) + CENTRING_REACH + ENERGY_REACH
        self.mix = nn.Conv2d(3 * BANDS, BANDS * 3 * BANDS, 1)
        level = torch.arange(3 * BANDS) % BANDS
        with torch.no_grad():
            self.mix.bias.copy_(_OWN_LEVEL * (level == torch.arange(BANDS)[:, None]).float().flatten())  # type: ignore[union-attr]

    def forward(self, low: Tensor, profile: Tensor | None) -> Tensor:
        """(batch, band, y, x) -> (batch, 3, band, y, x), about 1 in size."""
        nine = torch.cat([self.dct(low, profile), self.wavelet(low), self.fft(low, profile)], dim=1)
        nine = torch.stack([centred(band) if k % BANDS == 0 else band for k, band in enumerate(nine.unbind(1))], dim=1)
        nine = nine * _CONTRAST
        weights = self.mix(local_energy(nine)).unflatten(1, (BANDS, 3 * BANDS)).softmax(dim=2)
        return torch.stack([(weights[:, j, :, None] * nine).sum(dim=1) for j in range(BANDS)], dim=1)


class PlainGuidance(nn.Module):
    """Without phase 2: the small image without its mean, smooth and the rest of it. Nothing is learned."""

    reach = CENTRING_REACH + ENERGY_REACH

    def forward(self, low: Tensor, profile: Tensor | None) -> Tensor:  # noqa: ARG002 - as FrequencyGuidance
        """(batch, band, y, x) -> (batch, 2, band, y, x)."""
        structure = centred(low) * _CONTRAST
        rough = smooth(structure)
        return torch.stack([rough, structure - rough], dim=1)


class TokenAttention(nn.Module):
    """Tokens at one pixel look at each other: t + conv1x1(softmax(q k^T / sqrt(d)) v), q, k, v of the normed tokens.

    Pixels never mix, so rows are taken in pieces of about `chunk` pixels and memory does not grow with the scene.
    No bias in q, k, v: that of k would cancel in the softmax and never learn.
    """

    def __init__(self, channels: int, heads: int, *, chunk: int) -> None:
        super().__init__()
        self.heads, self.chunk = heads, chunk
        self.norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.leave = nn.Conv2d(channels, channels, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, token, channel, y, x) in and out."""
        rows = max(self.chunk // tokens.shape[-1], 1)
        return torch.cat([self._attend(piece) for piece in torch.split(tokens, rows, dim=-2)], dim=-2)

    def _attend(self, tokens: Tensor) -> Tensor:
        count = tokens.shape[1]
        normed = _normed(tokens, dim=2) * self.norm.weight[:, None, None] + self.norm.bias[:, None, None]
        heads = self.query_key_value(normed.flatten(0, 1)).unflatten(1, (3, self.heads, -1)).unflatten(0, (-1, count))
        query, key, value = heads.unbind(dim=2)  # (batch, token, head, d, y, x)
        scores = (query[:, :, None] * key[:, None]).sum(dim=4) / query.shape[3] ** 0.5
        weights = scores.softmax(dim=2)
        seen = (weights[:, :, :, :, None] * value[:, None]).sum(dim=2).flatten(2, 3)
        change: Tensor = self.leave(seen.flatten(0, 1)).view_as(tokens)
        return tokens + change


class CrossBand(nn.Module):
    """Phase 3: guidance bands attend to each other at each pixel, then a large kernel looks around."""

    def __init__(self, guides: int, bands: int, channels: int, *, heads: int, chunk: int, form: Form) -> None:
        super().__init__()
        self.enter = nn.Conv2d(bands, channels, 1)
        self.which = nn.Parameter(torch.randn(guides, channels, 1, 1) * 0.1)
        self.attend = TokenAttention(channels, heads, chunk=chunk)
        self.join = nn.Conv2d(guides * channels, channels, 1)
        self.around = LargeKernelBlock(channels, form=form)
        self.reach = self.around.reach

    def forward(self, guidance: Tensor) -> Tensor:
        """(batch, guide, band, y, x) -> (batch, channel, y, x)."""
        tokens = self.enter(guidance.flatten(0, 1)).unflatten(0, guidance.shape[:2]) + self.which
        joined: Tensor = self.around(self.join(self.attend(tokens).flatten(1, 2)))
        return joined


class CrossExpert(nn.Module):
    """Phase 4: experts attend to each other at each pixel of the small image; a score for each comes out, 0 at first.

    A token is an expert's features, normed over channels, or, where there are none, its deviations folded to the
    small size. Scores only shift the weights of the experts.
    """

    def __init__(self, inputs: Sequence[int], channels: int, *, heads: int, chunk: int, features: bool) -> None:
        super().__init__()
        self.inputs, self.features = tuple(inputs), features
        self.enter = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in inputs)
        self.attend = TokenAttention(channels, heads, chunk=chunk)
        self.score = silent(nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, all channels one expert after another, y, x) -> (batch, expert, y, x)."""
        parts = [
            _normed(part, dim=1) if self.features else part for part in torch.split(maps, list(self.inputs), dim=1)
        ]
        tokens = torch.stack([enter(part) for enter, part in zip(self.enter, parts, strict=True)], dim=1)
        attended = F.gelu(self.attend(tokens))
        scores: Tensor = self.score(attended.flatten(0, 1)).unflatten(0, attended.shape[:2])
        return scores[:, :, 0]


class HierarchicalWeights(nn.Module):
    """Phase 5: logits of the experts at a quarter, a half and all of the size, each added to the enlarged one before.

    hidden = GELU(conv3(seen) + conv1(context) + enlarged hidden), then GELU(conv3), and a silent conv3 to logits.
    """

    def __init__(self, seen: int, context: int, channels: int, *, experts: int) -> None:
        super().__init__()
        self.experts = experts
        self.look = nn.ModuleList(ReflectedConv(seen, channels) for _ in range(3))
        self.guide = nn.ModuleList(nn.Conv2d(context, channels, 1, bias=False) for _ in range(3))
        self.think = nn.ModuleList(ReflectedConv(channels, channels) for _ in range(3))
        self.say = nn.ModuleList(silent(ReflectedConv(channels, experts)) for _ in range(3))

    def forward(self, seen: Tensor, context: Tensor) -> Tensor:
        """Seen (batch, k, y, x) at full size, context at any -> (batch, expert, y, x)."""
        half = halved(seen)
        hidden = logits = None
        layers = zip((halved(half), half, seen), self.look, self.guide, self.think, self.say, strict=True)
        for level, look, guide, think, say in layers:
            now = look(level) + resized(guide(context), level)
            hidden = F.gelu(think(F.gelu(now if hidden is None else now + resized(hidden, level))))
            logits = say(hidden) if logits is None else resized(logits, level) + say(hidden)
        return logits if logits is not None else seen.new_zeros(seen.shape[0], self.experts, *seen.shape[-2:])


class Gates(nn.Module):
    """Phase 6: logits of the experts at each pixel, divided by a learned temperature, and how difficult the pixel is.

    Difficulty in (0, 1) says how much of the weights comes from here, and how much from the smoother phase 5.
    """

    def __init__(self, seen: int, context: int, channels: int, *, experts: int) -> None:
        super().__init__()
        self.look = ReflectedConv(seen, channels)
        self.guide = nn.Conv2d(context, channels, 1, bias=False)
        self.think = ReflectedConv(channels, channels)
        self.say = silent(ReflectedConv(channels, experts))
        self.doubt = nn.Conv2d(channels, 1, 1)
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, seen: Tensor, context: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, expert, y, x), the scores of phase 4 among them, and difficulty (batch, 1, y, x)."""
        hidden = F.gelu(self.look(seen) + resized(self.guide(context), seen))
        hidden = F.gelu(self.think(hidden))
        logits = (scores + self.say(hidden)) * torch.exp(-self.log_temperature)
        return logits, torch.sigmoid(self.doubt(hidden))


class Refinement(nn.Module):
    """Phase 7: a residual of the fused image from its structure and the experts' deviations; silent at first."""

    def __init__(self, bands: int, seen: int, context: int, *, channels: int, layers: int) -> None:
        super().__init__()
        self.look = ReflectedConv(bands + seen, channels)
        self.guide = nn.Conv2d(context, channels, 1, bias=False)
        self.think = nn.ModuleList(ReflectedConv(channels, channels) for _ in range(layers - 2))
        self.say = silent(ReflectedConv(channels, bands))
        self.reach = CENTRING_REACH + layers

    def forward(self, fused: Tensor, seen: Tensor, context: Tensor) -> Tensor:
        """(batch, band, y, x), to be added."""
        hidden = self.look(torch.cat([centred(fused) * _CONTRAST, seen], dim=1)) + resized(self.guide(context), fused)
        for layer in self.think:
            hidden = layer(F.gelu(hidden))
        change: Tensor = self.say(F.gelu(hidden))
        return change * _STEP


class Edges(nn.Module):
    """Phase 7: three levels of the Laplacian pyramid (Burt and Adelson 1983), each times a learned gain in (-.5, .5).

    gain = tanh(silent conv3(GELU(conv5(size of the level, spread of the experts)))) / 2, one for all bands, so a
    correction has the colour of its edge.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # torch computes a 3x3 on few numbers by another route, which rounds otherwise: a small tile would differ
        self.look = nn.ModuleList(ReflectedConv(2, channels, size=5) for _ in range(3))
        self.say = nn.ModuleList(silent(ReflectedConv(channels, 1)) for _ in range(3))

    def forward(self, fused: Tensor, spread: Tensor) -> Tensor:
        """Fused (batch, band, y, x), spread (batch, 1, y, x) as seen -> (batch, band, y, x), to be added."""
        half = halved(fused)
        quarter = halved(half)
        spreads = [spread, halved(spread)]
        spreads.append(halved(spreads[1]))
        levels = (fused - resized(half, fused), half - resized(quarter, half), quarter - smooth(quarter))
        change = torch.zeros_like(quarter)
        for level, wide, look, say in reversed(list(zip(levels, spreads, self.look, self.say, strict=True))):
            size = level.abs().mean(dim=1, keepdim=True) * _CONTRAST
            gain = torch.tanh(say(F.gelu(look(torch.cat([size, wide], dim=1))))) * _EDGE_GAIN
            change = resized(change, level) + gain * level
        return change


def keep_largest(weights: Tensor, keep: int) -> Tensor:
    """Weights with all but the `keep` largest at each pixel set to 0, the rest summing to 1; what is tied stays.

    Straight through: backward it is as if nothing had been dropped, so an expert can come back.
    """
    if keep >= weights.shape[1]:
        return weights
    smallest = weights.topk(keep, dim=1).values[:, -1:]
    kept = weights * (weights >= smallest)
    kept = kept / kept.sum(dim=1, keepdim=True)
    return weights + (kept - weights).detach()


def _normed(features: Tensor, *, dim: int) -> Tensor:
    """Mean 0 and variance 1 over the channels of each pixel."""
    shifted = features - features.mean(dim=dim, keepdim=True)
    return shifted * torch.rsqrt(shifted.square().mean(dim=dim, keepdim=True) + 1e-5)
