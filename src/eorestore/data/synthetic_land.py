"""The lay of an invented land: hills, a river, lakes, fields, woods, roads and towns; knows no sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from eorestore.data.cloud_shapes import fractal_noise

Field = NDArray[np.float32]
Ids = NDArray[np.int64]


class LandCover(IntEnum):
    """Classes of the land cover map."""

    WATER = 0
    CONIFER = 1
    BROADLEAF = 2
    GRASS = 3
    CEREAL = 4
    MAIZE = 5
    RAPESEED = 6
    STUBBLE = 7
    SOIL = 8
    URBAN = 9
    ROAD = 10
    SAND = 11


_CROPS = (
    LandCover.CEREAL, LandCover.MAIZE, LandCover.RAPESEED, LandCover.STUBBLE, LandCover.SOIL, LandCover.GRASS,
)  # fmt: skip
_CROP_SHARES = (0.28, 0.17, 0.06, 0.16, 0.15, 0.18)


@dataclass(frozen=True)
class Land:
    """Maps (y, x) of one land at 10 m.

    cover: `LandCover`. height: metres. field: number of the parcel, dense from 0.
    rows: -1 to 1, lines of tillage along each parcel. roof: share of a town pixel that is roof, 0 to 1.
    tone: 0 to 1, which roof (dark, red, bright). canopy: -1 to 1, fine relief of tree crowns.
    """

    cover: NDArray[np.uint8]
    height: Field
    field: Ids
    rows: Field
    roof: Field
    tone: Field
    canopy: Field


def draw_land(size: tuple[int, int], *, relief_m: float, towns: int, generator: np.random.Generator) -> Land:
    """A land of (height, width) pixels with about `relief_m` metres between valley and hills."""
    shape = size
    hills = fractal_noise(shape, generator=generator, longest=160.0, slope=2.9)
    river, bank = _river(shape, generator=generator)
    valley = np.exp(-((bank / (0.16 * min(shape))) ** 2)).astype(np.float32)
    height = np.float32(relief_m / 4) * (hills * (1 - 0.75 * valley) - 1.2 * valley)
    height += np.float32(250.0) - height.min()
    field, block, rows = _parcels(shape, generator=generator)
    cover = _crops(field, generator=generator)
    _edges(cover, field, block, generator=generator)
    _woods(cover, field, hills - 1.2 * valley, bank, generator=generator)
    lakes = _lakes(shape, hills, generator=generator)
    shore = distance_transform_edt(~lakes) if lakes.any() else np.full(shape, 99.0)
    _meadows(cover, np.minimum(bank, shore), generator=generator)
    roof, tone = _towns(cover, bank, height, count=towns, generator=generator)
    water = river | lakes
    cover[water] = LandCover.WATER
    roof[water] = 0
    canopy = fractal_noise(shape, generator=generator, longest=6.0, slope=1.2)
    return Land(cover, height, field, rows, roof, tone, np.clip(canopy / 2, -1, 1))


def _river(shape: tuple[int, int], *, generator: np.random.Generator) -> tuple[NDArray[np.bool_], Field]:
    """Water of a meandering river, and the distance of every pixel to its middle line."""
    side = max(shape)
    heading = generator.uniform(0, 2 * math.pi)
    wave = generator.uniform(0.28, 0.5) * min(side, 400)
    steps = np.arange(0, 4.5 * side, 0.4)
    # Sine-generated curve (Langbein and Leopold 1966): the direction of a meander swings like a sine.
    swing = generator.uniform(0.75, 1.15) * (
        1 + 0.35 * np.sin(2 * np.pi * steps / (2.7 * wave) + generator.uniform(0, 6))
    )
    angle = (
        heading
        + swing * np.sin(2 * np.pi * steps / wave)
        + 0.35 * np.sin(2 * np.pi * steps / (3.9 * wave) + generator.uniform(0, 6))
    )
    line = np.stack([np.cumsum(np.sin(angle)), np.cumsum(np.cos(angle))]) * 0.4
    middle = np.array(shape)[:, None] * generator.uniform(0.3, 0.7, (2, 1))
    line += middle - line[:, line.shape[1] // 2][:, None]
    course = _drawn(shape, line)
    distance: Field = distance_transform_edt(~course).astype(np.float32)
    uneven = fractal_noise(shape, generator=generator, longest=60.0, slope=2.2)
    width = generator.uniform(2.2, 4.0) * (1 + 0.22 * uneven)
    return distance < width, distance


def _drawn(shape: tuple[int, int], line: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    rows, columns = np.rint(line).astype(int)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    mask[rows[inside], columns[inside]] = True
    return mask


def _parcels(shape: tuple[int, int], *, generator: np.random.Generator) -> tuple[Ids, Ids, Field]:
    """Parcels: blocks as a Voronoi mosaic on bent axes, each cut into oriented strips."""
    bend = [4.0 * fractal_noise(shape, generator=generator, longest=120.0, slope=2.6) for _ in range(2)]
    y, x = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in shape), indexing="ij")
    y, x = y + bend[0], x + bend[1]
    tilt, spacing = generator.uniform(0, math.pi / 2), 52.0
    reach = max(shape) * 1.5
    lattice = np.arange(-reach, reach, spacing)
    seeds = np.stack(np.meshgrid(lattice, lattice, indexing="ij"), -1).reshape(-1, 2)
    seeds += generator.uniform(-0.42, 0.42, seeds.shape) * spacing
    along, across = math.cos(tilt) * x + math.sin(tilt) * y, math.cos(tilt) * y - math.sin(tilt) * x
    places = np.stack([across.ravel(), along.ravel()], -1)
    block = np.asarray(cKDTree(seeds).query(places, p=1)[1], dtype=np.int64).reshape(shape)
    count = len(seeds)
    turn = tilt + generator.integers(0, 2, count) * math.pi / 2 + generator.normal(0, 0.18, count)
    width, length = generator.uniform(9, 24, count), generator.uniform(28, 75, count)
    offset = generator.uniform(0, 100, (2, count))
    cosine, sine = np.cos(turn)[block], np.sin(turn)[block]
    beside, ahead = cosine * y - sine * x, cosine * x + sine * y
    strip = np.floor((beside + offset[0][block]) / width[block]).astype(np.int64)
    piece = np.floor((ahead + offset[1][block] + 13.7 * (strip % 5)) / length[block]).astype(np.int64)
    code = (block * 2000 + (strip + 1000)) * 2000 + (piece + 1000)
    field = np.asarray(np.unique(code, return_inverse=True)[1]).reshape(shape)
    rows = np.sin(2 * np.pi * beside / generator.uniform(2.6, 4.2, count)[block]).astype(np.float32)
    return field, block, rows


def _crops(field: Ids, *, generator: np.random.Generator) -> NDArray[np.uint8]:
    crops = generator.choice(_CROPS, size=int(field.max()) + 1, p=_CROP_SHARES).astype(np.uint8)
    cover: NDArray[np.uint8] = crops[field]
    return cover


def _edges(cover: NDArray[np.uint8], field: Ids, block: Ids, *, generator: np.random.Generator) -> None:
    """Tracks and hedges along blocks, here and there a balk between parcels."""
    rim, balk = (_changes(ids) for ids in (block, field))
    kind = generator.random(int(block.max()) + 1)[block]
    cover[balk & (generator.random(int(field.max()) + 1)[field] < 0.25)] = LandCover.GRASS
    cover[rim & (kind < 0.45)] = LandCover.ROAD
    cover[rim & (kind > 0.7)] = LandCover.BROADLEAF


def _changes(ids: Ids) -> NDArray[np.bool_]:
    changes = np.zeros(ids.shape, bool)
    changes[1:] |= ids[1:] != ids[:-1]
    changes[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    return changes


def _woods(cover: NDArray[np.uint8], field: Ids, upland: Field, bank: Field, *, generator: np.random.Generator) -> None:
    """Woods on the hills, with edges along parcels where farmers cut them back, and trees along the river."""
    noise = fractal_noise(cover.shape, generator=generator, longest=90.0, slope=2.0)
    wooded = noise + 0.9 * upland
    size = np.bincount(field.ravel())
    parcel = (np.bincount(field.ravel(), wooded.ravel()) / size)[field]
    limit = np.quantile(wooded, 0.74)
    forest = (parcel > limit) | (wooded > limit + 0.75)
    sort = fractal_noise(cover.shape, generator=generator, longest=70.0, slope=1.8)
    cover[forest] = np.where(sort > 0.1, LandCover.CONIFER, LandCover.BROADLEAF)[forest]
    patchy = fractal_noise(cover.shape, generator=generator, longest=14.0, slope=1.6)
    cover[(bank < 8.5) & (patchy > 0.45)] = LandCover.BROADLEAF


def _lakes(shape: tuple[int, int], hills: Field, *, generator: np.random.Generator) -> NDArray[np.bool_]:
    noise = fractal_noise(shape, generator=generator, longest=70.0, slope=2.6) - 0.5 * hills
    lakes: NDArray[np.bool_] = noise > np.quantile(noise, 1 - generator.uniform(0.006, 0.018))
    return lakes


def _meadows(cover: NDArray[np.uint8], bank: NDArray[np.floating], *, generator: np.random.Generator) -> None:
    wet = bank + 3.0 * fractal_noise(cover.shape, generator=generator, longest=30.0, slope=1.8)
    trees = (cover == LandCover.BROADLEAF) | (cover == LandCover.CONIFER)
    cover[(wet < 11) & ~trees] = LandCover.GRASS
    cover[(bank < 5.2) & (wet < 2.0)] = LandCover.SAND


def _towns(
    cover: NDArray[np.uint8], bank: Field, height: Field, *, count: int, generator: np.random.Generator
) -> tuple[Field, Field]:
    """Towns and villages with streets and blocks, joined by roads; returns the share and tone of roofs."""
    shape = cover.shape
    roof, tone = np.zeros(shape, np.float32), np.full(shape, 0.5, np.float32)
    y, x = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in shape), indexing="ij")
    ragged = fractal_noise(shape, generator=generator, longest=40.0, slope=1.8)
    centres = _sites(bank, height, count, generator=generator)
    _roads(cover, centres, generator=generator)
    for number, (row, column) in enumerate(centres):
        radius = generator.uniform(0.105, 0.14) * min(*shape, 400) if number == 0 else generator.uniform(8, 15)
        away = np.hypot(y - row, x - column) / radius * (1 + 0.28 * ragged)
        turn = generator.uniform(0, math.pi / 2)
        across = math.cos(turn) * y - math.sin(turn) * x + 2.5 * gaussian_filter(ragged, 6)
        along = math.cos(turn) * x + math.sin(turn) * y
        block = np.floor(across / 8.3).astype(np.int64) * 4001 + np.floor(along / 12.7).astype(np.int64)
        street = (np.mod(across, 8.3) < 1.1) | (np.mod(along, 12.7) < 1.1)
        house = np.floor(across / 2.4).astype(np.int64) * 9001 + np.floor(along / 3.1).astype(np.int64)
        density, park, hall = (_by_id(block, generator) for _ in range(3))
        inside = away < 1
        industrial = inside & (away > 0.62) & (hall > 0.8) & (number == 0)
        green = inside & (park > 0.88) & ~industrial & (number == 0)
        built = _by_id(house, generator) < (0.35 + 0.45 * density) * np.clip(1.45 - away, 0, 1)
        roof[inside] = (0.12 + 0.88 * built)[inside]
        tone[inside] = _by_id(house, generator)[inside]
        roof[industrial], tone[industrial] = 0.95, (0.8 + 0.2 * density)[industrial]
        cover[inside] = LandCover.URBAN
        cover[inside & street] = LandCover.ROAD
        cover[green] = np.where(density > 0.5, LandCover.GRASS, LandCover.BROADLEAF)[green]
    roof[cover != LandCover.URBAN] = 0
    return roof, tone


def _by_id(ids: Ids, generator: np.random.Generator) -> Field:
    dense = np.asarray(np.unique(ids, return_inverse=True)[1]).reshape(ids.shape)
    drawn: Field = generator.random(int(dense.max()) + 1, dtype=np.float32)[dense]
    return drawn


def _sites(bank: Field, height: Field, count: int, *, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Dry, low places, well apart; the first lies near the river."""
    sites: list[tuple[int, int]] = []
    spread = 0.3 * min(bank.shape)
    for number in range(count):
        margin = 0.18 if number == 0 else 0.06
        tries = generator.uniform(margin, 1 - margin, (60, 2)) * bank.shape
        rows, columns = tries.astype(int).T
        apart = np.min([np.hypot(rows - r, columns - c) for r, c in sites], axis=0) if sites else spread
        cost = height[rows, columns] + 300 * (bank[rows, columns] < 9) + 300 * (apart < spread)
        cost += bank[rows, columns] if number == 0 else 40 * generator.random(60)
        best = int(np.argmin(cost))
        sites.append((int(rows[best]), int(columns[best])))
    return sites


def _roads(cover: NDArray[np.uint8], sites: list[tuple[int, int]], *, generator: np.random.Generator) -> None:
    """Country roads from the first town to the others, and a main road from rim to rim through it."""
    height, width = cover.shape
    angle = generator.uniform(0, math.pi)
    far = np.array([math.sin(angle), math.cos(angle)]) * 1.5 * max(height, width)
    hub = np.array(sites[0] if sites else (height / 2, width / 2), float)
    lines = [(hub - far, hub + far, 1.0)] + [(hub, np.array(site, float), 0.6) for site in sites[1:]]
    for start, end, thickness in lines:
        length = float(np.hypot(*(end - start)))
        share = np.arange(0, length, 0.4) / max(length, 1.0)
        bow = 9.0 * np.sin(np.pi * share * max(round(length / 90), 1)) * generator.uniform(-1, 1)
        side = np.array([-(end - start)[1], (end - start)[0]]) / max(length, 1.0)
        line = start[:, None] + (end - start)[:, None] * share + side[:, None] * bow
        road = distance_transform_edt(~_drawn(cover.shape, line)) if length > 1 else np.full(cover.shape, 9.0)
        cover[road < thickness] = LandCover.ROAD
