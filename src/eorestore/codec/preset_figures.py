"""What the presets of `eorestore compress` cost and keep, measured; so light that the command line can show it.

Means over the five public Sentinel-1 bands of results/sar-codecs.json at each preset's quality; a test holds the two
together. `preview` has the figures of `fidelity` at its quality, from which quicklook differs by what it leaves out:
values outside of the windows.
"""

from __future__ import annotations

from collections.abc import Mapping

PRESET_FIGURES: Mapping[str, tuple[str, str]] = {
    "archive": ("1.66", "37.58"),
    "downlink": ("0.87", "32.37"),
    "extreme": ("0.39", "28.04"),
    "preview": ("0.08", "23.09"),
}
"""(bits per pixel per band, PSNR30 in dB), as printed."""


def preset_help() -> str:
    """The presets with their figures in a line."""
    told = ", ".join(f"{name} ({bits} bpp, {psnr} dB)" for name, (bits, psnr) in PRESET_FIGURES.items())
    return f"{told}: bits per pixel per band and PSNR30, means over five Sentinel-1 bands."
