"""One JSON a run: configuration, commit, data hashes, machine, scores, time, memory; made by runs, never by hand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eorestore import __version__
from eorestore.config import config_hash, parse_settings
from eorestore.errors import ConfigError, DataError, WriteError

FORMAT = 1
NAMED_LIMIT = 100  # files that a record names one by one
HASH_LIMIT = 16 * 2**30  # bytes of data: about a minute of reading


@dataclass(frozen=True)
class Machine:
    """What a run ran on. memory_bytes: of the machine. threads: of torch. device: `cpu` or the name of the GPU."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    torch: str
    threads: int
    device: str


@dataclass(frozen=True)
class Record:
    """What a run was and what came of it.

    kind: `training`, `evaluation`, ... config_hash: SHA-256 of `config` with sorted keys.
    commit: of the repository, with `+changes` where files differ from it; `package X` outside of one.
    data: SHA-256 by the name of a file or folder. scores: plain values; null for NaN.
    seconds: of work, over all resumptions. peak_memory_bytes: largest resident size of the process.
    """

    kind: str
    name: str
    config: dict[str, Any]
    config_hash: str
    commit: str
    version: str
    date: str
    machine: Machine
    seconds: float
    peak_memory_bytes: int
    scores: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


def make_record(
    kind: str,
    name: str,
    *,
    config: Mapping[str, Any],
    scores: Mapping[str, Any],
    seconds: float,
    data: Mapping[str, str],
) -> Record:
    """The record of a run that has just ended in this process."""
    return Record(
        kind=kind,
        name=name,
        config=dict(config),
        config_hash=config_hash(config),
        commit=commit(),
        version=__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        seconds=round(seconds, 3),
        peak_memory_bytes=peak_memory_bytes(),
        scores={key: _plain(value) for key, value in scores.items()},
        data=dict(data),
    )


def write_record(path: Path, record: Record) -> None:
    """Write the record, under its name only when complete. Raises WriteError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(asdict(record), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise WriteError(
            f"{path} could not be written: {error.strerror or error}",
            fix="choose a folder with room and write access",
        ) from error


def read_record(path: Path) -> Record:
    """The record at `path`. Raises DataError where it is none, is of another format, or was edited."""
    again = "run the experiment that writes it"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no record: {error}", fix=again) from None
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise DataError(f"{path} has record format {found!r}; this version reads {FORMAT}", fix=again)
    try:
        record = parse_settings(Record, values, source=str(path))
    except ConfigError as error:
        raise DataError(error.message, fix=again) from None
    if config_hash(record.config) != record.config_hash:
        raise DataError(f"{path}: the configuration does not have the hash that stands beside it", fix=again)
    return record


def commit() -> str:
    """The commit of the repository that this package lies in; `package X` where there is none."""
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)  # fails where a repository ignores us
        found = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", ":/")
    except (OSError, subprocess.CalledProcessError):
        return f"package {__version__}"
    return f"{found}+changes" if changed else found


def machine() -> Machine:
    """This machine, with the device that a training would take."""
    import torch

    return Machine(
        processor=_processor_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=str(torch.__version__),
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    )


def peak_memory_bytes() -> int:
    """The largest resident size that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder. Raises DataError."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()} {hash_path(file)}\n".encode())
        return digest.hexdigest()
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", fix="check the path") from None


def hash_paths(paths: Sequence[Path], *, root: Path) -> dict[str, str]:
    """`hash_path` by the name relative to `root`, where a path lies below it.

    More than HASH_LIMIT bytes are not read: one hash of all names and sizes then stands for them. Of more than
    NAMED_LIMIT paths one hash of all names and hashes does.
    """
    unique = sorted(set(paths))
    files = [file for path in unique for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    sizes = {_name(file, root): file.stat().st_size for file in files if file.is_file()}
    if sum(sizes.values()) > HASH_LIMIT:
        listing = json.dumps(sizes, sort_keys=True).encode()
        return {f"names and sizes of {len(sizes)} files": hashlib.sha256(listing).hexdigest()}
    hashes = {_name(path, root): hash_path(path) for path in unique}
    if len(hashes) > NAMED_LIMIT:
        listing = json.dumps(hashes, sort_keys=True).encode()
        return {f"names and hashes of {len(hashes)} files": hashlib.sha256(listing).hexdigest()}
    return hashes


def _name(path: Path, root: Path) -> str:
    resolved = path.resolve()
    below = resolved.is_relative_to(root.resolve())
    return resolved.relative_to(root.resolve()).as_posix() if below else path.name


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(below) for below in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
