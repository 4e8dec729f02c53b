"""How a sensor makes one pixel of many finer ones, as short rows of weights; knows no image."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import UsageError
from eorestore.processing import taps
from eorestore.processing.resize import enlarging
from eorestore.processing.taps import Taps

Kind = Literal["mean", "gaussian", "bicubic", "kernel"]

_NEGLIGIBLE = 1e-6  # of the largest singular value of a kernel
_WIDTH = 3.0  # standard deviations of a Gaussian to either side
_LARGEST_KERNEL = 129
_LEAST_MTF = 0.1  # below it, what undoes the blur is mostly noise
_LEAST_RESPONSE = 0.1  # of a kernel at any frequency of the coarse grid
_SPECTRUM = 64  # pixels


@dataclass(frozen=True)
class Sensor:
    """The operator that turns a fine image into the one that a sensor delivers.

    kind: `mean`, the average of factor x factor fine pixels; `gaussian`, a Gaussian blur whose modulation transfer at
        the coarse grid's Nyquist frequency is `mtf`; `bicubic`, MATLAB's imresize; `kernel`, any weights of fine
        pixels.
    mtf: of a Gaussian, from 0.1 to below 1.
    kernel: rows of weights, centred on the coarse pixel, on the fine grid; normalised to a sum of 1.

    Raises UsageError for a transfer outside of 0.1 ... 1, and for a kernel that is no point spread function.
    """

    kind: Kind = "mean"
    mtf: float = 0.3
    kernel: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if not _LEAST_MTF <= self.mtf < 1:
            raise UsageError(
                f"a modulation transfer of {self.mtf:g}", fix=f"give one from {_LEAST_MTF} to below 1, such as 0.3"
            )
        if (self.kind == "kernel") != bool(self.kernel):
            raise UsageError("a sensor has a kernel of its own or a kind", fix="use Sensor.parse")

    @classmethod
    def parse(cls, text: str) -> Sensor:
        """`mean`, `bicubic`, `gaussian:0.2` (transfer at Nyquist), or a .npy file with a kernel. Raises UsageError."""
        name, _, value = text.partition(":")
        if name == "gaussian":
            try:
                return cls("gaussian", float(value or 0.3))
            except ValueError:
                raise UsageError(f"{value!r} is no modulation transfer", fix="write gaussian:0.3") from None
        if text in ("mean", "bicubic"):
            return cls("mean" if text == "mean" else "bicubic")
        if text.endswith(".npy"):
            return cls("kernel", kernel=_read_kernel(Path(text)))
        raise UsageError(
            f"no sensor is called {text!r}", fix="use mean, bicubic, gaussian:0.3, or a .npy file with a kernel"
        )

    @property
    def words(self) -> str:
        """As `parse` takes it, for tags and logs; the size stands for a kernel."""
        if self.kind == "gaussian":
            return f"gaussian:{self.mtf:g}"
        return f"kernel of {len(self.kernel)} x {len(self.kernel[0])}" if self.kernel else self.kind

    def terms(self, factor: int) -> tuple[tuple[Taps, Taps], ...]:
        """Weights of rows and columns whose products sum to the operator; offsets from fine pixel factor * i."""
        return _terms(self, factor)

    def inverse(self, factor: int) -> tuple[tuple[Taps, Taps], ...]:
        """What undoes bicubic enlarging and then this operator, in the form of `terms`, on the coarse grid.

        Raises UsageError for a kernel that hides some detail of the coarse image: nothing could bring it back.
        """
        if self.kind == "kernel":
            return _kernel_inverse(self, factor)
        row = _inverse(self, factor)
        return ((row, row),)

    @property
    def rounds(self) -> int:
        """Rounds of back-projection until little is left."""
        return {"mean": 1, "bicubic": 1, "gaussian": 2, "kernel": 2}[self.kind]

    def reach(self, factor: int) -> int:
        """Pixels of the coarse image that a projected pixel sees to either side."""
        far = max(max(-row.first, row.first + len(row.weights) - factor) for pair in self.terms(factor) for row in pair)
        aside = -(-max(far, 0) // factor)
        inverse = taps.INVERSE_RADIUS
        # a round looks at the fine image around a coarse pixel, inverts, and enlarges what is left
        return self.rounds * (taps.REACH + inverse + aside) + aside


@functools.lru_cache(maxsize=16)
def _terms(sensor: Sensor, factor: int) -> tuple[tuple[Taps, Taps], ...]:
    if sensor.kind == "mean":
        row = Taps(0, (1 / factor,) * factor)
    elif sensor.kind == "bicubic":
        row = taps.shrink_taps(factor)
    elif sensor.kind == "gaussian":
        row = _gaussian(sensor.mtf, factor)
    else:
        return _kernel_terms(np.asarray(sensor.kernel, dtype=np.float64), factor)
    return ((row, row),)


def _gaussian(mtf: float, factor: int) -> Taps:
    sigma = factor * math.sqrt(-2 * math.log(mtf)) / math.pi
    reach = math.ceil(_WIDTH * sigma)
    first = -(reach - factor // 2)
    places = np.arange(first, factor - first) - (factor - 1) / 2
    weights = np.exp(-(places**2) / (2 * sigma**2))
    return Taps(first, tuple(float(weight) for weight in weights / weights.sum()))


def _kernel_terms(kernel: NDArray[np.float64], factor: int) -> tuple[tuple[Taps, Taps], ...]:
    left, sizes, right = np.linalg.svd(kernel)
    firsts = [math.floor((factor - side) / 2) for side in kernel.shape]
    return tuple(
        (Taps(firsts[0], tuple(map(float, left[:, place] * size))), Taps(firsts[1], tuple(map(float, right[place]))))
        for place, size in enumerate(sizes)
        if size > _NEGLIGIBLE * sizes[0]
    )


@functools.lru_cache(maxsize=16)
def _inverse(sensor: Sensor, factor: int) -> Taps:
    row = sensor.terms(factor)[0][0]
    length = taps.LENGTH
    shrinking = np.zeros((length, length * factor))
    for pixel in range(length):
        for place, weight in enumerate(row.weights):
            fine = (factor * pixel + row.first + place) % (2 * length * factor)
            shrinking[pixel, min(fine, 2 * length * factor - 1 - fine)] += weight
    return taps.inverse_row(shrinking @ enlarging(length, factor))


@functools.lru_cache(maxsize=16)
def _kernel_inverse(sensor: Sensor, factor: int) -> tuple[tuple[Taps, Taps], ...]:
    """By the spectrum of a pixel that is enlarged and observed again, cut at INVERSE_RADIUS, as separable terms."""
    size, middle = _SPECTRUM, _SPECTRUM // 2
    rise = enlarging(size, factor)[:, middle]
    response = np.zeros((size, size))
    for rows, columns in sensor.terms(factor):
        response += np.outer(_observed(rise, rows, factor), _observed(rise, columns, factor))
    spectrum = np.fft.fft2(np.roll(response, (-middle, -middle), axis=(0, 1)))
    if np.abs(spectrum).min() < _LEAST_RESPONSE:
        raise UsageError(
            f"{sensor.words} passes {np.abs(spectrum).min():.2g} of some detail of the coarse image",
            fix=f"give a kernel that passes at least {_LEAST_RESPONSE} of every frequency up to Nyquist",
        )
    radius = taps.INVERSE_RADIUS
    inverse = np.roll(np.fft.ifft2(1 / spectrum).real, (radius, radius), axis=(0, 1))[
        : 2 * radius + 1, : 2 * radius + 1
    ]
    # taps look at neighbours, where a response spreads to them: the one is the other turned half round
    left, sizes, right = np.linalg.svd(inverse[::-1, ::-1] / inverse.sum())
    return tuple(
        (
            Taps(-radius, tuple(map(float, left[:, place] * weight))),
            Taps(-radius, tuple(map(float, right[place]))),
        )
        for place, weight in enumerate(sizes)
        if weight > _NEGLIGIBLE * sizes[0]
    )


def _observed(fine: NDArray[np.float64], row: Taps, factor: int) -> NDArray[np.float64]:
    """A line of fine pixels, 0 beyond its ends, as coarse ones."""
    length = len(row.weights)
    padded = np.pad(fine, length + factor)
    starts = np.arange(0, len(fine), factor) + row.first + length + factor
    return np.array([padded[start : start + length] @ np.asarray(row.weights) for start in starts])


def _read_kernel(path: Path) -> tuple[tuple[float, ...], ...]:
    fix = "give a .npy file with a two-dimensional array of finite weights on the fine grid that do not sum to 0"
    try:
        kernel = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        raise UsageError(f"{path} cannot be read as an array", fix=fix) from None
    if not isinstance(kernel, np.ndarray):
        raise UsageError(f"{path} is an archive of arrays", fix=fix)
    if kernel.ndim != 2 or kernel.dtype.kind not in "fiu" or not np.isfinite(kernel).all():
        raise UsageError(f"{path} holds {kernel.dtype} of shape {kernel.shape}, not a kernel", fix=fix)
    if abs(kernel.sum()) < _NEGLIGIBLE or max(kernel.shape) > _LARGEST_KERNEL:
        raise UsageError(f"{path} sums to {kernel.sum():g} over {kernel.shape[0]} x {kernel.shape[1]} weights", fix=fix)
    return tuple(tuple(float(weight) for weight in row) for row in kernel / kernel.sum())
