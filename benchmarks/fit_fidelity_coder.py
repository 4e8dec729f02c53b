"""Fits the contexts and tables of the fidelity coder on public SAR bands; writes src/eorestore/weights/codec.

Three times: code the scenes as the coder of the time before would, then fit the network and the tables to what had to
be coded (first the levels are plainly rounded). Scenes of whole places are held out and only scored, unless `--all`.

    OMP_NUM_THREADS=1 python benchmarks/fit_fidelity_coder.py --root DATA/sar --all
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sar_training_planes import scenes
from scipy import ndimage
from torch import Tensor, nn

from eorestore.codec import block_transform
from eorestore.codec.block_transform import BlockGrid
from eorestore.codec.coder import DIRECT, TOKENS, to_tokens
from eorestore.codec.contexts import FEATURES, BandContext, IntegerNetwork
from eorestore.codec.dependent_quantiser import UNIT, magnitudes
from eorestore.codec.fidelity_coder import CodedBand, FidelityCoder
from eorestore.codec.fidelity_levels import levels_shown, predicted_away, steps_of
from eorestore.codec.fidelity_model import FILE, FidelityModel, write_model
from eorestore.codec.radiometry import LEVEL
from eorestore.codec.tables import tables_from
from eorestore.experiments.record import hash_paths, make_record, write_record

HELD_OUT = ("terramind_38D", "glfcr_2017", "ssl4eo", "ben_20180204")
WINDOWS = {0: (-30.0, 10.0), 1: (-38.0, 2.0)}  # VV, VH
TABLES = 56
HIDDEN = (32, 24)
SEED = 20261122
TAKEN = 24_000  # coefficients of a band under one step
PRIOR = 100.0  # symbols that the fitted curve counts for when a table is updated by what came up

Bands = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Taken:
    """Coefficients that had to be coded.

    features: (n, FEATURES). sizes: true magnitudes in units of the quantisers. levels: coded. second: whether the
    second quantiser was meant, 1 or 0.
    """

    features: NDArray[np.int16]
    sizes: NDArray[np.float32]
    levels: NDArray[np.int64]
    second: NDArray[np.uint8]


class Network(nn.Module):
    """The float twin of the integer network, and the logits of the tables that it chooses among."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (FEATURES, *HIDDEN, 1)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        nn.init.constant_(self.layers[-1].bias, TABLES / 3)
        nn.init.normal_(self.layers[-1].weight, std=1.0)
        size = torch.arange(DIRECT + 1)
        spread = 0.06 * 1.14 ** torch.arange(TABLES)[:, None]
        curve = torch.log_softmax(-size / spread, dim=1).clamp_min(-12)
        self.logits = nn.Parameter(torch.stack([curve, curve]))  # of both quantisers

    def forward(self, features: Tensor) -> Tensor:
        """(n, FEATURES) in units of 1 to places among the tables (n,)."""
        values = features / 32
        for layer in self.layers[:-1]:
            values = torch.relu(layer(values))
        place: Tensor = self.layers[-1](values)[:, 0]
        return place

    def bits(self, features: Tensor, columns: Tensor, second: Tensor) -> Tensor:
        """Cost of each level, at most DIRECT, of a quantiser, between the two nearest tables."""
        place = self(features).clamp(0, TABLES - 1.001)
        low = place.floor()
        share = place - low
        chances = torch.softmax(self.logits, dim=2)
        below = chances[second, low.long(), columns]
        above = chances[second, low.long() + 1, columns]
        return -torch.log2((below * (1 - share) + above * share).clamp_min(1e-7))


def training_scenes(folder: Path, rng: np.random.Generator, *, every: bool) -> Iterator[tuple[str, Bands]]:
    """Windowed decibel bands of each scene, and of kinds of product made from them."""
    for name, found in scenes(folder).items():
        if name.startswith(HELD_OUT) and not every:
            continue
        bands = windowed(found)
        yield name, bands
        if bands[0].size > 40_000:
            yield f"{name} decimated", [band[::2, ::2] for band in bands]
            looks = int(rng.choice([1, 1, 3, 5]))
            ground = [ndimage.gaussian_filter(band, rng.uniform(1.5, 4)) for band in bands]
            yield f"{name} speckled", [image + speckle(image.shape, looks, rng) for image in ground]


def windowed(bands: list[NDArray[np.float64]]) -> Bands:
    """Clipped as the codec clips them; a single band is taken as it is named, VH for the one scene of that kind."""
    order = [0, 1] if len(bands) == 2 else [1]
    return [np.clip(band, *WINDOWS[which]).astype(np.float32) for band, which in zip(bands, order, strict=True)]


