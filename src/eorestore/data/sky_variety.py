"""Skies that are not as measured: colours of cloud and shadow for training alone; knows no scene and no shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eorestore.raster.sky import THICK_CLOUD

# Ours, not measured: standard deviations of logarithms, and of a share.
_COMMON_GAIN, _BAND_GAIN, _VAPOUR_GAIN = 0.15, 0.12, 0.7
_SPREAD = 0.7
_LIKE = 3.0  # bands over which neighbours stray alike
_VAPOUR = ("B09", "B10")  # hang on the height of a cloud, not on its colour


class StraySky(NamedTuple):
    """How a sky differs from the measured one.

    gain: (band, 1, 1) float32, factor on the spectra of clouds. spread: factor on how much they vary inside clouds.
    evenness: share, 0 to 1, by which shadows take the same of all bands.
    """

    gain: NDArray[np.float32]
    spread: float
    evenness: float


def stray_sky(names: Sequence[str], variety: float, *, generator: np.random.Generator) -> StraySky:
    """A sky for Sentinel-2 bands; `variety` 0 is the measured one, 1 the full spread.

    Neighbouring bands stray alike, those of water vapour by themselves and farther. Draws do not depend on `names`.
    Our own augmentation, after domain randomisation (Tobin et al. 2017).
    """
    count = len(THICK_CLOUD)
    distance = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    alike = np.linalg.cholesky(np.exp(-distance / _LIKE)) @ generator.standard_normal(count)
    common = _COMMON_GAIN * generator.standard_normal()
    alone = _VAPOUR_GAIN * generator.standard_normal(count)
    stray = {
        name: alone[row] if name in _VAPOUR else common + _BAND_GAIN * alike[row]
        for row, name in enumerate(THICK_CLOUD)
    }
    gain = np.exp(variety * np.array([stray[name] for name in names], np.float32))[:, None, None]
    spread = 1 + variety * generator.uniform(-_SPREAD, _SPREAD)
    return StraySky(gain, float(spread), float(variety * generator.uniform()))
