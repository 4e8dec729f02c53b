"""Invented thermal scenes in kelvin: fractals, fields, coasts, streets and their mixtures; knows no sensor, no file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from eorestore.data.cloud_shapes import fractal_noise
from eorestore.errors import ConfigError, UnknownNameError

Field = NDArray[np.float32]
Ids = NDArray[np.int32]
Numbers = NDArray[np.intp]

CONTRAST_K = (2.0, 60.0)  # warmest minus coolest pixel of a scene, drawn log-uniformly
MIDDLE_K = (230.0, 320.0)  # half-way between the warmest and the coolest
BETA = (2.0, 4.0)  # power falls as frequency ** -beta
_FINER = (2, 3, 4)  # a scene is drawn on so many times finer pixels along each axis
_FINE_PIXELS = 300_000  # as many fine pixels as are drawn where a coarser drawing is left to choose
_CACHED = 8192  # pixels worked on at a time
_NUMBERS = 128  # levels are numbered modulo this power of 2 along each axis of a lattice


def simulate_thermal(height: int, width: int, *, kind: str, generator: np.random.Generator) -> Field:
    """One thermal scene (y, x) in kelvin, without noise or blur.

    It is drawn on pixels two to four times finer, of which every pixel is the mean, so that edges lie between pixels
    as they do in the mean over the area of a detector. Half of the scenes have a gradient across them, a third a few
    hot spots. Warmest minus coolest pixel is 2 to 60 K, half-way between them 230 to 320 K.

    Args:
        height: pixels, at least 1.
        width: pixels, at least 1.
        kind: one of `THERMAL_KINDS`. `fractal`: power falling as frequency ** -beta, beta 2 to 4. `fields`: parcels
            of nearly constant temperature. `coastline`: smooth sea under a ragged coast with islands. `streets`:
            roofs between strips one to three pixels wide. `mixed`: two or three of those side by side.
        generator: what all is drawn from.

    Raises:
        UnknownNameError: there is no such kind.
        ConfigError: the scene has no pixel.
    """
    if kind not in THERMAL_KINDS:
        raise UnknownNameError("kind of thermal scene", kind, THERMAL_KINDS)
    if height < 1 or width < 1:
        raise ConfigError(
            f"a thermal scene of {height} x {width} pixels", fix="give at least one pixel along each axis"
        )
    wanted = [finer for finer in _FINER if finer**2 * height * width <= _FINE_PIXELS] or [_FINER[0]]
    canvas = _Canvas(height, width, int(generator.choice(wanted)), generator)
    relief = _scaled(THERMAL_KINDS[kind](canvas))
    if generator.random() < 1 / 2:
        relief = relief + np.float32(generator.uniform(0.1, 1.5)) * _ramp(canvas)
    if generator.random() < 1 / 3:
        _add_hot_spots(relief, canvas)
    scene = relief.reshape(height, canvas.finer, width, canvas.finer).mean(axis=(1, 3), dtype=np.float64)
    low, high = float(scene.min()), float(scene.max())
    share = (scene - low) / (high - low) - 0.5 if high > low else np.zeros_like(scene)
    contrast = math.exp(generator.uniform(math.log(CONTRAST_K[0]), math.log(CONTRAST_K[1])))
    return np.asarray(generator.uniform(*MIDDLE_K) + contrast * share, dtype=np.float32)


def draw_thermal(height: int, width: int, *, generator: np.random.Generator) -> Field:
    """`simulate_thermal` of a kind drawn from `THERMAL_KINDS`, all alike in chance."""
    names = tuple(THERMAL_KINDS)
    return simulate_thermal(height, width, kind=names[int(generator.integers(len(names)))], generator=generator)


@dataclass(frozen=True)
class _Canvas:
    """Fine pixels, `finer` to a pixel along each axis; all lengths given to it are in whole pixels."""

    height: int
    width: int
    finer: int
    generator: np.random.Generator

    @property
    def shape(self) -> tuple[int, int]:
        return self.height * self.finer, self.width * self.finer

    def noise(self, beta: float) -> Field:
        """Mean 0, deviation 1 before a rim is cut off, power as frequency ** -beta."""
        height, width = (next_fast_len(side + 8, real=True) for side in self.shape)
        found = fractal_noise(
            (height, width), generator=self.generator, longest=16.0 * max(height, width), slope=beta / 2
        )
        return found[: self.shape[0], : self.shape[1]]

    def smooth(self) -> Field:
        """Mean 0, deviation 1 over all draws: plane waves of a sixth of the scene and longer."""
        waves, side = 16, max(self.height, self.width)
        length = side * np.exp(self.generator.uniform(math.log(1 / 6), math.log(2), waves))
        angle, phase = self.generator.uniform(0, 2 * math.pi, (2, waves))
        along_y, along_x = (
            2 * math.pi * np.arange(fine)[:, None] / self.finer * part / length
            for fine, part in zip(self.shape, (np.sin(angle), np.cos(angle)), strict=True)
        )
        height = length / np.sqrt((length**2).sum() / 2)
        # cos(y + x) is a sum of two products, so that all waves are two products of matrices
        found = (height * np.cos(along_y + phase)) @ np.cos(along_x).T - (height * np.sin(along_y + phase)) @ np.sin(
            along_x
        ).T
        return np.asarray(found, dtype=np.float32)

    def axes(self, angle: float) -> tuple[Field, Field]:
        """Pixels across and along a direction, from an origin anywhere."""
        y, x = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(self.finer) for side in self.shape)
        down, right = y[:, None] + self.uniform(-500, 500), x[None] + self.uniform(-500, 500)
        cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        return cosine * down - sine * right, cosine * right + sine * down

    def uniform(self, low: float, high: float) -> np.float32:
        return np.float32(self.generator.uniform(low, high))

    def length(self, low: float, high: float) -> np.float32:
        """Log-uniform."""
        return np.float32(math.exp(self.generator.uniform(math.log(low), math.log(high))))


def _fractal(canvas: _Canvas) -> Field:
    return canvas.noise(canvas.generator.uniform(*BETA))


def _fields(canvas: _Canvas) -> Field:
    """Parcels, in two of three scenes with a little texture inside."""
    parcels = _parcels(canvas)
    if canvas.generator.random() < 1 / 3:
        return parcels
    return parcels + canvas.uniform(0, 0.06) * canvas.noise(2.0)


def _parcels(canvas: _Canvas) -> Field:
    """Cells of a mosaic, or strips cut into pieces whose direction turns from block to block."""
    if canvas.generator.random() < 1 / 2:
        number = _mosaic(canvas, size=canvas.length(5, 40), aspect=canvas.length(1, 3))
    else:
        block = _mosaic(canvas, size=canvas.length(30, 120), aspect=np.float32(1))
        across, along = canvas.axes(canvas.generator.uniform(0, math.pi))
        turn = canvas.generator.normal(0, 0.5, _NUMBERS**2).astype(np.float32)
        cosine, sine = (np.asarray(wave, dtype=np.float32)[block] for wave in (np.cos(turn), np.sin(turn)))
        strip = _uneven(cosine * across - sine * along, canvas.length(3, 16), canvas)
        ahead = cosine * along + sine * across + (strip % 5).astype(np.float32) * np.float32(7.3)
        piece = _uneven(np.asarray(ahead, dtype=np.float32), canvas.length(6, 50), canvas)
        number = _numbered(strip + block.astype(np.int32), piece)
    levels = canvas.generator.standard_normal(_NUMBERS**2, dtype=np.float32)
    if canvas.generator.random() < 1 / 2:  # few kinds of cover, as many temperatures
        covers = int(canvas.generator.integers(3, 9))
        levels = levels[canvas.generator.integers(0, covers, _NUMBERS**2)]
    return levels[number]


def _coastline(canvas: _Canvas) -> Field:
    """Land above a level of a fractal surface with ridges, which reach into the sea as thin peninsulas."""
    beta = canvas.generator.uniform(2.4, 3.6)
    surface = canvas.noise(beta) - canvas.uniform(0, 1) * np.abs(canvas.smooth())
    level = np.quantile(surface[:: canvas.finer, :: canvas.finer], canvas.generator.uniform(0.25, 0.7))
    sea = canvas.uniform(0.02, 0.2) * canvas.smooth()
    land = canvas.uniform(0.1, 0.6) * _fractal(canvas) + canvas.uniform(0, 0.6) * _parcels(canvas)
    rise = canvas.uniform(0.8, 4) * (1 if canvas.generator.random() < 3 / 4 else -1)  # by night the sea is the warmer
    return np.where(surface > level, land + rise, sea)


def _streets(canvas: _Canvas) -> Field:
    """Blocks of roofs, some of them parks, between streets of two directions."""
    across, along = canvas.axes(canvas.generator.uniform(0, math.pi))
    bend = canvas.uniform(0, 2) * canvas.smooth()
    across, along = across + bend, along - bend
    street, blocks_along, roofs_along = np.zeros(canvas.shape, bool), list[Ids](), list[Ids]()
    for axis in (across, along):
        period = canvas.length(7, 30)
        place = axis / period
        number = np.floor(place)
        street |= (place - number) * period < canvas.uniform(1, 3)
        blocks_along.append(number.astype(np.int32))
        roofs_along.append(np.floor(axis / canvas.length(1.5, 8)).astype(np.int32))
    block, roof = _numbered(*blocks_along), _numbered(*roofs_along)
    blocks, roofs = (canvas.generator.standard_normal(_NUMBERS**2, dtype=np.float32) for _ in range(2))
    spread = canvas.uniform(0.2, 1) * (canvas.generator.random(_NUMBERS**2) < 0.85)  # a park has no roofs
    built = np.float32(0.5) * blocks[block] + spread.astype(np.float32)[block] * roofs[roof]
    strip = canvas.uniform(0.6, 2.5) * (1 if canvas.generator.random() < 1 / 2 else -1)
    return np.where(street, strip, built)


def _mixed(canvas: _Canvas) -> Field:
    """Two or three kinds, one passing into the next along smooth seams, narrow or wide."""
    kinds = (_fractal, _fields, _coastline, _streets)
    chosen = [kinds[number] for number in canvas.generator.permutation(len(kinds))[: canvas.generator.integers(2, 4)]]
    relief = _scaled(chosen[0](canvas))
    for draw in chosen[1:]:
        share = np.clip(np.float32(0.5) + canvas.length(0.5, 8) * canvas.smooth(), 0, 1)
        relief = relief + share * (canvas.length(0.3, 2) * _scaled(draw(canvas)) - relief)
    return relief


THERMAL_KINDS: Mapping[str, Callable[[_Canvas], Field]] = {
    "fractal": _fractal,
    "fields": _fields,
    "coastline": _coastline,
    "streets": _streets,
    "mixed": _mixed,
}


def _mosaic(canvas: _Canvas, *, size: np.float32, aspect: np.float32) -> Numbers:
    """Numbers of the Voronoi cells of a turned lattice, each seed moved by up to a quarter of a cell.

    Moved no farther, the nearest seed is always one of the four around a place.
    """
    across, along = canvas.axes(canvas.generator.uniform(0, math.pi))
    bend = canvas.uniform(0, 0.1) * canvas.smooth()
    y, x = across / size + bend, along / (size * aspect) + bend
    stray = canvas.generator.uniform(-0.25, 0.25, (2, _NUMBERS**2)).astype(np.float32)
    # strip by strip, since small arrays stay in the cache
    strips = range(0, len(y), max(1, _CACHED // y.shape[1]))
    return np.concatenate([_nearest(y[rows], x[rows], stray) for rows in map(slice, strips, [*strips[1:], len(y)])])


def _nearest(y: Field, x: Field, stray: Field) -> Numbers:
    """Number of the nearest seed, of which one stands at every whole (y, x) + stray (2, number)."""
    row, column = np.floor(y), np.floor(x)
    y, x = y - row, x - column
    rows, columns = row.astype(np.int32), column.astype(np.int32)
    number, nearest = np.zeros(y.shape, np.intp), np.full(y.shape, np.inf, np.float32)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        here = _numbered(rows + down, columns + right)
        beside, ahead = y - (stray[0] + np.float32(down))[here], x - (stray[1] + np.float32(right))[here]
        distance = beside * beside + ahead * ahead
        number = np.where(distance < nearest, here, number)
        nearest = np.minimum(distance, nearest)
    return number


def _numbered(row: Ids, column: Ids) -> Numbers:
    # gathering is fastest with the index type of the machine
    return ((row & (_NUMBERS - 1)) * _NUMBERS + (column & (_NUMBERS - 1))).astype(np.intp)


def _uneven(place: Field, width: np.float32, canvas: _Canvas) -> Ids:
    """Numbers of strips of uneven widths, about that one on average."""
    phase = place / width
    sway = np.float32(0.5) * np.sin(phase * canvas.uniform(0.6, 1.6) + canvas.uniform(0, 6))
    return np.asarray(np.floor(phase + sway), dtype=np.int32)


def _ramp(canvas: _Canvas) -> Field:
    """A plane in any direction, mean 0, deviation 1 (0 on a single pixel)."""
    across, _ = canvas.axes(canvas.generator.uniform(0, 2 * math.pi))
    return _scaled(across)


def _add_hot_spots(relief: Field, canvas: _Canvas) -> None:
    """Up to eight Gaussian spots, up to two pixels wide, one to five deviations of the scene high."""
    for _ in range(int(canvas.generator.integers(1, 9))):
        sigma, peak = float(canvas.length(0.3, 2)), canvas.uniform(1, 5)
        row, column = float(canvas.uniform(0, canvas.height)), float(canvas.uniform(0, canvas.width))
        spans = []
        for centre, side in ((row, relief.shape[0]), (column, relief.shape[1])):
            first = math.floor(max(0.0, (centre - 4 * sigma) * canvas.finer))
            last = math.ceil(min(float(side), (centre + 4 * sigma) * canvas.finer))
            away = (np.arange(first, last) + 0.5) / canvas.finer - centre
            spans.append((slice(first, last), np.exp(-((away / sigma) ** 2) / 2).astype(np.float32)))
        (rows, down), (columns, right) = spans
        relief[rows, columns] += peak * down[:, None] * right


def _scaled(field: Field) -> Field:
    """Mean 0, deviation 1; a constant becomes 0."""
    spread = float(field.std())
    away = field - field.mean()
    return np.asarray(away / np.float32(spread) if spread > 0 else np.zeros_like(field), dtype=np.float32)
