"""Doubled pixels: found on resampled planes and nowhere else, and always truly equal."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.codec.duplicates import copies_of, find_lattice, read_lattice
from eorestore.codec.fields import Fields
from eorestore.codec.interlacing import order_of
from eorestore.errors import CodecError


def resampled(step: float, drift: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """White noise on a finer, slightly turned grid, and where a column truly comes twice."""
    noise = np.round(np.random.default_rng(1).normal(0, 3, (160, 220)) / step).astype(np.int32)
    y, x = np.mgrid[:160, :256]
    columns = np.clip(np.floor(0.79 * x + drift * y + 1e-5 * x * y + 1.3).astype(int), 0, 219)
    return noise[y, columns], np.diff(columns, axis=1, prepend=-1) == 0


@pytest.mark.parametrize("step", [0.01, 1.0])
@pytest.mark.parametrize("vertical", [False, True])
def test_doubled_columns_and_rows_are_found(step, vertical):
    plane, doubled = resampled(step)
    if vertical:
        plane, doubled = np.ascontiguousarray(plane.T), doubled.T
    valid = np.ones(plane.shape, bool)
    lattice = find_lattice(plane, valid)
    assert lattice is not None
    assert lattice.vertical == vertical
    source = copies_of(lattice, valid)
    np.testing.assert_array_equal(plane.ravel()[source], plane.ravel())
    assert (source != np.arange(source.size)).mean() > 0.9 * doubled.mean()
    assert len(lattice.pack()) < 700


def test_sources_are_coded_before_their_copies():
    plane, _ = resampled(0.01)
    valid = np.ones(plane.shape, bool)
    source = copies_of(find_lattice(plane, valid), valid)
    order = order_of(plane.shape).ravel()
    assert (order[source] <= order).all()
    np.testing.assert_array_equal(source[source], source)


@pytest.mark.parametrize("step", [0.01, 1.0, 4.0])
def test_noise_has_no_lattice(step):
    noise = np.round(np.random.default_rng(2).normal(0, 3, (128, 128)) / step).astype(np.int32)
    assert find_lattice(noise, np.ones(noise.shape, bool)) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (64, 64)])
def test_a_constant_plane_has_no_lattice(shape):
    assert find_lattice(np.zeros(shape, np.int32), np.ones(shape, bool)) is None


def test_invalid_pixels_neither_copy_nor_are_copied():
    plane, _ = resampled(0.01)
    valid = np.random.default_rng(3).random(plane.shape) < 0.8
    source = copies_of(find_lattice(plane, valid), valid)
    copies = source != np.arange(source.size)
    assert copies.any()
    assert valid.ravel()[copies].all()
    assert valid.ravel()[source[copies]].all()


def test_a_lattice_is_read_as_it_was_written():
    plane, _ = resampled(0.01)
    lattice = find_lattice(plane, np.ones(plane.shape, bool))
    assert read_lattice(Fields(lattice.pack())) == lattice


def test_a_list_of_another_length_is_an_error():
    plane, _ = resampled(0.01)
    lattice = find_lattice(plane, np.ones(plane.shape, bool))
    with pytest.raises(CodecError):
        copies_of(lattice, np.ones((300, 300), bool))
