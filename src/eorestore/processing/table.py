"""The processors that a preset can name; the only table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from eorestore.processing.normalize import BandScaling
from eorestore.processing.processor import Processor, dsen2_cr_processor, glf_cr_processor

CIRRUS_FILL = 0.001  # reflectance of B10 over clear ground: water vapour absorbs nearly all of it


def glf_cr_optional_cirrus_processor() -> Processor:
    """The GLF-CR scaling that also takes Level-2A scenes: they lack B10, which is then 0.001 throughout."""
    base = glf_cr_processor()
    optical = BandScaling(
        tuple(replace(band, fill=CIRRUS_FILL) if band.name == "B10" else band for band in base.inputs["cloudy"].bands)
    )
    return Processor({**base.inputs, "cloudy": optical}, optical, base.scale)


PROCESSORS: Mapping[str, Callable[[], Processor]] = {
    "glf-cr": glf_cr_processor,
    "glf-cr-optional-cirrus": glf_cr_optional_cirrus_processor,
    "dsen2-cr": dsen2_cr_processor,
}
