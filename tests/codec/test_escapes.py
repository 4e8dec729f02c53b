"""Values outside the window: listed where clipping would cost much, and put back."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.codec.escapes import clip_to_windows, pack_escapes, put_back
from eorestore.errors import CodecError

WINDOWS = (-30.0, -38.0)


def scene():
    generator = np.random.default_rng(1)
    decibel = generator.normal(-12, 4, (2, 60, 70))
    outside = generator.random(decibel.shape) < 0.02
    decibel[outside] = generator.choice([-55.0, -41.0, 14.0, 33.0], int(outside.sum()))
    return decibel, np.ones(decibel.shape, bool)


@pytest.mark.parametrize("step", [0.1, 1.0, 4.0])
def test_errors_outside_stay_near_the_step(step):
    decibel, valid = scene()
    content = pack_escapes(decibel, valid, WINDOWS, step=step)
    back = clip_to_windows(decibel, WINDOWS)
    put_back(content, back, WINDOWS)
    assert np.abs(back - decibel).max() <= 2 * step
    listed = np.abs(decibel - clip_to_windows(decibel, WINDOWS)) > 2 * step
    assert np.abs(back - decibel)[listed].max() <= step / 8 + 0.005


def test_nothing_outside_costs_nothing():
    decibel, valid = np.full((2, 8, 8), -12.0), np.ones((2, 8, 8), bool)
    assert pack_escapes(decibel, valid, WINDOWS, step=1.0) == b""


def test_gaps_are_no_escapes():
    decibel, _ = scene()
    assert pack_escapes(decibel, np.zeros(decibel.shape, bool), WINDOWS, step=0.1) == b""


def test_a_list_costs_less_than_two_bytes_a_value():
    decibel, valid = scene()
    count = (np.abs(decibel - clip_to_windows(decibel, WINDOWS)) > 2).sum()
    assert len(pack_escapes(decibel, valid, WINDOWS, step=1.0)) < 2 * count


def test_damaged_lists_are_errors():
    decibel, valid = scene()
    content = pack_escapes(decibel, valid, WINDOWS, step=1.0)
    with pytest.raises(CodecError):
        put_back(content[:-1], decibel.copy(), WINDOWS)
    with pytest.raises(CodecError, match=r"outside the tile|is possible"):
        put_back(content, decibel[:1, :10, :10].copy(), WINDOWS)
