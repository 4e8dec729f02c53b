"""An image as low, middle and high frequencies, by three transforms; knows no network.

Every transform here is a symmetric filter of fixed support, so that no band is out of register, the constant part
lies in the low band alone, the bands sum to the image, and a tile with a halo of `reach` pixels has the bands of the
whole scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.errors import ConfigError
from eorestore.layers.reflection import reflect_pad

BANDS = 3
BLOCK = 8
_LOW, _HIGH = (0.15, 0.40), (0.60, 0.90)  # ranges of the two limits, in half the sampling frequency
_SHIFT = 0.1  # by which an image can move the limits
_SHARPNESS = 20.0  # of the edge of a band
_MOMENTS = {"haar": 1, "db2": 2, "db4": 4}  # vanishing moments

Grid = Literal["sliding", "blocks"]
Wavelet = Literal["haar", "db2", "db4"]


class BandLimits(nn.Module):
    """The two limits between three bands, learned, and moved by each image where its `profile` is given.

        low = .15 + .25 sigmoid(a)     high = .6 + .3 sigmoid(b)     + 0.1 tanh(MLP(profile))

    The ranges keep the limits in order. In units of half the sampling frequency. No batch mean, no detached number.
    """

    def __init__(self, *, per_image: bool) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(2))
        self.predict = (
            nn.Sequential(nn.Linear(PROFILE, 16), nn.GELU(), nn.Linear(16, 2, bias=False)) if per_image else None
        )

    def forward(self, profile: Tensor | None = None) -> Tensor:
        """(batch, 14) of `spectral_profile` or None -> (batch, 2), or (1, 2) where the limits do not hang on an image.

        Raises:
            ConfigError: the limits hang on the image and there is no profile.
        """
        share = torch.sigmoid(self.place)
        low = _LOW[0] + (_LOW[1] - _LOW[0]) * share[:1]
        high = _HIGH[0] + (_HIGH[1] - _HIGH[0]) * share[1:]
        limits = torch.cat([low, high])[None]
        if self.predict is None:
            return limits
        if profile is None:
            raise ConfigError("band limits per image need a profile", fix="give spectral_profile(image)")
        return limits + _SHIFT * torch.tanh(self.predict(profile))


class DCTBands(nn.Module):
    """Bands of the 8x8 DCT-II, cut by soft masks over the coefficients' frequency.

    `blocks` cuts the image into blocks from its first pixel on, odd sizes padded by reflection at the end and
    cropped: what a codec does, and the grid is seen in the bands. `sliding`, the default, is the mean over all 64
    places of that grid (cycle spinning, Coifman and Donoho 1995). It is one symmetric kernel of 15x15 pixels,

        kernel(dy, dx) = sum over u, v of mask(u, v) r_u(dy) r_v(dx) / 64,    r_u: autocorrelation of basis vector u

    Attributes:
        reach: pixels that a band sees in each direction.
    """

    reach = BLOCK - 1
    basis: Tensor
    responses: Tensor
    frequency: Tensor

    def __init__(self, *, grid: Grid = "sliding", per_image: bool = False) -> None:
        super().__init__()
        self.grid = grid
        self.limits = BandLimits(per_image=per_image)
        basis = _dct_basis()
        responses = torch.stack([_autocorrelation(row) for row in basis]) / BLOCK
        order = torch.arange(BLOCK, dtype=torch.float64) / BLOCK
        self.register_buffer("basis", basis.float(), persistent=False)
        self.register_buffer("responses", responses.float(), persistent=False)
        self.register_buffer("frequency", torch.hypot(order[:, None], order).float(), persistent=False)

    def forward(self, image: Tensor, profile: Tensor | None = None) -> Tensor:
        """(batch, band, y, x) -> (batch, 3, band, y, x): low, middle, high."""
        masks = _masks(self.frequency, self.limits(profile))
        if self.grid == "sliding":
            return _split(image, _kernels(masks, self.responses))
        return _with_high(image, self._in_blocks(image, masks))

    def _in_blocks(self, image: Tensor, masks: Tensor) -> Tensor:
        batch, bands, height, width = image.shape
        pictures = torch.einsum("ui,vj->uvij", self.basis, self.basis).view(BLOCK**2, 1, BLOCK, BLOCK)
        coefficients = F.conv2d(_in_whole_blocks(image).flatten(0, 1)[:, None], pictures, stride=BLOCK)
        coefficients = coefficients.view(batch, 1, bands, BLOCK**2, *coefficients.shape[-2:])
        kept = coefficients * masks.view(masks.shape[0], 2, 1, BLOCK**2, 1, 1)
        parts = F.conv_transpose2d(kept.flatten(0, 2), pictures, stride=BLOCK)
        return parts.view(batch, 2, bands, *parts.shape[-2:])[..., :height, :width]


class WaveletBands(nn.Module):
    """Bands of the stationary (undecimated) wavelet transform with two levels; nothing is learned.

        low_1 = a * image, low_2 = a(2) * low_1      low = low_2, middle = low_1 - low_2, high = image - low_1

    Each is what the inverse transform makes of the approximation, or of all details of a level, alone. That is a
    filter with the autocorrelation a of the wavelet's low-pass filter, symmetric for every orthogonal wavelet; a(2)
    has a zero between its taps. For Daubechies wavelets a is the half-band filter of Deslauriers and Dubuc (1989;
    Shensa 1992), which has a closed form.
    """

    def __init__(self, wavelet: Wavelet = "db2") -> None:
        super().__init__()
        if wavelet not in _MOMENTS:
            raise ConfigError(f"no wavelet is called {wavelet}", fix=f"choose one of {', '.join(_MOMENTS)}")
        self.taps = half_band(_MOMENTS[wavelet])
        self.reach = 3 * (len(self.taps) - 1)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, band, y, x) -> (batch, 3, band, y, x): low, middle, high."""
        first = symmetric_filter(image, self.taps)
        second = symmetric_filter(first, self.taps, spacing=2)
        return torch.stack([second, first - second, image - first], dim=1)


