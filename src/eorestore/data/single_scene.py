"""Pairs of crops from one scene and nothing else: its own pixels are the targets; knows no network and no file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eorestore.errors import DataError
from eorestore.layers.sensor import observe
from eorestore.processing.sensor import Sensor
from eorestore.tiling.ensembling import turn

Degrade = Callable[[Tensor, int, np.random.Generator], Tensor]

_BUSY_SHARE = 0.2  # of the pixels: those with the largest Laplacian around them
_BUSY_BLUR = 11
_BLOCK = 48  # pixels: largest side of the squares of which some are kept for judging
_DRAWS = 30
_LEAST_SON = 8  # pixels


@dataclass(frozen=True)
class Piece:
    """A window of the scene, or the scene, as training sees it.

    image: (band, y, x), scaled; pixels without an observation are filled. valid: bool (y, x), observed.
    judged: bool (y, x), kept for judging and never a target. guide: (band, y, x) of the same size, if there is one.
    """

    image: Tensor
    valid: Tensor
    judged: Tensor
    guide: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.valid.shape[0], self.valid.shape[1]


@dataclass(frozen=True)
class PairSettings:
    """How pairs are drawn.

    factor: fine pixels per coarse pixel. crop: side of the coarse crops; smaller in a small scene. batch: crops a step.
    scales: sizes, from the least to 1, at which the scene is a target; 1 for its own alone. least_scale: the least one.
    busy_share: of the crops, centred where the Laplacian is largest; the others lie anywhere.
    jitter: a crop's contrast and brightness change by up to so much of the range, each in `jitter_share` of the crops.
    """

    factor: int = 2
    crop: int = 48
    batch: int = 4
    scales: int = 4
    least_scale: float = 0.6
    busy_share: float = 0.7
    jitter: float = 0.0
    jitter_share: float = 0.3


def hold_back(valid: Tensor, share: float, *, origin: tuple[int, int] = (0, 0)) -> Tensor:
    """Bool (y, x): squares, spread evenly over about `share` of the scene, half of it at most; empty where share is 0.

    origin: row and column of the window in the scene, so that windows of one size that overlap hold back the same.
    """
    height, width = valid.shape
    if share <= 0:
        return torch.zeros_like(valid)
    side = max(4, min(_BLOCK, height // 4, width // 4))
    rows, columns = (
        (torch.arange(length) + first) // side for length, first in zip((height, width), origin, strict=True)
    )
    every = max(2, round(1 / share))
    # a step of 2 across in every row down spreads the squares as a knight moves
    across = 2 if every > 2 else 1
    return (columns[None] + across * rows[:, None]) % every == 0


class ScenePairs:
    """Batches of coarse crops and what they are crops of; drawn from a generator, endlessly."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        settings: PairSettings,
        *,
        degrade: Degrade,
        generator: np.random.Generator,
    ) -> None:
        """Raises DataError where no piece is large enough to learn from."""
        self.settings, self._degrade, self._generator = settings, degrade, generator
        fathers = [
            father
            for piece in pieces
            for scale in np.linspace(settings.least_scale, 1.0, settings.scales)
            for father in _father(piece, 1.0 if settings.scales == 1 else float(scale))
            if min(father.piece.size) >= _LEAST_SON * settings.factor
        ]
        if not fathers:
            size = max((piece.size for piece in pieces), default=(0, 0))
            raise DataError(
                f"{size[0]} x {size[1]} pixels are too few to learn a scale of {settings.factor} from",
                fix=f"give a scene of at least {_LEAST_SON * settings.factor} pixels to a side, or take the weights as "
                "they are: -s steps=0",
            )
        smallest = min(min(father.piece.size) for father in fathers) // settings.factor
        self.crop = min(settings.crop, smallest)
        self._fathers, self._squares = _usable(fathers, self.crop * settings.factor)
        weights = np.array([father.piece.size[0] * father.piece.size[1] for father in self._fathers], dtype=float)
        self._weights = np.sqrt(weights) / np.sqrt(weights).sum()

    def draw(self) -> dict[str, Tensor]:
        """`low` (batch, band, y, x), `target` (batch, band, factor * y, factor * x), `known` of it, and `guide`."""
        items = [self._item() for _ in range(self.settings.batch)]
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}

    def _item(self) -> dict[str, Tensor]:
        settings, generator = self.settings, self._generator
        side = self.crop * settings.factor
        number = int(generator.choice(len(self._fathers), p=self._weights))
        father, squares = self._fathers[number], self._squares[number]
        corner = father.corner(side, settings, generator)
        for _ in range(_DRAWS):
            if bool(squares[corner]):
                break
            corner = father.corner(side, settings, generator)
        else:
            places = torch.nonzero(squares)
            row, column = places[int(generator.integers(len(places)))].tolist()
            corner = row, column
        place = (..., *_square(corner, side))
        turns = int(generator.integers(8))
        target = self._jittered(turn(father.piece.image[place], turns))
        low = self._degrade(target[None], settings.factor, generator)[0]
        item = {"low": low, "target": target, "known": turn(father.known[place][None], turns)}
        if father.piece.guide is not None:
            item["guide"] = turn(father.piece.guide[place], turns)
        return item

    def _jittered(self, image: Tensor) -> Tensor:
        settings, generator = self.settings, self._generator
        if settings.jitter <= 0:
            return image
        if generator.random() < settings.jitter_share:
            image = image + float(generator.uniform(-settings.jitter, settings.jitter))
        if generator.random() < settings.jitter_share:
            middle = image.mean()
            image = (image - middle) * (1 + float(generator.uniform(-settings.jitter, settings.jitter))) + middle
        return image


