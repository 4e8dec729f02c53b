"""What the restricted unpickler rebuilds, and everything else that it refuses unrun."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from eorestore.errors import DataError
from eorestore.raster.files.restricted_pickle import read_objects


def stream(value: object, protocol: int = 4, *, body: bytes | None = None) -> io.BytesIO:
    """An .npy stream of an object array; `body` instead of its pickle."""
    array = np.empty(1, object)
    array[0] = value
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(pickle.dumps(array, protocol=protocol) if body is None else body)
    file.seek(0)
    return file


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_values_and_arrays_come_back_as_they_were(protocol):
    value = {
        "text": "°", "whole": 3, "real": 0.5, "bytes": b"\x00\xff", "none": None, "list": [1, 2],
        "nested": {"a": (1, [np.arange(2)])},
        "array": np.arange(6, dtype=">u2").reshape(2, 3), "scalar": np.float32(1.5), "names": np.array(["ab", "c"]),
    }  # fmt: skip
    back = read_objects(stream(value, protocol), name="a.npz")[0]
    assert list(back) == list(value)
    nested = back.pop("nested")["a"]
    assert (type(nested), nested[0], nested[1][0].tolist()) == (tuple, 1, [0, 1])
    for key in back:
        np.testing.assert_array_equal(back[key], value[key])
    assert back["array"].dtype == np.dtype(">u2")


@pytest.mark.parametrize(
    "value", [OrderedDict(a=1), print, eval, np.ma.array([1]), np.datetime64("2020-01-01"), np.load, DataError],
    ids=["class", "print", "eval", "subclass", "date", "function", "error"],
)  # fmt: skip
def test_whatever_else_is_named_is_refused(value):
    with pytest.raises(DataError, match="could run code"):
        read_objects(stream(value), name="a.npz")


@pytest.mark.parametrize(
    "body",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\ngetattr\n(cbuiltins\ndict\nS'get'\ntR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"cnumpy\ndtype\n(S'V8'\ntR.",
        b"cnumpy\nndarray\n(I3\ntR.",  # it may be named, not called
        b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O'\ntRS'abcdefgh'\ntR.",
        b"c_codecs\nencode\n(I3\nI3\ntR.",
        b"cnumpy._core.multiarray\n_reconstruct\n)R(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\ntRI00\nS'abcdefgh'\ntb.",
        b"(lp0\ng0\na.",  # a list within itself
        b"\x8f.",  # a set
        b"\x80\x04",
        b"",
        b"\xff\xfe",
        b"(I1\nP5\n.",
    ],
)
def test_streams_written_by_hand_are_refused(body):
    with pytest.raises(DataError):
        read_objects(stream(None, body=body), name="a.npz")


def test_a_stream_cannot_change_the_unpickler_for_the_next():
    """BUILD sets attributes of whatever was named before; that must be of this stream alone."""
    body = b"cnumpy._core.multiarray\n_reconstruct\nN}S'__kwdefaults__'\n}s\x86b."
    with pytest.raises(DataError):
        read_objects(stream(None, body=b"\x80\x02" + body), name="a.npz")
    assert read_objects(stream({"a": np.arange(3)}), name="a.npz")[0]["a"].tolist() == [0, 1, 2]
