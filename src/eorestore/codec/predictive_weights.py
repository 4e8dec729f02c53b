"""The shipped constants of the predictive coder: networks and tables as whole numbers in one file; knows no picture."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from eorestore.codec.coder import TOKENS
from eorestore.codec.interlacing import AROUND, PASSES, offsets
from eorestore.codec.pixel_predictor import Cell
from eorestore.codec.plane_walk import CLASSES, Cells
from eorestore.codec.residuals import FIRST, SYMBOLS, TABLES, reach_of
from eorestore.codec.tables import Tables

FILE = Path(__file__).parents[1] / "weights" / "codec" / "predictive.safetensors"
NUMBER = 1
SETS = 8
HIDDEN = (24, 16)
OUTPUTS = 3


@dataclass(frozen=True)
class Constants:
    """Cells of the walk, tables of the residuals, and the stamp that a file names them by."""

    cells: Cells
    tables: Tables
    stamp: bytes


@lru_cache(maxsize=1)
def constants(path: Path = FILE) -> Constants:
    """Those of the shipped file."""
    content = path.read_bytes()
    stored = safetensors.numpy.load(content)
    stamp = bytes([NUMBER]) + hashlib.sha256(content).digest()[:7]
    return Constants(_cells(stored["weights"], stored["biases"]), _tables(stored["counts"]), stamp)


def cell_keys() -> list[tuple[int, int, bool]]:
    """Every (pass, class of level, whether a band before helps), in the order of the file."""
    classes = sorted(set(CLASSES.values()))
    return [(number, kind, helped) for number in range(len(PASSES)) for kind in classes for helped in (False, True)]


def deviations_of(key: tuple[int, int, bool]) -> int:
    """How many deviations a cell sees."""
    return len(offsets(key[0])) - 1 + len(AROUND) * key[2]


def layers_of(key: tuple[int, int, bool]) -> list[tuple[int, int]]:
    """(outputs, inputs) of each layer of a cell's network: its inputs are deviations, the nearest, and two spreads."""
    sizes = [deviations_of(key) + 3, *HIDDEN, OUTPUTS]
    return [(after, before) for before, after in pairwise(sizes)]


def pack_constants(cells: Mapping[tuple[int, int, bool], Cell], tables: Tables) -> dict[str, NDArray[np.integer]]:
    """The arrays of the file. The numbers of `cells` and the counts must fit their types."""
    weights, biases = [], []
    for key in cell_keys():
        cell = cells[key]
        weights += [cell.guesses.ravel(), *(layer.ravel() for layer in cell.weights)]
        biases += list(cell.biases)
    counts = np.concatenate([row[: symbols_of(table)] for table, row in enumerate(tables.counts)])
    return {
        "weights": np.concatenate(weights).astype(np.int16),
        "biases": np.concatenate(biases).astype(np.int32),
        "counts": counts.astype(np.uint16),
    }


def _cells(weights: NDArray[np.int16], biases: NDArray[np.int32]) -> Cells:
    numbers, summands = _Blob(weights), _Blob(biases)
    cells = {}
    for key in cell_keys():
        sizes = layers_of(key)
        guesses = numbers.take(SETS, deviations_of(key))
        cells[key] = Cell(
            guesses, tuple(numbers.take(*size) for size in sizes), tuple(summands.take(size[0]) for size in sizes)
        )
    return cells


class _Blob:
    """Arrays cut from one long one, in order, as float64."""

    def __init__(self, flat: NDArray[np.integer]) -> None:
        self._flat, self._start = flat.astype(np.float64), 0

    def take(self, *shape: int) -> NDArray[np.float64]:
        self._start += math.prod(shape)
        return self._flat[self._start - math.prod(shape) : self._start].reshape(shape)


def symbols_of(table: int) -> int:
    """How many symbols a table has: the first ones of the alphabet."""
    return TOKENS if table == TABLES else FIRST + 2 * reach_of(table)


def _tables(flat: NDArray[np.uint16]) -> Tables:
    counts = np.zeros((TABLES + 1, SYMBOLS), np.uint32)
    start = 0
    for table, row in enumerate(counts):
        size = symbols_of(table)
        row[:size] = flat[start : start + size]
        start += size
    return Tables(counts)