@dataclass(frozen=True)
class Father:
    """A piece at one size. known: bool (y, x), may be a target. busy: places (row, column) of much detail."""

    piece: Piece
    known: Tensor
    busy: Tensor = field(repr=False)

    def corner(self, side: int, settings: PairSettings, generator: np.random.Generator) -> tuple[int, int]:
        """First row and column of a square that lies inside."""
        height, width = self.piece.size
        if len(self.busy) and generator.random() < settings.busy_share:
            row, column = (int(value) - side // 2 for value in self.busy[int(generator.integers(len(self.busy)))])
        else:
            row, column = int(generator.integers(height - side + 1)), int(generator.integers(width - side + 1))
        return min(max(row, 0), height - side), min(max(column, 0), width - side)


def plan_degradation(high: Tensor, factor: int, generator: np.random.Generator) -> Tensor:
    """The plan's coarse crop: every factor-th pixel interpolated linearly, then blurred and made noisy.

    No sensor does so: it neither averages a pixel's area nor is its blur that of any optics, and networks that learn it
    enlarge worse than bicubic interpolation. It is kept so that this can be measured; see docs/zero-shot.md. What
    differs from the plan: values are not clipped.
    """
    low = F.interpolate(high, scale_factor=1 / factor, mode="bilinear", align_corners=False)
    if generator.random() < 0.7:
        low = _blurred(low, float(generator.uniform(0.5, 2.0)))
    if generator.random() < 0.8:
        noise = generator.standard_normal(tuple(low.shape), dtype=np.float32)
        low = low + float(generator.uniform(0.001, 0.01)) * torch.from_numpy(noise)
    return low


def sensor_degradation(sensor: Sensor, *, noise: float = 0.0) -> Degrade:
    """The coarse crop that the sensor delivers; noise: standard deviation in the image's own scale."""

    def degrade(high: Tensor, factor: int, generator: np.random.Generator) -> Tensor:
        low = observe(high, sensor, factor=factor)
        if noise > 0:
            drawn = generator.standard_normal(tuple(low.shape), dtype=np.float32)
            low = low + noise * torch.from_numpy(drawn)
        return low

    return degrade


def _square(corner: tuple[int, int], side: int) -> tuple[slice, slice]:
    return slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side)


def _usable(fathers: Sequence[Father], side: int) -> tuple[list[Father], list[Tensor]]:
    """Fathers to draw from, and bool (row, column) of the squares' corners: without gaps if any is, mostly known."""
    squares = side**2
    counts = [[_sums(mask, side) for mask in (father.known, father.piece.valid)] for father in fathers]
    most = max(int(known.max()) for known, _ in counts)
    if most == 0:
        raise DataError(
            f"no square of {side} pixels holds one that may be a target", fix="lower learning.held_back or give more"
        )
    for gap_free, least in ((True, squares // 2), (True, 0), (False, squares // 2), (False, most // 2)):
        found = [(known > least) & ((valid == squares) | (not gap_free)) for known, valid in counts]
        chosen = [number for number, places in enumerate(found) if bool(places.any())]
        if chosen:
            break
    return [fathers[number] for number in chosen], [found[number] for number in chosen]


def _sums(mask: Tensor, side: int) -> Tensor:
    """Number of pixels of `mask` in the square of every corner."""
    total = F.pad(mask.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    return total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]


def _father(piece: Piece, scale: float) -> list[Father]:
    """The piece at `scale` of its size; sides are those of whole pixels."""
    height, width = (max(1, round(side * scale)) for side in piece.size)
    if (height, width) != piece.size:
        sized: Mapping[str, Tensor | None] = {
            name: None if value is None else _resized(value, (height, width))
            for name, value in (("image", piece.image), ("guide", piece.guide))
        }
        image = sized["image"]
        if image is None:
            return []
        # a pixel is known only where all that it was made of is
        lost, judged = (_touched(value, (height, width), scale) for value in (~piece.valid, piece.judged))
        piece = Piece(image, ~lost, judged, sized["guide"])
    known = piece.valid & ~piece.judged
    return [Father(piece, known, _busy(piece.image, known))]


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    resized = F.interpolate(image[None], size=size, mode="bicubic", antialias=True, align_corners=False)
    return resized[0]


def _touched(mask: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """Pixels of the resized image of which a part comes from `mask`: the cubic looks twice as far as the triangle."""
    aside = math.ceil(1 / scale)
    grown = F.max_pool2d(mask[None, None].float(), 2 * aside + 1, stride=1, padding=aside)
    return F.interpolate(grown, size=size, mode="bilinear", align_corners=False, antialias=True)[0, 0] > 0


def _busy(image: Tensor, known: Tensor) -> Tensor:
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    padded = F.pad(image[:, None], (1, 1, 1, 1), mode="replicate")
    energy = F.conv2d(padded, kernel[None, None]).abs().mean(0)
    energy = F.avg_pool2d(energy[None], _BUSY_BLUR, stride=1, padding=_BUSY_BLUR // 2, count_include_pad=False)[0, 0]
    count = int(known.sum() * _BUSY_SHARE)
    if count == 0:
        return torch.empty(0, 2, dtype=torch.long)
    least = energy[known].topk(count).values[-1]
    return torch.nonzero(known & (energy >= least))


def _blurred(image: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    places = torch.arange(-reach, reach + 1, dtype=image.dtype)
    weights = torch.exp(-(places**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    bands = image.shape[1]
    padded = F.pad(image, (reach,) * 4, mode="replicate")
    down = F.conv2d(padded, weights.view(1, 1, -1, 1).expand(bands, 1, -1, 1), groups=bands)
    return F.conv2d(down, weights.view(1, 1, 1, -1).expand(bands, 1, 1, -1), groups=bands)
