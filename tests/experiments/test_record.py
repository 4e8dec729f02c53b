from __future__ import annotations

import json
import math
import resource
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from eorestore import __version__
from eorestore.errors import DataError, WriteError
from eorestore.experiments import record as module
from eorestore.experiments.record import Record, commit, hash_path, hash_paths, make_record, read_record, write_record


@pytest.fixture
def made() -> Record:
    return make_record(
        "training",
        "first",
        config={"seed": 3, "cover": [0.1, 0.2]},
        scores={"psnr": 30.5, "ssim": math.nan, "rows": [{"sam": math.inf}]},
        seconds=1.23456,
        data={"a.tif": "00"},
    )


def test_a_record_comes_back_as_it_was(made: Record, tmp_path: Path) -> None:
    write_record(tmp_path / "record.json", made)
    assert read_record(tmp_path / "record.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_values_that_are_not_finite_become_null(made: Record) -> None:
    assert made.scores == {"psnr": 30.5, "ssim": None, "rows": [{"sam": None}]}


def test_a_record_says_what_ran_where(made: Record) -> None:
    assert made.version == __version__
    assert made.machine.torch == torch.__version__
    assert made.machine.threads == torch.get_num_threads()
    assert made.machine.memory_bytes > 2**28
    assert made.peak_memory_bytes == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, rel=0.2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "record format 2"),
        ({"seconds": "long"}, "seconds: input should be a valid number"),
        ({"secnds": 1}, r"unknown key secnds \(did you mean seconds\?\)"),
        ({"config": {"seed": 4}}, "does not have the hash"),
    ],
)
def test_a_record_that_was_changed_is_refused(made: Record, tmp_path: Path, change: dict, words: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(asdict(made) | change))
    with pytest.raises(DataError, match=words):
        read_record(path)


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(DataError):
        read_record(path)


def test_a_record_that_cannot_be_written_leaves_nothing(made: Record, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        write_record(tmp_path / "file" / "record.json", made)


def test_hashes_are_those_of_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 999)
    expected = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]
    assert hash_path(path) == expected
    assert hash_paths([path, path], root=tmp_path) == {"a.bin": expected}


def test_the_hash_of_a_folder_follows_names_and_contents(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("x")
    assert hash_path(tmp_path / "one") == hash_path(tmp_path / "two")
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "b")
    assert hash_path(tmp_path / "one") != hash_path(tmp_path / "two")


def test_much_data_is_known_by_names_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HASH_LIMIT", 3)
    (tmp_path / "a").write_text("four")
    (first,) = hash_paths([tmp_path / "a"], root=tmp_path).items()
    assert first[0] == "names and sizes of 1 files"
    (tmp_path / "a").write_text("fives")
    assert dict([first]) != hash_paths([tmp_path / "a"], root=tmp_path)


def test_a_path_outside_the_root_is_known_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "a").write_text("x")
    assert list(hash_paths([tmp_path / "a"], root=tmp_path / "root")) == ["a"]


def test_the_commit_is_that_of_the_repository_with_a_mark_for_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        names = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *names, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    file = tmp_path / "record.py"
    file.write_text("")
    monkeypatch.setattr(module, "__file__", str(file))
    git("init")
    assert commit() == f"package {__version__}"
    git("add", "record.py")
    git("commit", "-m", "first")
    assert commit() == git("rev-parse", "HEAD")
    file.write_text("changed")
    assert commit() == git("rev-parse", "HEAD") + "+changes"
