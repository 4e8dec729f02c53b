"""Shapes of clouds in pixels: organic blobs, fractal sheets, pasted masks; knows no band and no sun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import distance_transform_edt

from eorestore.errors import MaskError

Field = NDArray[np.float32]
_TILE = 512  # side of the periodic noise from which blob outlines are cut
_OUTLINE = 0.3  # how far an outline strays, in radii
_STRAY = 1.6  # noise is clipped to this many standard deviations, so that a blob ends inside its box
_ATTEMPTS = 4000  # blobs tried before the threshold alone must reach the cover


@dataclass(frozen=True)
class Shape:
    """One cloud: its corner in patch pixels; `field` is about the distance to its edge, positive inside."""

    row: int
    column: int
    field: Field

    def overlap(self, size: tuple[int, int], shift: tuple[int, int]) -> tuple[tuple[slice, slice], ...] | None:
        """(slices of the patch, slices of the field) where the shape, moved by `shift`, touches the patch."""
        pairs = [
            (max(start, 0), min(start + length, limit), start)
            for start, length, limit in zip(
                (self.row + shift[0], self.column + shift[1]), self.field.shape, size, strict=True
            )
        ]
        if any(last <= first for first, last, _ in pairs):
            return None
        patch = slice(pairs[0][0], pairs[0][1]), slice(pairs[1][0], pairs[1][1])
        own = tuple(slice(first - start, last - start) for first, last, start in pairs)
        return patch, (own[0], own[1])


@dataclass(frozen=True)
class Canvas:
    """The patch (height, width) at the origin and how far the canvas reaches beyond it on each side."""

    size: tuple[int, int]
    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the canvas."""
        return self.size[0] + self.top + self.bottom, self.size[1] + self.left + self.right


def fractal_noise(
    shape: tuple[int, int],
    *,
    generator: np.random.Generator,
    longest: float = 128.0,
    slope: float = 1.9,
    stretch: float = 1.0,
    direction_rad: float = 0.0,
) -> Field:
    """Periodic Gaussian noise (y, x), mean 0, standard deviation 1, amplitude falling as frequency ** -slope.

    longest: wavelength in pixels above which the spectrum is flat.
    stretch: how much longer structures are along `direction_rad` (from the x axis towards +y) than across.
    """
    white = generator.standard_normal(shape, dtype=np.float32)
    down = np.fft.fftfreq(shape[0]).astype(np.float32)[:, None]
    across = np.fft.rfftfreq(shape[1]).astype(np.float32)[None]
    along = np.cos(direction_rad) * across + np.sin(direction_rad) * down
    beside = np.cos(direction_rad) * down - np.sin(direction_rad) * across
    squared = (along * stretch) ** 2 + (beside / stretch) ** 2
    gain = (squared + np.float32(longest**-2)) ** np.float32(-slope / 2)
    gain[0, 0] = 0.0
    noise: Field = fft.irfft2(fft.rfft2(white) * gain.astype(np.float32), s=shape).astype(np.float32)
    return noise / np.float32(max(float(noise.std()), 1e-12))


def draw_blobs(
    canvas: Canvas,
    *,
    cover: float,
    diameters: tuple[float, float],
    taken: NDArray[np.bool_],
    shadow_reach: tuple[int, int],
    generator: np.random.Generator,
) -> list[Shape]:
    """Blobs over the canvas until `cover` of the patch is cloud, together with the pixels already `taken`.

    Diameters (pixels) are drawn log-uniformly. Blobs that touch the patch neither themselves nor by a shadow
    displaced up to `shadow_reach` (rows, columns) are left out.
    """
    noise = fractal_noise((_TILE, _TILE), generator=generator, longest=90.0)
    np.clip(noise, -_STRAY, _STRAY, out=noise)
    covered = taken.copy()
    goal, upper, margin = round(cover * covered.size), diameters[1], diameters[1] / 2
    total, shapes = int(covered.sum()), list[Shape]()
    for _ in range(_ATTEMPTS):
        if total >= goal:
            break
        diameter = float(np.exp(generator.uniform(np.log(diameters[0]), np.log(max(upper, diameters[0])))))
        centre = (
            generator.uniform(-canvas.top - margin, canvas.size[0] + canvas.bottom + margin),
            generator.uniform(-canvas.left - margin, canvas.size[1] + canvas.right + margin),
        )
        blob = _blob(centre, diameter / 2, noise=noise, generator=generator)
        touch = blob.overlap(canvas.size, (0, 0))
        if touch is not None:
            patch, own = touch
            new = (blob.field[own] > 0) & ~covered[patch]
            gain = int(new.sum())
            # A cloud far too large for what is missing would have to be shrunk out of its size range.
            if total + gain > goal * 1.05 and diameter > diameters[0] * 1.2:
                upper = diameter * 0.85
                continue
            covered[patch] |= new
            total += gain
            upper = diameters[1]
        elif not _can_shade(blob, canvas.size, shadow_reach):
            continue
        shapes.append(blob)
    return shapes


