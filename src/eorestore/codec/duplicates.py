"""Pixels that a resampling by nearest neighbour has doubled: where they are, by six numbers; knows no coding of values.

A grid finer than the one it was taken from repeats a column (or row) every so often, along lines that bend slowly. The
place within the period is a polynomial of second degree in x and y,

    phase = (c0 + c1 x + c2 y + c3 x x + c4 x y + c5 y y) mod 1,

and a pixel with a phase below `width` equals its neighbour to the left (or above). The encoder finds the period as the
peak of the Fourier transform of the picture of equal neighbours and bends it to fit; the few pixels that the polynomial
names wrongly are listed. Whole numbers modulo 2^64 make the phase the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.fields import Fields, damaged, deflate, inflate, put_bytes
from eorestore.codec.interlacing import order_of

BLOCK = 64
BINS = 256
BLUR = 2
# Of the pixels named by a polynomial, so many must be equal to their neighbour for it to be right.
RIGHT = 0.7
# Repetitions rarer than one in so many pixels are left to the predictor.
RAREST = 64
FEWEST = 64
# The share of the equal pixels that the highest peak of their spectrum must account for.
CLEAR = 0.2


@dataclass(frozen=True)
class Lattice:
    """`phase` six whole numbers over 2^64, `width` over 2^16; along y if `vertical`. `wrong`: bool, of those named."""

    phase: tuple[int, ...]
    width: int
    vertical: bool
    wrong: bytes

    def pack(self) -> bytes:
        """As bytes."""
        numbers = b"".join(number.to_bytes(8, "little") for number in self.phase)
        return numbers + self.width.to_bytes(2, "little") + bytes([self.vertical]) + put_bytes(self.wrong)


def read_lattice(fields: Fields) -> Lattice:
    """What `pack` wrote. Raises CodecError."""
    phase = tuple(int.from_bytes(fields.take(8), "little") for _ in range(6))
    width = int.from_bytes(fields.take(2), "little")
    axis = fields.byte()
    if axis > 1:
        raise damaged(f"copies run along axis {axis}")
    return Lattice(phase, width, bool(axis), fields.bytes())


def copies_of(lattice: Lattice, valid: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Flat index (y, x) of the pixel that each one equals and that is coded first; its own where it is no copy.

    Raises CodecError for a list of wrong pixels that does not fit.
    """
    named = _turn(_named(lattice, _turn(valid, lattice.vertical).shape), lattice.vertical)
    named &= _pairs(valid, lattice.vertical)
    count = int(named.sum())
    wrong = np.unpackbits(np.frombuffer(inflate(lattice.wrong, size=-(-count // 8)), np.uint8), count=count)
    named[named] = wrong == 0
    root = np.arange(valid.size)
    root[named.ravel()] -= valid.shape[1] if lattice.vertical else 1
    while True:
        further = root[root]
        if np.array_equal(further, root):
            break
        root = further
    members = np.flatnonzero(named)
    ranks = order_of(valid.shape).ravel() * valid.size + np.arange(valid.size)
    best = ranks.copy()
    np.minimum.at(best, root[members], ranks[members])
    source = best[root] % valid.size
    return source.astype(np.intp)


def find_lattice(plane: NDArray[np.int32], valid: NDArray[np.bool_]) -> Lattice | None:
    """The lattice of copies of a plane (y, x) along x or, failing that, along y; None where there is none."""
    for vertical in (False, True):
        pairs = _turn(_pairs(valid, vertical), vertical)
        turned = _turn(plane, vertical)
        equal = np.zeros(pairs.shape, bool)
        equal[:, 1:] = pairs[:, 1:] & (turned[:, 1:] == turned[:, :-1])
        if min(pairs.shape) < BLOCK or equal.sum() < FEWEST or equal.all():
            continue
        signal = np.where(pairs, equal - equal.sum() / pairs.sum(), 0.0)
        for fx, fy in _frequencies(signal):
            lattice = _windowed(_fit(signal, fx, fy), equal, pairs, vertical=vertical)
            if lattice is not None:
                return lattice
    return None


def _frequencies(signal: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Periods per pixel in x and y that the lines of equal pixels may have; none where no period stands out."""
    spectrum = np.abs(np.fft.rfft2(signal))
    spectrum[:, : signal.shape[1] // RAREST + 1] = 0
    row, column = np.unravel_index(int(spectrum.argmax()), spectrum.shape)
    if spectrum[row, column] < CLEAR * signal.clip(0).sum():
        return []
    fx, fy = float(column) / signal.shape[1], float(np.fft.fftfreq(signal.shape[0])[row])
    # Lines are narrow, so their first overtone can be the highest peak; beyond half a period it is folded back.
    return [(fx, fy), (fx / 2, fy / 2), ((1 - fx) / 2, -fy / 2)]


def _fit(signal: NDArray[np.float64], fx: float, fy: float) -> NDArray[np.float64]:
    """Coefficients of the phase that is zero in the middle of the equal pixels, from about the right frequencies."""
    coefficients = np.array([0.0, fx, fy, 0.0, 0.0, 0.0])
    shape = signal.shape
    for terms in (3, 3, 6, 6):
        turned = signal * np.exp(-2j * np.pi * _polynomial(coefficients, shape))
        rows, columns = (np.arange(0, length - length % BLOCK, BLOCK) for length in shape)
        trimmed = turned[: rows.size * BLOCK, : columns.size * BLOCK]
        sums = trimmed.reshape(rows.size, BLOCK, columns.size, BLOCK).sum(axis=(1, 3))
        whole = np.angle(sums.sum())
        away = (np.angle(sums * np.exp(-1j * whole)) + whole) / (2 * np.pi)
        y, x = np.meshgrid(rows + (BLOCK - 1) / 2, columns + (BLOCK - 1) / 2, indexing="ij")
        powers = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)[:, :terms]
        weights = np.abs(sums).ravel()
        scale = np.abs(powers).max(axis=0)
        solved = np.linalg.lstsq(powers / scale * weights[:, None], away.ravel() * weights, rcond=None)[0]
        coefficients[:terms] += solved / scale
    return coefficients


def _windowed(
    coefficients: NDArray[np.float64], equal: NDArray[np.bool_], pairs: NDArray[np.bool_], *, vertical: bool
) -> Lattice | None:
    """The lattice whose window holds the phases at which most pixels are equal; None where none does."""
    bins = (np.floor((_polynomial(coefficients, equal.shape) + 0.5) % 1 * BINS).astype(np.int64) % BINS)[pairs]
    # Phases of a short period recur and leave bins empty, so neighbouring ones are taken together.
    met, same = (_blurred(np.bincount(bins, weights, BINS)) for weights in (None, equal[pairs]))
    share = same / np.maximum(met, 1)
    likely = (share > RIGHT / 2 + share[met > 0].min() / 2) | (met == 0)
    middle = BINS // 2
    if not likely[middle] or likely.all():
        return None
    outside = np.flatnonzero(~likely)
    first = int(outside[outside < middle].max(initial=-1)) + 1
    last = int(outside[outside > middle].min(initial=BINS))
    coefficients = coefficients + np.array([0.5 - first / BINS, 0, 0, 0, 0, 0])
    phase = tuple(round(float(number % 1) * 2**64) % 2**64 for number in coefficients)
    lattice = Lattice(phase, (last - first) * 2**16 // BINS, vertical, b"")
    named = _named(lattice, equal.shape) & pairs
    if named.sum() < FEWEST or equal[named].mean() < RIGHT:
        return None
    # The list runs over the plane's own rows, not over those of the turned one.
    listed = _turn(~equal, vertical)[_turn(named, vertical)]
    return Lattice(phase, lattice.width, vertical, deflate(np.packbits(listed).tobytes()))


def _blurred(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Sums over each bin and the BLUR next to it on either side, around the circle."""
    return np.asarray(sum(np.roll(counts.astype(np.float64), shift) for shift in range(-BLUR, BLUR + 1)))


def _polynomial(coefficients: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    y, x = np.arange(shape[0], dtype=np.float64)[:, None], np.arange(shape[1], dtype=np.float64)
    c0, c1, c2, c3, c4, c5 = coefficients
    return np.asarray(c0 + c1 * x + c2 * y + c3 * x * x + c4 * x * y + c5 * y * y)


def _named(lattice: Lattice, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the phase lies in the window; on the turned plane."""
    c0, c1, c2, c3, c4, c5 = (np.uint64(number) for number in lattice.phase)
    y, x = np.arange(shape[0], dtype=np.uint64)[:, None], np.arange(shape[1], dtype=np.uint64)
    phase = c0 + (c1 * x + c3 * x * x) + (c2 * y + c5 * y * y) + c4 * x * y
    return np.asarray(phase >> np.uint64(48) < np.uint64(lattice.width))


def _pairs(valid: NDArray[np.bool_], vertical: bool) -> NDArray[np.bool_]:
    """Pixels that are valid and whose neighbour to the left (above) is, too."""
    turned = _turn(valid, vertical)
    pairs = np.zeros(turned.shape, bool)
    pairs[:, 1:] = turned[:, 1:] & turned[:, :-1]
    return _turn(pairs, vertical)


def _turn(plane: NDArray[Any], vertical: bool) -> NDArray[Any]:
    return np.ascontiguousarray(plane.T) if vertical else plane
