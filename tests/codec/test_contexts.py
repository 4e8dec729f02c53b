from __future__ import annotations

import numpy as np
import pytest

from eorestore.codec.block_transform import BlockGrid
from eorestore.codec.contexts import FEATURES, LARGEST_FEATURE, BandContext, IntegerNetwork, Logarithms
from eorestore.codec.fidelity_model import read_model
from eorestore.errors import CodecError


def network(seed: int, *, tables: int = 40) -> IntegerNetwork:
    draw = np.random.default_rng(seed)
    sizes = ((FEATURES, 12), (12, 8), (8, 1))
    weights = tuple(draw.normal(size=size) * 0.3 for size in sizes)
    biases = (draw.normal(size=12), draw.normal(size=8), np.array([tables / 2.0]))
    return IntegerNetwork.quantised(weights, biases, tables=tables)


def levels_of(grid: BlockGrid, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.where(grid.present, draw.integers(0, 6, grid.shape), 0).astype(np.int64)


def features_of(grid: BlockGrid, levels: np.ndarray, before: BandContext | None = None) -> list[np.ndarray]:
    context = BandContext(grid, step_index=120, before=before)
    flat = context.padded(levels)
    context.tell_constants(levels[0, 0])
    found = []
    for step in context.steps():
        found.append(context.features(step))
        context.tell(step, flat[step.places])
    return found


def test_steps_visit_every_coefficient_but_the_constants_once() -> None:
    grid = BlockGrid.over(70, 97)
    context = BandContext(grid, step_index=120)
    places = np.concatenate([step.places for step in context.steps()])
    wanted = context.padded(np.where(grid.present, 1, 0))
    wanted[context.padded(np.where(np.add.outer(*map(np.arange, grid.shape[:2])) == 0, 1, 0)[:, :, None, None])] = 1
    assert places.size == np.unique(places).size == int(grid.present.sum()) - grid.shape[2] * grid.shape[3]
    assert wanted[places].all()


def test_a_context_does_not_depend_on_what_is_coded_later() -> None:
    grid = BlockGrid.over(70, 97)
    levels = levels_of(grid, 0)
    plain = features_of(grid, levels)
    steps = BandContext(grid, step_index=120).steps()
    for at in (3, 40, 90):
        changed = BandContext(grid, step_index=120)
        flat = changed.padded(levels)
        later = np.concatenate([step.places for step in steps[at:]])
        flat[later] = 99
        again = features_of(grid, changed.unpadded(flat))
        assert all(np.array_equal(*pair) for pair in zip(plain[: at + 1], again[: at + 1], strict=True))
        assert not all(np.array_equal(*pair) for pair in zip(plain, again, strict=True))


def test_the_second_band_sees_the_first() -> None:
    grid = BlockGrid.over(64, 64)
    first = BandContext(grid, step_index=120)
    flat = first.padded(levels_of(grid, 1))
    first.tell_constants(levels_of(grid, 1)[0, 0])
    for step in first.steps():
        first.tell(step, flat[step.places])
    alone = features_of(grid, levels_of(grid, 2))
    knowing = features_of(grid, levels_of(grid, 2), first)
    assert all((a[:, :23] == b[:, :23]).all() and not a[:, 23:].any() for a, b in zip(alone, knowing, strict=True))
    assert all(b[:, 23:].any() for b in knowing)


def test_the_integer_network_is_its_float_twin_up_to_rounding() -> None:
    draw = np.random.default_rng(3)
    sizes = ((FEATURES, 12), (12, 8), (8, 1))
    weights = tuple(draw.normal(size=size) * 0.3 for size in sizes)
    biases = (draw.normal(size=12), draw.normal(size=8), np.array([20.0]))
    integers = IntegerNetwork.quantised(weights, biases, tables=40)
    features = draw.integers(0, 128, (5000, FEATURES)).astype(np.int32)
    values = features / 32
    for matrix, bias in zip(weights[:-1], biases[:-1], strict=True):
        values = np.maximum(values @ matrix + bias, 0)
    wanted = np.clip(np.floor(values @ weights[-1] + biases[-1] + 0.5)[:, 0], 0, 39)
    found = integers(features)
    assert np.abs(found - wanted).max() <= 1
    assert (found == wanted).mean() > 0.97


def test_the_network_gives_the_same_tables_row_by_row_and_in_any_order() -> None:
    net = network(5)
    features = np.random.default_rng(6).integers(0, 224, (3000, FEATURES)).astype(np.int32)
    whole = net(features)
    order = np.random.default_rng(7).permutation(3000)
    assert np.array_equal(net(features[order]), whole[order])
    assert np.array_equal(np.concatenate([net(features[row : row + 1]) for row in range(200)]), whole[:200])


def test_no_feature_is_larger_than_the_network_counts_on() -> None:
    grid = BlockGrid.over(70, 97)
    levels = np.where(grid.present, 10**6, 0).astype(np.int64)
    first = BandContext(grid, step_index=255)
    flat = first.padded(levels)
    first.tell_constants(levels[0, 0])
    for step in first.steps():
        first.tell(step, flat[step.places])
    largest = max(np.abs(rows).max() for before in (None, first) for rows in features_of(grid, levels, before))
    assert LARGEST_FEATURE / 2 < largest <= LARGEST_FEATURE


def in_whole_numbers(net: IntegerNetwork, features: np.ndarray) -> list[int]:
    """The network in Python's integers, which nothing rounds."""
    values, unit = features.astype(object), 5  # a feature is in 1/32
    for matrix, bias in zip(net.weights[:-1], net.biases[:-1], strict=True):
        sums = values.dot(matrix.astype(object)) + bias.astype(object)
        values = np.vectorize(lambda value, shift=6 + unit: min(max(value >> shift, 0), 1 << 24), otypes=[object])(sums)
        unit = 8
    last = (values.dot(net.weights[-1].astype(object)) + net.biases[-1].astype(object))[:, 0]
    return [min(max((value + (1 << 13 + unit)) >> (14 + unit), 0), net.tables - 1) for value in last.tolist()]


@pytest.mark.parametrize("largest", [64, 300, LARGEST_FEATURE])
def test_the_shipped_network_does_what_whole_numbers_do(largest: int) -> None:
    shipped = read_model().network
    features = np.random.default_rng(largest).integers(0, largest + 1, (400, FEATURES)).astype(np.int32)
    assert shipped(features).tolist() == in_whole_numbers(shipped, features)


def test_a_network_whose_sums_could_be_rounded_is_refused() -> None:
    net = network(5)
    large = np.full_like(net.weights[1], 1 << 27)
    with pytest.raises(CodecError, match="layer 1 of the context network has sums beyond 2"):
        IntegerNetwork((net.weights[0], large, net.weights[2]), net.biases, net.tables)
    with pytest.raises(CodecError, match="layer 0 of the context network"):
        IntegerNetwork(net.weights, (net.biases[0] - (1 << 53), *net.biases[1:]), net.tables)


def test_no_logarithm_depends_on_how_a_machine_rounds() -> None:
    for count, unit in ((256, 16), (64 * 255 + 1, 16)):
        exact = unit * np.log2(1 + np.arange(count, dtype=np.longdouble))
        away = np.abs(exact - np.floor(exact) - 0.5)
        assert away.min() > 1e-6
    low = 64 * np.exp(-8 * np.arange(64, dtype=np.longdouble) / 64)
    assert np.abs(low - np.floor(low) - 0.5).min() > 1e-6
    made = Logarithms.made()
    assert made.magnitude[0] == 0
    assert made.magnitude[255] == 128
    assert np.searchsorted(made.mean, 1, side="right") == 16


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (33, 65)])
def test_small_and_odd_grids_have_contexts(shape: tuple[int, int]) -> None:
    grid = BlockGrid.over(*shape)
    rows = features_of(grid, levels_of(grid, 8))
    assert sum(len(row) for row in rows) == int(grid.present.sum()) - grid.shape[2] * grid.shape[3]
