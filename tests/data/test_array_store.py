"""Arrays in one file: found again, mapped, safe against an interrupted writer."""

import numpy as np
import pytest

from eorestore.data.array_store import INDEX, VALUES, ArrayStore
from eorestore.errors import DataError


def filled(folder, *, dtype="float32"):
    store = ArrayStore(folder, dtype=dtype)
    store.add("a", np.arange(6.0).reshape(2, 3))
    store.add("b", np.arange(5.0))
    return store


def test_arrays_are_found_again_by_another_reader(tmp_path):
    filled(tmp_path)
    store = ArrayStore(tmp_path, dtype="float32")
    assert len(store) == 2
    assert "a" in store
    assert np.array_equal(store.get("a"), np.arange(6.0).reshape(2, 3))
    assert np.array_equal(store.get("b"), np.arange(5.0))


def test_values_are_mapped_and_not_read(tmp_path):
    values = filled(tmp_path).get("a")
    assert isinstance(values.base, np.memmap) or isinstance(values, np.memmap)
    assert not values.flags.writeable


def test_half_precision_is_kept_as_such(tmp_path):
    assert filled(tmp_path, dtype="float16").get("b").dtype == np.float16


def test_what_an_interrupted_writer_left_is_written_over(tmp_path):
    filled(tmp_path)
    with (tmp_path / VALUES).open("ab") as file:
        file.write(b"half an array")
    with (tmp_path / INDEX).open("a") as file:
        file.write('{"key": "c", "sta')
    store = ArrayStore(tmp_path, dtype="float32")
    assert "c" not in store
    store.add("c", np.full(4, 7.0))
    again = ArrayStore(tmp_path, dtype="float32")
    assert np.array_equal(again.get("c"), np.full(4, 7.0))
    assert np.array_equal(again.get("b"), np.arange(5.0))


@pytest.mark.parametrize("spoil", ["values", "index", "dtype"])
def test_a_spoiled_folder_is_refused(tmp_path, spoil):
    filled(tmp_path)
    if spoil == "values":
        (tmp_path / VALUES).write_bytes(b"1234")
    if spoil == "index":
        (tmp_path / INDEX).write_text("no json\n")
    with pytest.raises(DataError, match=str(tmp_path)):
        ArrayStore(tmp_path, dtype="float16" if spoil == "dtype" else "float32")


def test_a_key_is_written_once_and_must_be_known(tmp_path):
    store = filled(tmp_path)
    with pytest.raises(DataError, match="already"):
        store.add("a", np.zeros(1))
    with pytest.raises(DataError, match="holds no z"):
        store.get("z")