class FFTBands(nn.Module):
    """Bands cut by soft radial masks on the frequencies of a small FFT grid, centred where the frequency is 0.

    A mask over a whole scene has no bounded reach and says something else for every size of a tile. So the mask lives
    on a grid of `size` x `size` frequencies of `fftfreq`, and its inverse transform is the filter: as many pixels,
    symmetric since the mask is, centred since the size is odd. On an image of just that size with periodic edges it
    is the FFT mask itself. Limits and the sharpness of the edge are learned.
    """

    responses: Tensor
    frequency: Tensor

    def __init__(self, *, size: int = 17, per_image: bool = False) -> None:
        super().__init__()
        if size % 2 == 0 or size < 3:
            raise ConfigError(f"an FFT grid of {size} has no central pixel", fix="choose an odd size, such as 17")
        self.reach = size // 2
        self.limits = BandLimits(per_image=per_image)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(_SHARPNESS)))
        cycles = torch.fft.fftfreq(size, dtype=torch.float64)
        offsets = torch.arange(-self.reach, self.reach + 1, dtype=torch.float64)
        # the sines cancel, since the mask is the same at u and -u
        responses = torch.cos(2 * torch.pi * cycles[:, None] * offsets) / size
        self.register_buffer("responses", responses.float(), persistent=False)
        self.register_buffer("frequency", 2 * torch.hypot(cycles[:, None], cycles).float(), persistent=False)

    def forward(self, image: Tensor, profile: Tensor | None = None) -> Tensor:
        """(batch, band, y, x) -> (batch, 3, band, y, x): low, middle, high."""
        return _split(image, _kernels(self.masks(profile), self.responses))

    def masks(self, profile: Tensor | None = None) -> Tensor:
        """What the low and the middle band keep, (batch or 1, 2, size, size), in the order of `fftfreq`."""
        return _masks(self.frequency, self.limits(profile), sharpness=self.log_sharpness.exp())


PROFILE = 14
"""Numbers of a `spectral_profile`: the diagonals of an 8x8 DCT block but the first."""


