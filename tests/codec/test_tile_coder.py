"""The table of coders: numbers that stay, clear words for what is not there."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.codec.tile_coder import CODERS, coder_entry, coder_number, load_coder, model_stamp
from eorestore.errors import CodecError, UnknownNameError
from small_sar import ZlibCoder, sar_values

WINDOWS = (-30.0, -38.0)


def test_numbers_in_files_are_for_good():
    assert {number: entry.name for number, entry in CODERS.items()} == {
        0: "predictive", 1: "fidelity", 2: "jpeg2000", 3: "quicklook",
    }  # fmt: skip
    assert coder_number("jpeg2000") == 2


def test_unknown_numbers_and_names_are_errors():
    with pytest.raises(CodecError, match="made by coder 9; this eorestore has 0, 1, 2, 3"):
        coder_entry(9)
    with pytest.raises(UnknownNameError, match="no coder is called 'jpeg200'"):
        coder_number("jpeg200")


def test_the_predictive_coder_is_exact_and_names_its_model():
    coder = load_coder(0, step=0.0, windows=WINDOWS)
    values = np.rint(10 * sar_values((40, 50))).astype(np.int32)
    valid = np.ones(values.shape, bool)
    assert np.array_equal(coder.decode(coder.encode(values, valid), valid), values)
    assert 1 <= len(model_stamp(coder)) <= 8
    assert model_stamp(load_coder(0, step=0.0, windows=WINDOWS, stamp=model_stamp(coder))) == model_stamp(coder)


def test_a_file_of_another_model_is_refused():
    with pytest.raises(CodecError, match="the file needs predictive model ffff, this eorestore has"):
        load_coder(0, step=0.0, windows=WINDOWS, stamp=b"\xff\xff")


def test_a_coder_without_a_model_has_an_empty_stamp():
    assert model_stamp(ZlibCoder()) == b""


@pytest.mark.parametrize("number", [1, 3])
def test_the_coders_of_decibel_come_back_near_their_step(number):
    coder = load_coder(number, step=2.0, windows=WINDOWS)
    values = sar_values((64, 64))
    valid = np.ones(values.shape, bool)
    back = coder.decode(coder.encode(values, valid), valid)
    assert back.dtype == np.float32
    assert np.sqrt(np.mean((back - values) ** 2)) < 2.0
    assert 1 <= len(model_stamp(coder)) <= 8
