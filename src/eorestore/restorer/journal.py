"""Finished rows on disk before the file is whole, so that a killed run can go on; knows no model and no format."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from eorestore.errors import EorestoreError, UsageError, WriteError
from eorestore.models.model import Prepared
from eorestore.restorer.plan import Layout
from eorestore.restorer.rows import Rows
from eorestore.restorer.scene import PackedMask

if TYPE_CHECKING:
    from torch import Tensor

_STRIP = 256
_SETTINGS = "settings.json"


class Journal:
    """A folder beside the output: rows at fixed offsets, and a line for each strip once it is safely on disk.

    image.raw (row, band, x), source.raw (row, x) and, where there are maps, maps.raw (row, band, x) are written in
    place; journal.jsonl gets one line a strip after fsync, with a checksum. settings.json names the run; a folder of
    another run is refused.
    """

    def __init__(self, folder: Path, layout: Layout, *, identity: Mapping[str, Any], resume: bool) -> None:
        self.folder, self.layout = folder, layout
        self._identity = json.loads(json.dumps(identity))
        self.rows_done = 0
        try:
            if resume and (folder / _SETTINGS).is_file():
                self._check_identity()
                self.rows_done = self._verified_rows()
            else:
                self._begin()
            self._files = [(self._open(name), size) for name, size in self._row_sizes().items()]
            self._lines = (folder / "journal.jsonl").open("a")
        except OSError as error:
            if self.rows_done == 0:
                shutil.rmtree(folder, ignore_errors=True)
            raise _cannot_write(folder, error) from None

    def write(self, rows: Rows) -> None:
        """One finished strip of rows; on disk when this returns. Raises WriteError."""
        blocks = [np.ascontiguousarray(rows.raw.swapaxes(0, 1)), np.ascontiguousarray(rows.source)]
        if self.layout.maps:
            blocks.append(np.ascontiguousarray(rows.maps.swapaxes(0, 1)))
        checksum = 0
        try:
            for (file, size), block in zip(self._files, blocks, strict=True):
                file.seek(rows.first * size)
                file.write(block.data)
                checksum = zlib.crc32(block.data, checksum)
            for file, _ in self._files:
                file.flush()
                os.fsync(file.fileno())
            self._lines.write(json.dumps({"row": rows.first, "rows": rows.height, "crc": checksum}) + "\n")
            self._lines.flush()
            os.fsync(self._lines.fileno())
        except OSError as error:
            raise _cannot_write(self.folder, error) from None
        self.rows_done = rows.end

    def read(self, first: int, count: int) -> Rows:
        """Rows that were written."""
        width = self.layout.size[1]
        found = []
        for file, size in self._files:
            file.seek(first * size)
            found.append(file.read(count * size))
        raw = np.frombuffer(found[0], self.layout.dtype).reshape(count, self.layout.bands, width).swapaxes(0, 1)
        source = np.frombuffer(found[1], np.uint8).reshape(count, width)
        stored = np.frombuffer(found[2] if self.layout.maps else b"", np.float32)
        return Rows(first, raw, source, stored.reshape(count, self.layout.maps, width).swapaxes(0, 1))

    def strips(self) -> Iterator[Rows]:
        """Everything that was written, from the top, in strips of at most 256 rows."""
        for first in range(0, self.rows_done, _STRIP):
            yield self.read(first, min(_STRIP, self.rows_done - first))

    def save_survey(self, mask: PackedMask | None, prepared: Prepared, facts: Mapping[str, float]) -> None:
        """What was learned before the first strip, so that a resumed run uses the very same numbers."""
        import torch

        tensors = {f"map.{name}": value.contiguous() for name, value in prepared.maps.items()}
        tensors |= {f"constant.{name}": value.contiguous() for name, value in prepared.constants.items()}
        if mask is not None:
            tensors["mask"] = torch.from_numpy(mask.bits)
        told = {"facts": json.dumps(dict(facts)), "warnings": json.dumps(prepared.warnings)}
        told |= {"margin": json.dumps(prepared.margin)}
        try:
            save_file(tensors, self.folder / "survey.partial", metadata=told)
            (self.folder / "survey.partial").replace(self.folder / "survey.safetensors")
        except (OSError, SafetensorError) as error:
            raise _cannot_write(self.folder, error) from None

    def load_survey(self) -> tuple[PackedMask | None, Prepared, dict[str, float]] | None:
        """What `save_survey` stored, or None."""
        path = self.folder / "survey.safetensors"
        if not path.is_file():
            return None
        from safetensors import safe_open

        tensors = load_file(path)
        with safe_open(path, framework="pt") as stored:
            facts, warnings, margin = (json.loads(stored.metadata()[key]) for key in ("facts", "warnings", "margin"))
        bits = tensors.pop("mask", None)
        mask = None if bits is None else PackedMask(self.layout.size, bits.numpy())
        maps = {name[4:]: value for name, value in tensors.items() if name.startswith("map.")}
        constants = {name[9:]: value for name, value in tensors.items() if name.startswith("constant.")}
        return mask, Prepared(maps, constants, tuple(warnings), margin), facts

    def save_learned(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Weights that were learned from the scene, and what is said of them, for a resumed run."""
        try:
            kept = {name: value.contiguous() for name, value in tensors.items()}
            save_file(kept, self.folder / "learned.partial", metadata={"facts": json.dumps(dict(facts))})
            (self.folder / "learned.partial").replace(self.folder / "learned.safetensors")
        except (OSError, SafetensorError) as error:
            raise _cannot_write(self.folder, error) from None

    def load_learned(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What `save_learned` stored, or None."""
        path = self.folder / "learned.safetensors"
        if not path.is_file():
            return None
        from safetensors import safe_open

        with safe_open(path, framework="pt") as stored:
            return load_file(path), json.loads(stored.metadata()["facts"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files. An interruption leaves the folder for a later run; success and errors leave nothing."""
        closing = [file.close for file, _ in self._files]
        for close in (*closing, self._lines.close):
            # A full disk fails again when what is still buffered is flushed; the first error has been told.
            with suppress(OSError):
                close()
        if kind is None or issubclass(kind, EorestoreError):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        unfinished = self.folder / f"{_SETTINGS}.partial"
        unfinished.write_text(json.dumps(self._identity, indent=1))
        unfinished.replace(self.folder / _SETTINGS)

    def _row_sizes(self) -> dict[str, int]:
        """Bytes of a row in every file, in the order of the checksum."""
        sizes = {"image.raw": self.layout.row_bytes, "source.raw": self.layout.size[1]}
        return sizes | ({"maps.raw": self.layout.map_bytes} if self.layout.maps else {})

    def _open(self, name: str) -> BinaryIO:
        path = self.folder / name
        return path.open("r+b" if path.exists() else "w+b")

    def _check_identity(self) -> None:
        stored = json.loads((self.folder / _SETTINGS).read_text())
        changed = sorted(key for key in {*stored, *self._identity} if stored.get(key) != self._identity.get(key))
        if changed:
            raise UsageError(
                f"the interrupted run in {self.folder.name} differs in: {', '.join(changed)}",
                fix="repeat its options, or start again without --resume",
            )

    def _verified_rows(self) -> int:
        """Rows in unbroken order whose checksums hold; a torn last line or block is dropped."""
        path = self.folder / "journal.jsonl"
        done, kept = 0, []
        lines = path.read_text().splitlines() if path.is_file() else []
        with ExitStack() as stack:
            files = [(stack.enter_context(self._open(name)), size) for name, size in self._row_sizes().items()]
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    break
                if entry["row"] != done:
                    break
                found = 0
                for file, size in files:
                    file.seek(done * size)
                    found = zlib.crc32(file.read(entry["rows"] * size), found)
                if found != entry["crc"]:
                    break
                done += entry["rows"]
                kept.append(line)
        path.write_text("".join(f"{line}\n" for line in kept))
        return done


def _cannot_write(folder: Path, error: Exception) -> WriteError:
    return WriteError(f"{folder} cannot be written: {error}", fix="check the folder, its rights and the free space")
