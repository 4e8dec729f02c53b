"""Many arrays in one file, found by a key and read through memory mapping; knows nothing of what they hold.

A folder with `values.bin`, the arrays one after another, and `index.jsonl`, a line for each. A line is written after
its array is on disk, so what an interrupted writer left behind its last line is written over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.errors import DataError, WriteError

VALUES, INDEX = "values.bin", "index.jsonl"
_ALIGNMENT = 64  # bytes: arrays begin at multiples of it


class ArrayStore:
    """Arrays of one dtype by key. `folder` need not exist before the first array is added."""

    def __init__(self, folder: Path, *, dtype: str) -> None:
        self.folder, self.dtype = folder, np.dtype(dtype)
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._mapped: NDArray[Any] | None = None
        if (folder / INDEX).is_file():
            self._read_index()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, key: str, values: NDArray[Any]) -> None:
        """Write an array behind the others, or in place of nothing: a key that is there already raises DataError.

        Raises WriteError where the disk is full.
        """
        if key in self._places:
            raise DataError(f"{self.folder} holds {key} already", fix="begin another folder")
        start = -(-self._end() // _ALIGNMENT) * _ALIGNMENT
        stored = np.ascontiguousarray(values, dtype=self.dtype)
        line = {"key": key, "start": start, "shape": list(stored.shape), "dtype": self.dtype.name}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / VALUES).touch()
            with (self.folder / VALUES).open("r+b") as file:
                file.seek(start)
                file.write(stored.tobytes())
                file.truncate()
            with (self.folder / INDEX).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise WriteError(
                f"{self.folder} cannot be written: {error.strerror or error}", fix="make room, and begin again"
            ) from error
        self._places[key] = start, stored.shape
        self._mapped = None

    def get(self, key: str) -> NDArray[Any]:
        """The array, mapped from the file: what is not looked at is not read. Raises DataError for an unknown key."""
        if key not in self._places:
            raise DataError(f"{self.folder} holds no {key}", fix="write it first")
        if self._mapped is None:
            self._mapped = np.memmap(self.folder / VALUES, dtype=np.uint8, mode="r")
        start, shape = self._places[key]
        size = int(np.prod(shape)) * self.dtype.itemsize
        values: NDArray[Any] = self._mapped[start : start + size].view(self.dtype).reshape(shape)
        return values

    def _end(self) -> int:
        return max(
            (start + int(np.prod(shape)) * self.dtype.itemsize for start, shape in self._places.values()), default=0
        )

    def _read_index(self) -> None:
        lines = (self.folder / INDEX).read_text(encoding="utf-8").splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            # what a writer was about when it was stopped
            lines.pop()
            (self.folder / INDEX).write_text("".join(lines), encoding="utf-8")
        again = f"remove {self.folder} and make it again"
        try:
            rows = [json.loads(line) for line in lines]
            self._places = {row["key"]: (row["start"], tuple(row["shape"])) for row in rows}
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{self.folder / INDEX} is no index of arrays", fix=again) from None
        dtypes = {row["dtype"] for row in rows} - {self.dtype.name}
        if dtypes:
            raise DataError(f"{self.folder} holds {', '.join(dtypes)} and not {self.dtype.name}", fix=again)
        values = self.folder / VALUES
        if not values.is_file() or values.stat().st_size < self._end():
            raise DataError(f"{values} is shorter than its index says", fix=again)
