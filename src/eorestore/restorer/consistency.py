"""Where a restored surface disagrees with the SAR: a regression learned from the scene's clear pixels; knows no model.

Ours. Every SAR band is regressed on the optical bands, as they are, smoothed, and their logarithms (decibels are
logarithms, and differences of logarithms are ratios of bands, as indices are), over clear pixels. Where that
regression, fed with the restored surface, misses the observed SAR by far more than over clear ground, the surface is
probably not what lies there. Agreement proves nothing: SAR does not see every difference that the eye sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from eorestore.errors import MaskError, UsageError
from eorestore.processing.units import convert
from eorestore.raster import Pixels, Unit, Window
from eorestore.restorer.rows import Rows, Sink
from eorestore.restorer.scene import PackedMask, Scene, physical, spread
from eorestore.tiling.compositing import Source

LIMIT = 3.0  # standard deviations from which on a pixel counts as inconsistent
SIGMAS = (2.0, 6.0)
SPECKLE = 5  # side of the square over which residuals are averaged
HALO = 20  # three times the widest Gaussian, and half the square
_BLIND = ("B09", "B10")  # bands that see the air, not the ground
_DARK = np.float32(0.01)  # reflectance that keeps the logarithm of dark water finite
_RIDGE = 1e-3
_PIECES, _SIDE = 36, 256
_COLUMNS = 512
_PER_COEFFICIENT = 4  # clear pixels that each needs at least


@dataclass(frozen=True)
class SarFit:
    """What the clear pixels taught.

    bands, sar: names of optical and SAR bands. coefficients: (feature + 1, SAR band), constant last; to dB.
    spread: (SAR band,), standard deviation in dB of the averaged residual over clear pixels.
    """

    bands: tuple[str, ...]
    sar: tuple[str, ...]
    coefficients: NDArray[np.float64]
    spread: NDArray[np.float64]


def fit_sar(scene: Scene, mask: PackedMask | None, *, restored: Sequence[str]) -> SarFit:
    """Regress the scene's SAR on its optical bands over clear pixels of pieces spread over it.

    restored: names of the bands that the model restores; others are not looked at. The regression is a ridge on
    standardised features. Raises MaskError without clear pixels, UsageError without SAR.
    """
    if "sar" not in scene.inputs:
        raise UsageError("the consistency map compares with SAR", fix="give a SAR scene with --sar")
    bands = tuple(name for name in scene.optical.bands.names if name in restored and name not in _BLIND)
    sar = scene.inputs["sar"].bands.names
    count = 2 * (1 + len(SIGMAS)) * len(bands) + 1
    gram, moment = np.zeros((count, count)), np.zeros((count, len(sar)))
    for features, decibel, clear in _pieces(scene, mask, bands):
        rows = np.concatenate([features[:, clear], np.ones((1, int(clear.sum())))]).astype(np.float64)
        gram += rows @ rows.T
        moment += rows @ decibel[:, clear].T.astype(np.float64)
    if gram[-1, -1] < _PER_COEFFICIENT * count:
        raise MaskError(
            "too few clear pixels to compare with SAR",
            fix="give a tighter mask or a larger scene, or leave out --save consistency",
        )
    coefficients = _solve(gram, moment)
    squares, pixels = np.zeros(len(sar)), 0
    for features, decibel, clear in _pieces(scene, mask, bands):
        residual = _averaged(decibel - _predict(features, coefficients), clear)[:, clear]
        squares += np.square(residual, dtype=np.float64).sum(axis=1)
        pixels += residual.shape[1]
    return SarFit(bands, sar, coefficients, np.sqrt(np.maximum(squares / pixels, 1e-12)))


def disagreement(
    fit: SarFit, optical: NDArray[np.float32], decibel: NDArray[np.float32], *, valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """By how many standard deviations of clear pixels optical and SAR disagree, (y, x), 0 and more.

    Formula: sqrt(mean over SAR bands of (mean over 5 x 5 pixels of (SAR - predicted) / spread)^2). The residuals are
    averaged with their sign, which removes speckle; their amounts would keep it. optical: (band, y, x), reflectance
    of `fit.bands`. decibel: (band, y, x). valid: where both are known; other pixels do not enter.
    """
    residual = _averaged(decibel - _predict(_features(optical, valid), fit.coefficients), valid)
    scaled = residual / fit.spread.astype(np.float32)[:, None, None]
    found: NDArray[np.float32] = np.sqrt(np.square(scaled).mean(axis=0, dtype=np.float32))
    return found


class ConsistencyRows:
    """A sink that adds the map to finished rows and hands them on, once the rows that it needs around are there.

    share: of the restored pixels with SAR seen so far, those above LIMIT.
    """

    def __init__(self, scene: Scene, fit: SarFit, sink: Sink, *, begin: int = 0) -> None:
        self.scene, self.fit, self.sink = scene, fit, sink
        self.done = begin
        self.held: Rows | None = None
        self.compared = self.flagged = 0

    @property
    def share(self) -> float:
        """Share of the compared pixels that disagree with the SAR; 0 where none was compared."""
        return self.flagged / self.compared if self.compared else 0.0

    def __call__(self, rows: Rows) -> None:
        """Take rows in order."""
        held = rows if self.held is None else _joined(self.held, rows)
        height = self.scene.size[0]
        limit = held.end if held.end == height else held.end - HALO
        if limit > self.done:
            inside = slice(self.done - held.first, limit - held.first)
            values = self._compare(held, inside)
            self.compared += int(np.isfinite(values).sum())
            self.flagged += int((values > LIMIT).sum())
            maps = np.concatenate([held.maps[:, inside], values[None]])
            self.sink(Rows(self.done, held.raw[:, inside], held.source[inside], maps))
            self.done = limit
        keep = max(self.done - HALO - held.first, 0)
        self.held = Rows(
            held.first + keep, held.raw[:, keep:].copy(), held.source[keep:].copy(), held.maps[:, keep:].copy()
        )

    def _compare(self, held: Rows, inside: slice) -> NDArray[np.float32]:
        """The map (y, x) of the rows `inside`; NaN where a pixel was not restored or the SAR is not known."""
        width = held.source.shape[1]
        found = np.full((inside.stop - inside.start, width), np.nan, np.float32)
        optical, sar = self.scene.optical, self.scene.inputs["sar"]
        chosen = [optical.bands.index(name) for name in self.fit.bands]
        for first in range(0, width, _COLUMNS):
            last = min(first + _COLUMNS, width)
            wanted = held.source[inside, first:last] == Source.RESTORED
            if not wanted.any():
                continue
            left, right = max(first - HALO, 0), min(last + HALO, width)
            top, bottom = max(inside.start - HALO, 0), min(inside.stop + HALO, held.height)
            window = Window(held.first + top, left, bottom - top, right - left)
            decibel, known = _decibel(sar, window)
            valid = known & (held.source[top:bottom, left:right] != Source.NODATA)
            values = optical.encoding.decode(held.raw[chosen, top:bottom, left:right])
            block = disagreement(self.fit, values, decibel, valid=valid)
            place = slice(inside.start - top, inside.stop - top), slice(first - left, last - left)
            found[:, first:last] = np.where(wanted & valid[place], block[place], np.float32(np.nan))
        return found


def _pieces(
    scene: Scene, mask: PackedMask | None, bands: Sequence[str]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]:
    """(features, SAR in dB, clear) of pieces that hold a clear pixel."""
    optical = scene.optical
    chosen = [optical.bands.index(name) for name in bands]
    for window in spread(scene.size, _PIECES, _SIDE):
        raw = optical.read_raw(window)
        decibel, known = _decibel(scene.inputs["sar"], window)
        clear = optical.encoding.valid(raw) & known & (False if mask is None else ~mask.read(window))
        if clear.any():
            yield _features(optical.encoding.decode(raw[chosen]), clear), decibel, clear


def _decibel(sar: Pixels, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    raster = convert(physical(sar, sar.read_raw(window), window), Unit.DECIBEL)
    return raster.values, raster.valid


def _features(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(feature, y, x): the bands, averaged over the known pixels around for each width, and the logarithms of all."""
    found: list[NDArray[np.float32]] = [values]
    seen = np.where(known, values, np.float32(0))
    for sigma in SIGMAS:
        weight = np.maximum(_smooth(known.astype(np.float32), sigma), np.float32(1e-6))
        smoothed: NDArray[np.float32] = np.stack([_smooth(band, sigma) for band in seen])
        found.append(np.divide(smoothed, weight, dtype=np.float32))
    linear = np.concatenate(found)
    return np.concatenate([linear, np.log(np.maximum(linear, 0) + _DARK)])


