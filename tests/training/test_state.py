from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from toy_training import ToyModel, ToySettings

from eorestore.errors import TrainingError, WriteError
from eorestore.training import state
from eorestore.training.state import Progress, Ranked, load_state, replace_folder, save_state

IDENTITY = {"seed": 1, "items": 7}


def parts(*, seed: int) -> dict:
    """A model in channels_last after one update, so that the optimiser has moments."""
    torch.manual_seed(seed)
    model = ToyModel(ToySettings()).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(cloudy=torch.rand(2, 3, 8, 8), sar=torch.rand(2, 2, 8, 8)).image.sum().backward()
    optimizer.step()
    return {"model": model, "optimizer": optimizer, "averaged": torch.optim.swa_utils.AveragedModel(model)}


def progress(step: int) -> Progress:
    return Progress(step, (Ranked(2, 0.25), Ranked(1, 0.5)), 12.5, IDENTITY)


def test_what_is_saved_comes_back_with_its_memory_format(tmp_path: Path) -> None:
    one, other = parts(seed=1), parts(seed=2)
    save_state(tmp_path, progress(3), **one)
    assert load_state(tmp_path, **other, identity=IDENTITY) == progress(3)
    for name, value in one["model"].state_dict().items():
        assert torch.equal(value, other["model"].state_dict()[name])
    for name, value in one["averaged"].state_dict().items():
        assert torch.equal(value, other["averaged"].state_dict()[name])
    moments = [
        (one["optimizer"].state[ours], other["optimizer"].state[theirs])
        for ours, theirs in zip(one["model"].parameters(), other["model"].parameters(), strict=True)
        if ours.grad is not None
    ]
    assert moments
    for ours, theirs in moments:
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert all(ours[key].stride() == theirs[key].stride() for key in ours)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    folder = save_state(tmp_path, progress(3), **parts(seed=1))
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_the_older_state_goes_when_the_newer_one_stands(tmp_path: Path) -> None:
    save_state(tmp_path, progress(3), **parts(seed=1))
    save_state(tmp_path, progress(4), **parts(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]


@pytest.mark.parametrize("moment", ["tensors", "json", "flush", "rename", "remove"])
def test_a_save_that_dies_at_any_moment_leaves_a_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    save_state(tmp_path, progress(3), **parts(seed=1))
    with monkeypatch.context() as patch:
        if moment == "tensors":
            patch.setattr(state, "save_file", lambda _tensors, path: (Path(path).write_bytes(b"torn"), die()))
        elif moment == "json":
            patch.setattr(json, "dumps", die)
        elif moment == "flush":
            patch.setattr(os, "fsync", die)
        elif moment == "rename":
            patch.setattr(Path, "rename", die)
        else:
            patch.setattr(shutil, "rmtree", die)
        with pytest.raises(Killed):
            save_state(tmp_path, progress(4), **parts(seed=2))
    found = load_state(tmp_path, **parts(seed=5), identity=IDENTITY)
    assert found is not None
    assert found.step == (4 if moment == "remove" else 3)
    save_state(tmp_path, progress(5), **parts(seed=2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


def test_a_folder_without_state_is_a_beginning(tmp_path: Path) -> None:
    assert load_state(tmp_path / "none", **parts(seed=1), identity=IDENTITY) is None


def test_a_state_of_another_run_is_refused_by_what_differs(tmp_path: Path) -> None:
    save_state(tmp_path, progress(3), **parts(seed=1))
    with pytest.raises(TrainingError, match="items was 7, now 8"):
        load_state(tmp_path, **parts(seed=1), identity={"seed": 1, "items": 8})


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, progress(3), **parts(seed=1))
    wider = ToyModel(ToySettings(channels=6))
    with pytest.raises(TrainingError, match="does not fit this run"):
        load_state(
            tmp_path, model=wider, optimizer=torch.optim.AdamW(wider.parameters()), averaged=None, identity=IDENTITY
        )


def test_a_torn_or_foreign_file_is_refused(tmp_path: Path) -> None:
    folder = save_state(tmp_path, progress(3), **parts(seed=1))
    (folder / "weights.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(TrainingError, match="does not fit this run"):
        load_state(tmp_path, **parts(seed=1), identity=IDENTITY)
    values = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(values | {"format": 99}))
    with pytest.raises(TrainingError, match="state format 99"):
        load_state(tmp_path, **parts(seed=1), identity=IDENTITY)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="could not be written"):
        save_state(tmp_path / "file", progress(3), **parts(seed=1))


def test_a_replaced_folder_holds_the_new_files_only(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    replace_folder(tmp_path / "new", tmp_path / "old")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["old", "old/new"]
