"""The step that gives a wanted number of bytes or PSNR: bisection over a function; knows no scene and no coder."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from eorestore.errors import UsageError

logger = logging.getLogger(__name__)

Measure = Callable[[float], tuple[float, float]]
"""Step in dB -> (bytes, PSNR in dB); a larger step gives fewer of both. What is not searched for may be NaN."""

_FINEST, _COARSEST = 0.1, 25.0  # dB: the range of the coder of decibel
_ROUNDS = 12


@dataclass(frozen=True)
class Found:
    """A step with what it gives, and how often was tried."""

    step: float
    size: float
    psnr: float
    tries: int


def search_step(
    measure: Measure, *, size: float | None = None, psnr: float | None = None, near: float = 0.005
) -> Found:
    """The step whose bytes come closest below `size`, or whose PSNR comes closest above `psnr`.

    It stops within `near` (a share of the bytes, or ten times that in dB of PSNR). Steps tried lie evenly in their
    logarithm, or where a line through the ends of the interval points. Raises UsageError where no step will do.
    """
    if (size is None) == (psnr is None):
        raise UsageError("a search needs one target", fix="give bytes or a PSNR")
    tries = 0

    def excess(step: float) -> tuple[float, Found]:
        """How far a step is from the target, positive where it may be coarser (psnr) or must be (size)."""
        nonlocal tries
        tries += 1
        found_size, found_psnr = measure(step)
        found = Found(step, found_size, found_psnr, tries)
        logger.info(
            "step %g dB: %.0f bytes%s", step, found_size, "" if psnr is None else f", PSNR30 {found_psnr:.2f} dB"
        )
        off = math.log(found_size / size) if size is not None else (found_psnr - psnr) / 10  # type: ignore[operator]
        return off, found

    low, high = math.log(_FINEST), math.log(_COARSEST)
    best, low_off, high_off = None, None, None
    guess = math.log(2.8)
    for _ in range(_ROUNDS):
        off, found = excess(float(f"{math.exp(guess):.4g}"))
        fits = off <= 0 if size is not None else off >= 0
        if fits and (best is None or abs(off) < abs(best[0])):
            best = off, found
        if fits and abs(off) <= near:
            break
        if off > 0:
            low, low_off = guess, off
        else:
            high, high_off = guess, off
        guess = _between(low, low_off, high, high_off)
        if high - low < 1e-4:
            break
    if best is None:
        what = f"{size:.0f} bytes" if size is not None else f"a PSNR30 of {psnr:g} dB"
        raise UsageError(f"no step between {_FINEST:g} and {_COARSEST:g} dB gives {what}", fix="ask for less")
    return Found(best[1].step, best[1].size, best[1].psnr, tries)


def _between(low: float, low_off: float | None, high: float, high_off: float | None) -> float:
    """Where a line through both ends is zero, kept off the ends; the middle while an end is not measured."""
    if low_off is None or high_off is None or not low_off > high_off:
        if low_off is None and high_off is not None:
            return max(low, high - 1.0)
        if high_off is None and low_off is not None:
            return min(high, low + 1.0)
        return (low + high) / 2
    place = low + (high - low) * low_off / (low_off - high_off)
    margin = 0.02 * (high - low)
    return min(max(place, low + margin), high - margin)
