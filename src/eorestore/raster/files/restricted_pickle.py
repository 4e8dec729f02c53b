"""Object arrays of numpy without running code: an unpickler that rebuilds plain values and arrays, nothing else."""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError

# What a damaged or hostile stream makes the unpickler raise, besides its own error.
_BROKEN = (
    pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    RecursionError, TypeError, ValueError,
)  # fmt: skip


def read_objects(file: BinaryIO, *, name: str) -> NDArray[Any]:
    """The content of an .npy stream that holds Python objects: dict, tuple, list, str, int, float, bytes and arrays.

    name: of the file, for messages. Raises DataError where the stream is damaged or names anything else; it has run
    nothing then.
    """
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        _, _, dtype = read_header(file)
        if not dtype.hasobject:
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
        loaded = _plain(_PlainUnpickler(file).load())
    except _Foreign as error:
        raise DataError(
            f"{name} holds {error}, which is not read since it could run code",
            fix="store plain arrays: numpy.savez(file, temperature=array)",
        ) from None
    except _BROKEN as error:
        raise DataError(f"{name} cannot be read: {type(error).__name__}", fix="fetch the file again") from None
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{name} holds a {type(loaded).__name__} where an array was said", fix="fetch the file again")
    return loaded


class _Foreign(pickle.UnpicklingError):
    """A stream asks for a class or a function that is not allowed."""


class _Kind:
    """Stands for numpy.dtype: numpy's own takes flags from a stream that could pass bytes off as objects."""

    def __init__(self, kind: str) -> None:
        if not isinstance(kind, str) or kind[:1] not in "?biufcOSU":
            raise _Foreign(f"a dtype {kind!r}"[:60])
        self.holds_objects, self.dtype = kind[0] == "O", np.dtype(kind)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if not self.holds_objects:
            self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<" if state[1] == "<" else "=")

    def values(self, data: bytes, shape: Any, order: str) -> NDArray[Any]:  # noqa: ANN401 - checked by numpy
        """An array of numbers or text from its bytes."""
        if self.holds_objects:
            raise _Foreign("bytes called objects")
        values: NDArray[Any] = np.ndarray(shape, self.dtype, bytes(data), order="F" if order == "F" else "C").copy()
        return values


class _Array:
    """Stands for an array until its state is known."""

    def __init__(self) -> None:
        self.content: NDArray[Any] | None = None
        self.objects: list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        if not isinstance(kind, _Kind):
            raise _Foreign("an array without a dtype")
        order = "F" if is_fortran else "C"
        if not kind.holds_objects:
            self.content = kind.values(data, shape, order)
            return
        self.objects = list(data)
        self.content = np.arange(len(self.objects)).reshape(shape, order="F" if is_fortran else "C")

    def array(self) -> NDArray[Any]:
        """The array, with plain values where it holds objects."""
        if self.content is None:
            raise _Foreign("an array without content")
        if not self.objects:
            return self.content
        values = np.empty(self.content.shape, object)
        for place, number in np.ndenumerate(self.content):
            values[place] = _plain(self.objects[number])
        return values


class _PlainUnpickler(pickle.Unpickler):
    """Knows six names, each bound to a fresh function of ours; nothing of numpy is called with what a stream says."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - see pickle
        place = module.replace("numpy._core.", "numpy.core.")
        if (place, name) == ("numpy", "ndarray"):
            return None  # named as an argument of _reconstruct, never called
        if (place, name) == ("numpy", "dtype"):
            return lambda kind, *_: _Kind(kind)
        if (place, name) == ("numpy.core.multiarray", "_reconstruct"):
            return lambda *_: _Array()
        if (place, name) == ("numpy.core.multiarray", "scalar"):
            return lambda kind, data: _kind(kind).values(data, (), "C")[()]
        if (place, name) == ("numpy.core.numeric", "_frombuffer"):
            return lambda data, kind, shape, order: _kind(kind).values(data, shape, order)
        if (place, name) == ("_codecs", "encode"):
            return lambda text, _: text.encode("latin1")
        raise _Foreign(f"{module}.{name}")


def _kind(value: Any) -> _Kind:  # noqa: ANN401 - whatever the stream gives
    if not isinstance(value, _Kind):
        raise _Foreign("an array without a dtype")
    return value


def _plain(value: Any) -> Any:  # noqa: ANN401 - plain values of any shape
    """The value with arrays in place of what stood for them."""
    if isinstance(value, _Array):
        return value.array()
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    if value is None or isinstance(value, str | bytes | bool | int | float | complex | np.ndarray | np.generic):
        return value
    raise _Foreign(f"a {type(value).__name__}")