def speckle(shape: tuple[int, ...], looks: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Speckle in decibel, white or nearly so, as in products that were never resampled."""
    blur = float(rng.choice([0, 0.2, 0.35]))
    kernel = np.array([blur, 1, blur])
    total = np.zeros(shape)
    for _ in range(looks):
        field = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        total += np.abs(ndimage.convolve1d(ndimage.convolve1d(field, kernel, axis=0), kernel, axis=1)) ** 2
    decibel = 10 * np.log10(np.maximum(total / total.mean(), 1e-4))
    return decibel.astype(np.float32)


def taken(
    bands: Bands, decibel: float, model: FidelityModel, rng: np.random.Generator, *, alone: bool
) -> Iterator[Taken]:
    """What a coder meets in a scene: each band, knowing the one before unless `alone`."""
    grid, coder = BlockGrid.over(*bands[0].shape), FidelityCoder(decibel, model)
    before: CodedBand | None = None
    for plane in bands:
        coded = coder.coded(plane, grid, before, None)
        predicted = coded.coefficients - shown_of(coded, coder)
        left = block_transform.forward(plane - np.float32(LEVEL), grid) - predicted
        left /= np.float32(UNIT) * steps_of(grid, decibel)
        second = (coded.numbers >= TABLES).astype(np.uint8)
        yield sampled(coder.context(grid, before), coded.levels, second, left, rng)
        before = None if alone else coded


def shown_of(coded: CodedBand, coder: FidelityCoder) -> NDArray[np.float32]:
    """What the levels alone stand for, without the prediction."""
    return levels_shown(coder.model, coded.levels, coded.numbers, steps_of(coded.context.grid, coder.step))


def sampled(
    context: BandContext,
    levels: NDArray[np.int64],
    second: NDArray[np.uint8],
    left: NDArray[np.float32],
    rng: np.random.Generator,
) -> Taken:
    """Some coefficients of a band in the order of coding. left: what had to be coded, in units."""
    share = min(1.0, TAKEN / context.grid.present.sum())
    flat, quantiser = context.padded(levels), context.padded(second).astype(np.uint8)
    meant = magnitudes(np.abs(flat), quantiser)
    order = context.padded(np.arange(levels.size).reshape(levels.shape))
    context.tell_constants(np.abs(predicted_away(levels[0, 0])))
    parts = []
    for step in context.steps():
        chosen = rng.random(step.places.size) < share
        places = step.places[chosen]
        signed = left.reshape(-1)[order[places]] * np.where(flat[places] < 0, -1, 1)
        true = np.where(flat[places] == 0, np.abs(signed), signed)
        parts.append((context.features(step)[chosen], true, np.abs(flat[places]), quantiser[places]))
        context.tell(step, meant[step.places])
    features, true, coded, of = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Taken(features.astype(np.int16), true, coded, of)


def collect(folder: Path, model: FidelityModel, *, every: bool, steps: int) -> Taken:
    """Coefficients of all scenes under `steps` random quantisation steps each."""
    rng = np.random.default_rng(SEED)
    parts = []
    for name, bands in training_scenes(folder, rng, every=every):
        count = steps if bands[0].size > 20_000 else max(1, steps // 2)
        for turn in range(count):
            decibel = 0.1 * 2.0 ** rng.uniform(2 if " " in name else 1, 7.4)
            turned = [np.ascontiguousarray(band.T if turn % 2 else band) for band in bands]
            parts += taken(turned, decibel, model, rng, alone=bool(turn % 3 == 2))
    columns = zip(*((part.features, part.sizes, part.levels, part.second) for part in parts), strict=True)
    return Taken(*(np.concatenate(column) for column in columns))


def fitted(data: Taken, network: Network, *, steps: int) -> FidelityModel:
    """The network trained on, and tables of what came up under its integer twin."""
    features = torch.from_numpy(data.features)
    columns = torch.from_numpy(np.minimum(data.levels, DIRECT))
    second = torch.from_numpy(data.second.astype(np.int64))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, steps)
    generator = torch.Generator().manual_seed(SEED)
    for step in range(steps):
        chosen = torch.randint(len(columns), (8192,), generator=generator)
        cost = network.bits(features[chosen].float(), columns[chosen], second[chosen]).mean()
        optimiser.zero_grad()
        cost.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"  step {step}: {float(cost.detach()):.4f} bits a coefficient", flush=True)
    weights = tuple(layer.weight.detach().double().numpy().T for layer in network.layers)
    biases = tuple(layer.bias.detach().double().numpy() for layer in network.layers)
    integers = IntegerNetwork.quantised(weights, biases, tables=TABLES)
    return with_tables(data, network, integers)


def first_model(network: Network) -> FidelityModel:
    """A coder to begin with: one flat curve for all coefficients, which rounds plainly."""
    none = np.zeros(0, np.int64)
    nothing = Taken(np.zeros((0, FEATURES), np.int16), none.astype(np.float32), none, none.astype(np.uint8))
    sizes = (FEATURES, *HIDDEN, 1)
    weights = tuple(np.zeros(pair) for pair in pairwise(sizes))
    biases = (*(np.zeros(size) for size in HIDDEN), np.array([TABLES / 2.0]))
    return with_tables(nothing, network, IntegerNetwork.quantised(weights, biases, tables=TABLES))


def with_tables(data: Taken, network: Network, integers: IntegerNetwork) -> FidelityModel:
    """Tables, offsets and errors of each number: what came up, and where that was little, what the curve says."""
    pieces = np.array_split(np.arange(len(data.levels)), len(data.levels) // 200_000 + 1)
    numbers = np.concatenate([integers(data.features[piece].astype(np.int32)) for piece in pieces])
    numbers += data.second * np.uint16(TABLES)
    tokens = to_tokens(data.levels.astype(np.uint32))[0]
    counts = np.zeros((2 * TABLES, TOKENS))
    np.add.at(counts, (numbers, tokens), 1)
    with torch.no_grad():
        curve = torch.softmax(network.logits, dim=2).double().numpy().reshape(2 * TABLES, -1)
    # What lies above DIRECT in the curve is shared out among the larger tokens, halving from each to the next.
    larger = 0.7 ** np.arange(TOKENS - DIRECT)
    whole = np.concatenate([curve[:, :DIRECT], curve[:, DIRECT:] * larger / larger.sum()], axis=1)
    tables = tables_from(counts + PRIOR * whole)
    column = np.minimum(data.levels, DIRECT)
    away = data.sizes - magnitudes(data.levels, data.second)
    total, seen = _by_table(numbers, column, away)
    offsets = (total + 50 * _by_level(data.second, column, away)) / (seen + 50)
    offsets[:, 0] = 0
    left = (away - offsets[numbers, column]) ** 2
    squares, _ = _by_table(numbers, column, left)
    errors = (squares + 20 * _by_level(data.second, column, left)) / (seen + 20)
    return FidelityModel(integers, tables, offsets.astype(np.float32), errors.astype(np.float32))


def _by_table(
    numbers: NDArray[np.uint16], column: NDArray[np.int64], values: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums and counts of values by table and level."""
    total, seen = (np.zeros((2 * TABLES, DIRECT + 1)) for _ in range(2))
    np.add.at(total, (numbers, column), values)
    np.add.at(seen, (numbers, column), 1)
    return total, seen


def _by_level(second: NDArray[np.uint8], column: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Means of values by quantiser and level, for each table (table, level)."""
    place = second.astype(np.int64) * (DIRECT + 1) + column
    count = np.bincount(place, minlength=2 * (DIRECT + 1))
    means = np.bincount(place, values, 2 * (DIRECT + 1)) / np.maximum(count, 1)
    return np.repeat(means.reshape(2, -1), TABLES, axis=0)


def score(folder: Path, model: FidelityModel) -> list[list[object]]:
    """Bits per pixel and PSNR30 of held-out bands, one at a time, through bytes and back."""
    rows: list[list[object]] = []
    for name, found in scenes(folder).items():
        if not name.startswith(HELD_OUT) or found[0].size < 40_000:
            continue
        for polarisation, band in zip(("VV", "VH"), windowed(found), strict=True):
            for decibel in (1.7, 3.2, 5.5, 8.5, 12.0):
                coder = FidelityCoder(decibel, model)
                valid = np.ones((1, *band.shape), bool)
                payload = coder.encode(band[None], valid)
                decoded = coder.decode(payload, valid)[0]
                error = float(np.sqrt(np.mean((decoded - band) ** 2)))
                rate = 8 * len(payload) / band.size
                rows.append([f"{name}_{polarisation}", decibel, round(rate, 4), round(20 * np.log10(30 / error), 3)])
    return rows


def main() -> None:
    """Fit, write, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--all", action="store_true", help="also fit to the scenes that are otherwise held out")
    parser.add_argument("--steps", type=int, default=2500, help="of the optimiser, each of three times")
    parser.add_argument("--rates", type=int, default=5, help="quantisation steps that each scene is coded with")
    parser.add_argument("--record", type=Path, default=None)
    options = parser.parse_args()
    started = time.perf_counter()
    torch.manual_seed(SEED)
    network = Network()
    model = first_model(network)
    for turn in range(3):
        data = collect(options.root, model, every=options.all, steps=options.rates)
        print(f"turn {turn}: {len(data.levels):,} coefficients, {time.perf_counter() - started:.0f} s", flush=True)
        model = fitted(data, network, steps=options.steps if turn < 2 else options.steps // 2)
        write_model(options.out, model)
    rows = score(options.root, model)
    for row in rows:
        print(*row)
    if options.record is not None:
        record = make_record(
            "fidelity-coder",
            "public-bands",
            config={"held out": [] if options.all else list(HELD_OUT), "tables": TABLES, "hidden": list(HIDDEN)},
            scores={"columns": ["band", "step", "bits per pixel", "PSNR30"], "rows": rows},
            seconds=time.perf_counter() - started,
            data=hash_paths(sorted((options.root / "train").glob("*.npy")), root=options.root),
        )
        write_record(options.record, record)


if __name__ == "__main__":
    main()