def _smooth(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    smoothed: NDArray[np.float32] = gaussian_filter(values, sigma, truncate=3.0, mode="constant")
    return smoothed


def _averaged(residual: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean of a residual (band, y, x) over the known pixels of a square around each."""
    weight = np.maximum(uniform_filter(known.astype(np.float32), SPECKLE, mode="constant"), np.float32(1e-3))
    seen = np.where(known, residual, np.float32(0))
    means: NDArray[np.float32] = np.stack([uniform_filter(band, SPECKLE, mode="constant") for band in seen])
    averaged: NDArray[np.float32] = np.divide(means, weight, dtype=np.float32)
    return averaged


def _predict(features: NDArray[np.float32], coefficients: NDArray[np.float64]) -> NDArray[np.float32]:
    weights, constant = coefficients[:-1].astype(np.float32), coefficients[-1].astype(np.float32)
    predicted: NDArray[np.float32] = np.tensordot(weights.T, features, axes=1) + constant[:, None, None]
    return predicted


def _solve(gram: NDArray[np.float64], moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ridge coefficients from sums over pixels of rows [features, 1]; the constant is not penalised."""
    count = gram[-1, -1]
    mean, target = gram[:-1, -1] / count, moment[-1] / count
    covariance = gram[:-1, :-1] / count - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 1e-12))
    standard = covariance / np.outer(deviation, deviation) + _RIDGE * np.eye(len(mean))
    product = (moment[:-1] / count - np.outer(mean, target)) / deviation[:, None]
    weights = np.linalg.solve(standard, product) / deviation[:, None]
    return np.concatenate([weights, (target - mean @ weights)[None]])


def _joined(one: Rows, two: Rows) -> Rows:
    return Rows(
        one.first,
        np.concatenate([one.raw, two.raw], axis=1),
        np.concatenate([one.source, two.source]),
        np.concatenate([one.maps, two.maps], axis=1),
    )