def spectral_profile(image: Tensor) -> Tensor:
    """Log energy of each diagonal of the 8x8 DCT, mean over blocks and bands: (batch, band, y, x) -> (batch, 14).

    The constant part is left out. A statistic of the whole image: take it once for a scene, not for each tile.
    """
    basis = _dct_basis().to(image)
    pictures = torch.einsum("ui,vj->uvij", basis, basis).view(BLOCK**2, 1, BLOCK, BLOCK)
    coefficients = F.conv2d(_in_whole_blocks(image).flatten(0, 1)[:, None], pictures, stride=BLOCK)
    energies = coefficients.square().mean(dim=(-2, -1)).view(image.shape[0], -1, BLOCK**2).mean(dim=1)
    diagonal = (torch.arange(BLOCK)[:, None] + torch.arange(BLOCK)).flatten().to(image.device)
    of_diagonal = F.one_hot(diagonal, 2 * BLOCK - 1)[:, 1:].to(image)
    profile: Tensor = (energies @ of_diagonal / of_diagonal.sum(dim=0) + 1e-8).log10()
    return profile


def half_band(moments: int) -> tuple[float, ...]:
    """Taps 0, 1, 2, ... of the symmetric half-band filter with 2 * `moments` vanishing moments, 2 * moments of them.

    Half of the interpolation at 1/2 by the polynomial through 2 * moments neighbours, and 1/2 in the middle.
    """
    points = [2 * k - 2 * moments + 1 for k in range(2 * moments)]
    taps = [0.5] + [0.0] * (2 * moments - 1)
    for point in points[moments:]:
        taps[point] = math.prod(-other / (point - other) for other in points if other != point) / 2
    return tuple(taps)


def symmetric_filter(image: Tensor, taps: Sequence[float], *, spacing: int = 1) -> Tensor:
    """Filter y, then x, by taps[0] p + taps[1] (p one up + p one down) + ..., reflected at the edge.

    Args:
        image: (batch, channel, y, x).
        taps: the middle one first.
        spacing: pixels from one tap to the next.
    """
    # sums of shifted images, since what a convolution rounds may hang on the size of a tile
    radius = spacing * (len(taps) - 1)
    padded = reflect_pad(image, radius)
    for axis, length in zip((-2, -1), image.shape[-2:], strict=True):
        total = padded.narrow(axis, radius, length) * taps[0]
        for step, tap in enumerate(taps[1:], start=1):
            if tap:
                before, after = radius - spacing * step, radius + spacing * step
                total = total + (padded.narrow(axis, before, length) + padded.narrow(axis, after, length)) * tap
        padded = total
    return padded


def _dct_basis() -> Tensor:
    """Orthonormal DCT-II, (frequency, pixel), float64."""
    order = torch.arange(BLOCK, dtype=torch.float64)
    basis = torch.cos(torch.pi / BLOCK * order[:, None] * (order + 0.5)) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis


def _autocorrelation(row: Tensor) -> Tensor:
    padded = F.pad(row, (BLOCK - 1, BLOCK - 1))
    return padded.unfold(0, BLOCK, 1) @ row


def _in_whole_blocks(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return reflect_pad(image, (0, -width % BLOCK, 0, -height % BLOCK))


def _masks(frequency: Tensor, limits: Tensor, *, sharpness: Tensor | float = _SHARPNESS) -> Tensor:
    """What low and middle keep, (batch, 2, u, v); 1 and 0 at frequency 0, whatever the limits."""
    below = torch.sigmoid(sharpness * (limits[..., None, None] - frequency))
    below = below / torch.sigmoid(sharpness * limits)[..., None, None]
    low, low_and_middle = below.unbind(dim=1)
    return torch.stack([low, low_and_middle - low], dim=1)


def _kernels(masks: Tensor, responses: Tensor) -> Tensor:
    return torch.einsum("bkuv,ui,vj->bkij", masks, responses, responses)


def _split(image: Tensor, kernels: Tensor) -> Tensor:
    """Low and middle by one kernel each, (batch or 1, 2, side, side), and high as what is left."""
    padded = reflect_pad(image, kernels.shape[-1] // 2)
    batch, bands = image.shape[:2]
    if kernels.shape[0] == 1:
        parts = F.conv2d(padded.flatten(0, 1)[:, None], kernels[0, :, None])
    else:
        pairs = zip(padded, kernels, strict=True)
        parts = torch.cat([F.conv2d(item[:, None], kernel[:, None]) for item, kernel in pairs])
    return _with_high(image, parts.view(batch, bands, 2, *image.shape[-2:]).transpose(1, 2))


def _with_high(image: Tensor, low_and_middle: Tensor) -> Tensor:
    high = image - low_and_middle.sum(dim=1)
    return torch.cat([low_and_middle, high[:, None]], dim=1)
