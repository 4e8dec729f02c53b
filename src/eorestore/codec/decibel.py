"""Stored radar values to decibel and back, and which of them are no observation; knows no file and no coder.

A pixel of a band is no observation where its value is not finite, is the declared nodata value, or cannot be a
backscatter: at or below -90 dB (-99, -9999 ...) or above 200 dB; in linear units zero and below, which have no
logarithm. Such pixels come back as they were: the values that mark them are kept (at most `MOST_MARKS` kinds
a tile, the rarer become the scene's own mark). Negative linear values come back as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError, UnitError
from eorestore.raster import Unit
from eorestore.raster.encoding import Encoding

RADAR = (Unit.DECIBEL, Unit.POWER, Unit.AMPLITUDE)
MOST_MARKS = 4
LARGEST = 1 << 30  # integers below this in size can be coded
_LOWEST, _HIGHEST = -90.0, 200.0
_FACTOR = {Unit.POWER: 10.0, Unit.AMPLITUDE: 20.0}


@dataclass(frozen=True)
class Observed:
    """Values with what is known of their gaps.

    values: (band, y, x), 0 where not valid. valid: bool (band, y, x). marks: the values that stood in the gaps, and
    labels: for every gap in order of (band, y, x) the position of its mark; no marks means all are the scene's own.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    marks: tuple[float, ...] = ()
    labels: NDArray[np.uint8] | None = None


def own_mark(encoding: Encoding) -> float:
    """What stands in the gaps of a scene: its nodata value, NaN where it declares none."""
    return float("nan") if encoding.nodata is None else float(encoding.nodata)


def observe_raw(raw: NDArray[Any], encoding: Encoding) -> Observed:
    """Integers as they are stored, with nodata as gaps. Raises DataError for those that no coder takes."""
    valid = ~_is_nodata(raw, encoding.nodata)
    values = np.where(valid, raw, 0)
    if values.dtype.itemsize >= 4 and max(-int(values.min()), int(values.max())) >= LARGEST:
        raise DataError(
            f"the file holds integers of {LARGEST} and more", fix="compress it with --max-error, or store it as counts"
        )
    return Observed(values.astype(np.int32), valid)


def observe_decibel(raw: NDArray[Any], encoding: Encoding, unit: Unit) -> Observed:
    """Stored values (band, y, x) of a radar `unit` as float64 decibel. Raises UnitError for other units."""
    if unit not in RADAR:
        raise UnitError(f"{unit} has no decibel", fix="declare --unit decibel, power or amplitude, or use --lossless")
    physical = raw.astype(np.float64) * encoding.scale + encoding.offset
    missing = ~np.isfinite(raw) | _is_nodata(raw, encoding.nodata)
    if unit is Unit.DECIBEL:
        decibel = physical
    else:
        decibel = np.full(physical.shape, -np.inf)
        np.log10(physical, out=decibel, where=(physical > 0) & ~missing)
        decibel *= _FACTOR[unit]
    with np.errstate(invalid="ignore"):
        valid = ~missing & (decibel > _LOWEST) & (decibel <= _HIGHEST)
    if valid.all():
        return Observed(decibel, valid)
    found = raw[~valid].astype(np.float64)
    if unit is not Unit.DECIBEL:
        found[~missing[~valid] & (physical[~valid] <= 0)] = 0.0
    marks, labels = _label(found, own_mark(encoding))
    return Observed(np.where(valid, decibel, 0.0), valid, marks, labels)


def raw_from_decibel(observed: Observed, encoding: Encoding, unit: Unit) -> NDArray[np.float32]:
    """Decibel as float32 in `unit`, the gaps filled with their marks; no valid value becomes the nodata value."""
    values = observed.values.astype(np.float64)
    physical = values if unit is Unit.DECIBEL else 10.0 ** (values / _FACTOR[unit])
    raw = physical.astype(np.float32)
    if encoding.nodata is not None:
        nodata = np.float32(encoding.nodata)
        raw[(raw == nodata) & observed.valid] = np.nextafter(nodata, np.float32(np.inf))
    fill_gaps(raw, observed, encoding)
    return raw


def fill_gaps(raw: NDArray[Any], observed: Observed, encoding: Encoding) -> None:
    """Put the marks of the gaps into `raw`, in place."""
    if observed.valid.all():
        return
    marks = np.array(observed.marks or (own_mark(encoding),))
    labels = 0 if observed.labels is None else observed.labels
    with np.errstate(invalid="ignore"):
        raw[~observed.valid] = np.broadcast_to(marks[labels], int((~observed.valid).sum())).astype(raw.dtype)


def _is_nodata(raw: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Where stored values carry the nodata value, as far as their type can hold it."""
    if nodata is None or (raw.dtype.kind in "ui" and not _holds(raw.dtype, nodata)):
        return np.zeros(raw.shape, bool)
    with np.errstate(over="ignore"):
        same: NDArray[np.bool_] = raw == np.array(nodata, np.float64).astype(raw.dtype)
    return same


def _holds(dtype: np.dtype[Any], nodata: float) -> bool:
    limits = np.iinfo(dtype)
    return limits.min <= nodata <= limits.max and nodata == np.rint(nodata)


def _label(found: NDArray[np.float64], own: float) -> tuple[tuple[float, ...], NDArray[np.uint8] | None]:
    """Marks and labels of the values found in gaps; none of either where all are the scene's own."""
    kinds, places, counts = np.unique(found, return_inverse=True, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[: MOST_MARKS - 1]
    marks = [float(kinds[index]) for index in frequent]
    position = np.full(len(kinds), len(marks), np.uint8)
    position[frequent] = np.arange(len(frequent))
    if len(kinds) > len(marks):
        marks.append(own)
    if len(marks) == 1:
        same = marks[0] == own or (np.isnan(marks[0]) and np.isnan(own))
        return (() if same else (marks[0],)), None
    return tuple(marks), position[places]
