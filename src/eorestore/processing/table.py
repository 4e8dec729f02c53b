"""The processors that a preset can name; the only table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from eorestore.processing.normalize import (
    BandScale,
    BandScaling,
    backscatter_scaling,
    reflectance_scaling,
    window_scaling,
)
from eorestore.processing.processor import Processor, dsen2_cr_processor, glf_cr_processor
from eorestore.raster import RGB, SENTINEL2_10M, SENTINEL2_20M, SENTINEL2_L1C, THERMAL, Unit

CIRRUS_FILL = 0.001  # reflectance of B10 over clear ground: water vapour absorbs nearly all of it


def glf_cr_optional_cirrus_processor() -> Processor:
    """The GLF-CR scaling that also takes Level-2A scenes: they lack B10, which is then 0.001 throughout."""
    base = glf_cr_processor()
    optical = BandScaling(
        tuple(replace(band, fill=CIRRUS_FILL) if band.name == "B10" else band for band in base.inputs["cloudy"].bands)
    )
    return Processor({**base.inputs, "cloudy": optical}, optical, base.scale)


def four_band_processor() -> Processor:
    """Blue, green, red and near infrared in reflectance [0, 1], as GF-CR and M3M-CR have them; SAR as GLF-CR's."""
    optical = reflectance_scaling(SENTINEL2_L1C.select(("B02", "B03", "B04", "B08")))
    return Processor({"cloudy": optical, "sar": backscatter_scaling()}, optical)


def sar_processor(polarisation: str) -> Processor:
    """One SAR band in the window of its polarisation, in and out; see `window_scaling`. Raises UnknownNameError."""
    window = window_scaling(polarisation)
    return Processor({"sar": window}, window)


def rgb_processor(scale: int) -> Processor:
    """Red, green and blue in levels of 0 to 255, in and out, the output `scale` times as large."""
    levels = BandScaling(tuple(BandScale(band.name, Unit.LEVEL, 0.0, 255.0) for band in RGB))
    return Processor({"low": levels}, levels, scale)


def thermal_processor(scale: int) -> Processor:
    """One thermal band in kelvin, 273 to 323 K as 0 to 1 without a clip; a scene brings its own range."""
    kelvin = BandScaling(tuple(BandScale(band.name, band.unit, 273.0, 323.0, clip=False) for band in THERMAL))
    return Processor({"low": kelvin}, kelvin, scale)


def sentinel2_20m_processor() -> Processor:
    """Sentinel-2's four bands of 10 m, then its six of 20 m on the same grid, in reflectance that is never clipped."""
    bands = BandScaling(
        tuple(BandScale(band.name, band.unit, 0.0, 1.0, clip=False) for band in (*SENTINEL2_10M, *SENTINEL2_20M))
    )
    return Processor({"multispectral": bands}, bands)


PROCESSORS: Mapping[str, Callable[[], Processor]] = {
    "glf-cr": glf_cr_processor,
    "glf-cr-optional-cirrus": glf_cr_optional_cirrus_processor,
    "dsen2-cr": dsen2_cr_processor,
    "four-band": four_band_processor,
    "rgb-x2": partial(rgb_processor, 2),
    "rgb-x4": partial(rgb_processor, 4),
    "sentinel2-20m": sentinel2_20m_processor,
    "thermal-x2": partial(thermal_processor, 2),
    "thermal-x3": partial(thermal_processor, 3),
    "sar-vv": partial(sar_processor, "VV"),
    "sar-vh": partial(sar_processor, "VH"),
}
