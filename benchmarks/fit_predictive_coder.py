"""Fits the predictive coder's constants on public SAR bands; writes src/eorestore/weights/codec.

For each pass, level and number of bands: sets of weights by alternation (each plane takes the set that fits it best,
each set is fitted to its planes), then a network that shifts the guess and says spread and skew, by the likelihood of
the coder's own family of distributions. Then the tables: the family's probabilities, updated by how often each symbol
came up. Held-out scenes are only scored. About ten minutes on one core.

    OMP_NUM_THREADS=1 python benchmarks/fit_predictive_coder.py --root DATA/sar
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from sar_training_planes import held_out, scenes, training_planes
from torch import Tensor, nn

from eorestore.codec.coder import TOKENS
from eorestore.codec.interlacing import AROUND, LEVELS, PASSES, finer_level, level_of, offsets
from eorestore.codec.pixel_predictor import (
    FINE,
    HIDDEN_LIMIT,
    NETWORK,
    UNIT,
    WEIGHT,
    Cell,
    Surroundings,
    context,
    surroundings,
)
from eorestore.codec.plane_walk import CLASSES
from eorestore.codec.predictive import encode_plane
from eorestore.codec.predictive_weights import (
    FILE,
    HIDDEN,
    OUTPUTS,
    SETS,
    Constants,
    cell_keys,
    pack_constants,
    symbols_of,
)
from eorestore.codec.residuals import SYMBOLS, TABLES, family
from eorestore.codec.tables import Tables, tables_from
from eorestore.experiments.record import hash_paths, make_record, write_record

Key = tuple[int, int, bool]
SEED = 20261122
ROUNDS = 8
# Pixels of a pass taken of one plane, by class of level, and optimiser steps.
MOST = {0: 12_000, 1: 6_000, 2: 6_000}
STEPS = {0: 1500, 1: 900, 2: 600}
BATCH = 4096
# How many pixels the formula counts for when its tables are updated by what came up.
PRIOR = 200.0
DECIBEL_STEPS = (0.01, 1.0)


@dataclass
class Tally:
    """Takes the place of an Encoder: counts symbols by table, and bits."""

    tables: Tables
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros((TABLES + 1, SYMBOLS)))
    bits: float = 0.0

    def add(self, symbols: NDArray[np.int32], indices: NDArray[np.uint16]) -> None:
        """Count."""
        np.add.at(self.counts, (indices, symbols), 1)
        self.bits += self.tables.cost(symbols, indices)

    def add_bits(self, values: NDArray[np.uint32], bits: int | NDArray[np.uint8]) -> None:
        """Count."""
        self.bits += float(np.broadcast_to(bits, values.shape).sum())


class Network(nn.Module):
    """The predictor's network in floating point; outputs shift, log2 scale and log2 skew."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        sizes = [inputs, *HIDDEN, OUTPUTS]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        with torch.no_grad():
            self.layers[-1].weight.mul_(0.3)
            self.layers[-1].bias.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        """(pixel, input) in parts of UNIT to (pixel, output)."""
        values = inputs / UNIT
        for layer in self.layers[:-1]:
            values = layer(values).clamp(0, HIDDEN_LIMIT / UNIT)
        return self.layers[-1](values)


