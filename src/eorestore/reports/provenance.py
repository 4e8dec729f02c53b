"""Where the numbers of a table come from: commit, machine and data, out of their records; knows no score."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from eorestore.experiments.record import Machine, Record

_SHORT = 12  # characters of a hash


def provenance(records: Iterable[Record]) -> str:
    """One line that names every commit and machine of the records, and all their data by one hash.

    The hash is the SHA-256 of the names and hashes of all files, so equal data have equal hashes.
    """
    records = tuple(records)
    commits = dict.fromkeys(short_commit(record.commit) for record in records)
    machines = dict.fromkeys(describe_machine(record.machine) for record in records)
    return f"Commit {', '.join(commits)}. Machine: {'; '.join(machines)}. Data: {describe_data(records)}."


def short_commit(commit: str) -> str:
    """Nine characters of a commit, and whether files differed from it; `package X` as it is."""
    return commit if " " in commit else commit[:9] + commit[40:]


def describe_machine(machine: Machine) -> str:
    """Processor or GPU, cores, threads and the version of torch."""
    device = "" if machine.device == "cpu" else f"{machine.device}, "
    threads = f"{machine.threads} thread{'' if machine.threads == 1 else 's'}"
    return f"{device}{machine.processor}, {machine.cores} cores, {threads}, torch {machine.torch}"


def describe_data(records: Iterable[Record]) -> str:
    """How many files, and one hash of all."""
    files = {name: value for record in records for name, value in record.data.items()}
    if not files:
        return "none recorded"
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:_SHORT]
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, SHA-256 {digest}"
