"""What the four modes promise, and their numbers in a file; knows no pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from eorestore.codec.tile_coder import coder_number
from eorestore.errors import CodecError, UnknownNameError, UsageError
from eorestore.processing.normalize import WINDOW_LOWS
from eorestore.raster import BandSet


class Mode(IntEnum):
    """Numbers stand in files: append, never change."""

    LOSSLESS = 0
    MAX_ERROR = 1
    FIDELITY = 2
    QUICKLOOK = 3


CENTIBEL = 0.01  # dB: the step of `lossless` where the input holds no integers
OTHER_LOWEST = WINDOW_LOWS["VV"]  # of bands that are no polarisation by name
QUALITIES = (0.0, 10.0)
QUICKLOOK_QUALITY = 0.0


@dataclass(frozen=True)
class Wish:
    """How a scene is to be coded; exactly one of the first six says it, `quality` 5 where none does.

    quality: 0 (smallest) to 10. bits: bits per pixel of a band that the file may take; psnr: PSNR30 in dB that it
    shall reach: for both the step is searched. max_error: bound in dB. preset: see `PRESETS`.
    quicklook: speckle may be lost; goes with `quality`, `bits` or `psnr`.
    """

    quality: float | None = None
    bits: float | None = None
    psnr: float | None = None
    max_error: float | None = None
    lossless: bool = False
    preset: str | None = None
    quicklook: bool = False

    @property
    def mode(self) -> Mode:
        """The mode that keeps the promise."""
        if self.lossless:
            return Mode.LOSSLESS
        if self.max_error is not None:
            return Mode.MAX_ERROR
        return Mode.QUICKLOOK if self.quicklook else Mode.FIDELITY

    def checked(self) -> Wish:
        """The same with its preset put in and the default quality. Raises UsageError."""
        if self.preset is not None and self.preset not in PRESETS:
            raise UnknownNameError("preset", self.preset, PRESETS)
        said = {
            "--quality": self.quality, "--bpp": self.bits, "--psnr": self.psnr, "--max-error": self.max_error,
            "--lossless": self.lossless or None, "--preset": self.preset,
        }  # fmt: skip
        given = [name for name, value in said.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} contradict each other", fix="give one of them")
        if self.quicklook and {"--max-error", "--lossless", "--preset"} & set(given):
            raise UsageError(f"--quicklook and {given[0]} contradict each other", fix="give one of them")
        if self.preset is not None:
            return PRESETS[self.preset]
        _check_range("--quality", self.quality, *QUALITIES)
        _check_range("--bpp", self.bits, 0.01, 32.0)
        _check_range("--psnr", self.psnr, 10.0, 80.0)
        _check_range("--max-error", self.max_error, 0.001, 20.0)
        if given:
            return self
        return replace(self, quality=QUICKLOOK_QUALITY if self.quicklook else 5.0)


PRESETS: Mapping[str, Wish] = {
    "archive": Wish(quality=7.0),
    "downlink": Wish(quality=5.0),
    "extreme": Wish(quality=3.0),
    "preview": Wish(quality=0.0, quicklook=True),
}

CODERS_OF_MODES = {
    Mode.LOSSLESS: coder_number("predictive"),
    Mode.MAX_ERROR: coder_number("predictive"),
    Mode.FIDELITY: coder_number("fidelity"),
    Mode.QUICKLOOK: coder_number("quicklook"),
}


def step_of(quality: float) -> float:
    """Quantisation step in dB: 2.8 at quality 5, half of it every two points more."""
    return round_step(2.8 * 2.0 ** ((5.0 - quality) / 2))


def round_step(step: float) -> float:
    """A step to four digits, which take 3 bytes in a file instead of 9."""
    return float(f"{step:.4g}")


def default_windows(bands: BandSet) -> tuple[float, ...]:
    """Lower ends in dB of the windows that calibrated backscatter lies in, by polarisation."""
    return tuple(WINDOW_LOWS.get(band.name, OTHER_LOWEST) for band in bands)


def pack_parameters(step: float, windows: tuple[float, ...], bands: BandSet) -> tuple[float, ...]:
    """Step (none for integers as they are), and windows where they are not the default ones."""
    if step == 0:
        return ()
    return (step,) if windows == default_windows(bands) else (step, *windows)


def unpack_parameters(parameters: tuple[float, ...], bands: BandSet) -> tuple[float, tuple[float, ...]]:
    """Step and windows; a step of 0 means integers as they are. Raises CodecError."""
    if not parameters:
        return 0.0, default_windows(bands)
    step, windows = parameters[0], parameters[1:] or default_windows(bands)
    if not 0 < step < 100 or len(windows) != len(bands) or not all(-1000 < low < 1000 for low in windows):
        raise CodecError("the file has parameters that this eorestore does not know", fix="install a newer eorestore")
    return step, windows


def mode_of(number: int) -> Mode:
    """The mode of that number. Raises CodecError for one of a newer version."""
    try:
        return Mode(number)
    except ValueError:
        raise CodecError(
            f"the file has mode {number}; this eorestore knows {', '.join(mode.name.lower() for mode in Mode)}",
            fix="install a newer eorestore",
        ) from None


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name} {value:g} is out of range", fix=f"give {low:g} to {high:g}")