def main() -> None:
    """Fit, write and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--record", type=Path, default=Path("results/predictive-coder.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    planes = list(training_planes(options.root, rng))
    cells = {}
    for key, examples in examples_by_cell(planes, rng).items():
        cells[key] = fit_cell(examples, steps=STEPS[key[1]])
        print(key, sum(len(away) for _, away in examples), round(time.perf_counter() - started), "s", flush=True)
    plain = Constants(cells, tables_of(np.zeros((TABLES + 1, SYMBOLS))), b"")
    tally = Tally(plain.tables)
    for bands in planes:
        tally_planes(bands, plain, tally, adaptive=False)
    fitted = Constants(cells, tables_of(tally.counts), b"")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(pack_constants(cells, fitted.tables), options.out)
    rows = [row for name, bands in scenes(options.root).items() if held_out(name) for row in score(name, bands, fitted)]
    record = make_record(
        "predictive-coder",
        "public-sar",
        config={"seed": SEED, "steps": STEPS, "prior": PRIOR, "sets": SETS, "hidden": HIDDEN, "planes": len(planes)},
        scores={"columns": ["held-out scene", "step in dB", "bands", "bits per pixel"], "rows": rows},
        seconds=time.perf_counter() - started,
        data=hash_paths([options.root / "train", options.root / "train_8bit"], root=options.root),
    )
    write_record(options.record, record)
    for row in rows:
        print(*row)


def examples_by_cell(
    planes: list[list[NDArray[np.int32]]], rng: np.random.Generator
) -> dict[Key, list[tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """By cell, for each plane: (deviations (neighbour, pixel), the pixel from its nearest (pixel,))."""
    found = defaultdict(list)
    for bands in planes:
        pairs = [(plane, None) for plane in bands] + [(after, first) for first, after in pairwise(bands)]
        for plane, before in pairs:
            for key, seen, away in passes_of(plane, before):
                kept = rng.permutation(away.size)[: MOST[key[1]]]
                found[key].append((seen.deviations[:, kept].astype(np.float32), away[kept].astype(np.float32)))
    return {key: found[key] for key in cell_keys()}


def passes_of(plane: NDArray[np.int32], before: NDArray[np.int32] | None):  # noqa: ANN201 - a generator of triples
    """(cell, what is known, the pixel from its nearest) of every pass of a plane whose pixels are all known."""
    for stride in LEVELS:
        truth = level_of(plane, stride)
        level = finer_level(level_of(plane, 2 * stride).inside, truth.inside.shape)
        beside = None if before is None else level_of(before, stride)
        for number in range(len(PASSES)):
            inner = level.positions(number)
            if inner.size:
                other = None if beside is None else (beside.padded.ravel()[inner], beside.around(inner, AROUND))
                seen = surroundings(level.around(inner, offsets(number)), other)
                values = truth.padded.ravel()[inner]
                yield (number, CLASSES[stride], before is not None), seen, values - seen.nearest
                level.padded.ravel()[inner] = values
                level.extend()


def fit_cell(examples: list[tuple[NDArray[np.float32], NDArray[np.float32]]], *, steps: int) -> Cell:
    """Sets of weights and network of one cell."""
    guesses = fit_guesses(examples)
    inputs, targets, halves = [], [], []
    for deviations, away in examples:
        errors = [np.abs(away - weights @ deviations / WEIGHT).sum() for weights in guesses]
        seen = Surroundings(np.zeros(away.size), deviations.astype(np.float64))
        found = context(seen, guesses[int(np.argmin(errors))])
        inputs.append(found.inputs.T.astype(np.float32))
        targets.append(((away * FINE - found.guess) / found.distance).astype(np.float32))
        halves.append((FINE / 2 / found.distance).astype(np.float32))
    network = train(*(torch.from_numpy(np.concatenate(part)) for part in (inputs, targets, halves)), steps=steps)
    weights = [layer.weight.detach().double().numpy() * NETWORK for layer in network.layers]
    biases = [layer.bias.detach().double().numpy() * NETWORK * UNIT for layer in network.layers]
    biases[-1] = biases[-1] + NETWORK / 2  # outputs are floored
    limit = np.iinfo(np.int16).max
    return Cell(
        guesses, tuple(np.clip(np.round(layer), -limit, limit) for layer in weights), tuple(map(np.round, biases))
    )


def fit_guesses(examples: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> NDArray[np.float64]:
    """SETS sets of weights over WEIGHT (set, neighbour) that code the planes in the fewest bits, one set a plane."""
    chosen = [(d.astype(np.float64), a.astype(np.float64)) for d, a in examples if a.size > len(d)]
    size = np.array([away.size for _, away in chosen])
    scale = np.array([max(away.var(), 0.05) for _, away in chosen])
    squares = np.stack([d @ d.T for d, _ in chosen]) / scale[:, None, None]
    products = np.stack([d @ away for d, away in chosen]) / scale[:, None]
    energy = np.array([away @ away for _, away in chosen]) / scale

    def solved(members: NDArray[np.bool_], weight: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
        total = (squares[members] * weight[members, None, None]).sum(axis=0)
        damping = ridge * np.trace(total) / len(total) * np.eye(len(total))
        return np.linalg.solve(total + damping, (products[members] * weight[members, None]).sum(axis=0))

    def left(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        square = np.einsum("sk,ikl,sl->is", weights, squares, weights)
        return np.maximum((energy[:, None] - 2 * products @ weights.T + square) / size[:, None], 1e-6)

    one = np.ones(size.size)
    own = np.stack([solved(np.arange(size.size) == plane, one, 0.01) for plane in range(size.size)])
    sets = own[[int(size.argmax())]]
    while len(sets) < SETS:
        lost = size * (np.log2(left(sets)).min(axis=1) - np.log2(np.diagonal(left(own))))
        sets = np.concatenate([sets, own[[int(lost.argmax())]]])
    for _ in range(ROUNDS):
        remaining = left(sets)
        best = (size[:, None] * np.log2(remaining)).argmin(axis=1)
        for index in np.unique(best):
            sets[index] = solved(best == index, 1 / remaining[:, index], 1e-4)
    limit = np.iinfo(np.int16).max
    return np.clip(np.round(sets * WEIGHT), -limit, limit)


def train(inputs: Tensor, targets: Tensor, halves: Tensor, *, steps: int) -> Network:
    """The network that gives `targets` (pixel,), known to within `halves`, the highest likelihood."""
    network = Network(inputs.shape[1])
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(inputs), (BATCH,))
        bits = code_length(network(inputs[batch]), targets[batch], halves[batch])
        optimiser.zero_grad()
        bits.mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return network


def code_length(outputs: Tensor, targets: Tensor, halves: Tensor) -> Tensor:
    """Bits (pixel,) under the family of residuals.py; never more than 16 or so, as outliers escape."""
    mode, octave, skew = outputs.unbind(1)
    scale, skew = torch.exp2(octave.clamp(-8, 6)), skew.clamp(-3.2, 1.7)
    sharpness, shift = torch.exp2(skew), skew * np.log(2)
    above, below = ((targets + side * halves - mode) / scale + shift for side in (1, -1))
    upper, lower = (-sharpness * nn.functional.softplus(-edge) for edge in (above, below))
    inside = upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-7)))
    return -torch.logaddexp(inside, torch.tensor(-11.0)) / np.log(2)


def tables_of(counts: NDArray[np.float64]) -> Tables:
    """The family's tables, updated by `counts` (table, symbol)."""
    rows = np.zeros(counts.shape, np.uint32)
    for table, row in enumerate(rows):
        size = symbols_of(table)
        prior = 0.85 ** np.arange(TOKENS) * 0.15 if table == TABLES else family(table)[:size]
        row[:size] = tables_from((prior * PRIOR + counts[table, :size])[None]).counts[0]
    return Tables(rows)


def tally_planes(bands: list[NDArray[np.int32]], shipped: Constants, tally: Tally, *, adaptive: bool) -> int:
    """Count the symbols of bands as one tile; returns the bytes of their heads."""
    before, heads = None, 0
    for plane in bands:
        valid = np.ones(plane.shape, bool)
        head, before = encode_plane(plane, valid, before=before, encoder=tally, shipped=shipped, adaptive=adaptive)
        heads += len(head)
    return heads


def score(name: str, bands: list[NDArray[np.float64]], shipped: Constants) -> list[list[object]]:
    """Bits per pixel of each band alone and of all together, at each step."""
    rows: list[list[object]] = []
    for step in DECIBEL_STEPS:
        whole = [np.round(band / step).astype(np.int32) for band in bands]
        for label, chosen in [*((str(number), [plane]) for number, plane in enumerate(whole)), ("all", whole)]:
            tally = Tally(shipped.tables)
            heads = tally_planes(chosen, shipped, tally, adaptive=True)
            pixels = sum(plane.size for plane in chosen)
            rows.append([name, step, label, round((8 * heads + tally.bits) / pixels, 4)])
    return rows


if __name__ == "__main__":
    main()