def _blob(centre: tuple[float, float], radius: float, *, noise: Field, generator: np.random.Generator) -> Shape:
    aspect = generator.uniform(0.6, 1.0) ** 0.5
    angle = generator.uniform(0.0, np.pi)
    half = int(np.ceil(_STRAY * radius / aspect)) + 1
    row, column = round(centre[0]) - half, round(centre[1]) - half
    offsets = np.arange(-half, half + 1, dtype=np.float32)
    y, x = offsets[:, None], offsets[None]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, beside = (cosine * x + sine * y) * np.float32(aspect), (cosine * y - sine * x) / np.float32(aspect)
    # Small blobs read the noise in larger steps: their outlines are as lively as those of large ones.
    step = int(np.clip(round(60.0 / radius), 1, 4))
    start = generator.integers(0, _TILE, size=2)
    steps = np.arange(offsets.size) * step
    local = noise[np.ix_((start[0] + steps) % _TILE, (start[1] + steps) % _TILE)]
    field = np.float32(radius) * (1 + np.float32(_OUTLINE) * local) - np.sqrt(along**2 + beside**2)
    return Shape(row, column, field)


def _can_shade(shape: Shape, size: tuple[int, int], reach: tuple[int, int]) -> bool:
    rows, columns = sorted((0, reach[0])), sorted((0, reach[1]))
    height, width = shape.field.shape
    return (
        shape.row + rows[1] + height > 0
        and shape.row + rows[0] < size[0]
        and shape.column + columns[1] + width > 0
        and shape.column + columns[0] < size[1]
    )


def draw_sheet(
    canvas: Canvas,
    *,
    generator: np.random.Generator,
    longest: float = 150.0,
    stretch: float = 1.0,
    direction_rad: float = 0.0,
) -> Shape:
    """One fractal sheet over the whole canvas; its field becomes a cloud once a threshold is taken off."""
    height, width = (fft.next_fast_len(length + 32, real=True) for length in canvas.shape)
    noise = fractal_noise(
        (height, width), generator=generator, longest=longest, stretch=stretch, direction_rad=direction_rad
    )
    # A quarter of the longest wave is about the way from the edge of a cloud to its crest.
    field = noise[: canvas.shape[0], : canvas.shape[1]] * np.float32(longest / 4)
    return Shape(-canvas.top, -canvas.left, field)


def draw_mask(
    canvas: Canvas,
    *,
    cover: float,
    masks: Sequence[NDArray[np.bool_]],
    generator: np.random.Generator,
    draws: int = 8,
) -> Shape:
    """A real cloud mask, cropped, turned and flipped at random; of `draws` the one nearest to `cover`.

    A mask smaller than the canvas is continued by its mirror image. Raises MaskError where no draw meets a
    cloud.
    """
    best: NDArray[np.bool_] | None = None
    distance = np.inf
    for _ in range(draws):
        mask = np.rot90(masks[int(generator.integers(len(masks)))], int(generator.integers(4)))
        mask = mask[:, ::-1] if generator.random() < 0.5 else mask
        rows, columns = (
            _mirrored(int(generator.integers(2 * have)), want, have)
            for have, want in zip(mask.shape, canvas.shape, strict=True)
        )
        candidate = mask[np.ix_(rows, columns)]
        inside = candidate[canvas.top :, canvas.left :][: canvas.size[0], : canvas.size[1]]
        off = abs(float(inside.mean()) - cover)
        if candidate.any() and off < distance:
            best, distance = candidate, off
    if best is None:
        raise MaskError("the masks hold no cloud", fix="give masks that are True where a cloud is")
    inwards = distance_transform_edt(best) if not best.all() else np.full(best.shape, float(max(best.shape)))
    field = np.where(best, inwards - 0.5, 0.5 - distance_transform_edt(~best)).astype(np.float32)
    return Shape(-canvas.top, -canvas.left, field)


def _mirrored(start: int, length: int, period: int) -> NDArray[np.int64]:
    position = (start + np.arange(length)) % (2 * period)
    return np.minimum(position, 2 * period - 1 - position).astype(np.int64)
