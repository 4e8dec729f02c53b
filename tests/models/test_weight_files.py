"""Files of weights that the user supplies: where they are looked for, and what may be in them."""

import pytest
import torch
from safetensors.torch import save_file

from eorestore.errors import EXIT_MISSING, CheckpointError, MissingError
from eorestore.models.weight_files import find_weights, read_weights, tensors_of

TENSORS = {"one": torch.ones(2), "two": torch.zeros(1, 3)}


class Code:
    """An object, which only a loader that runs code could bring back."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("EORESTORE_WEIGHTS", raising=False)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_the_own_folder_comes_before_the_cache_of_torch_hub(hub, tmp_path, monkeypatch):
    (hub / "a.pth").touch()
    assert find_weights(["a.pth"], what="A") == hub / "a.pth"
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(tmp_path))
    assert find_weights(["a.pth"], what="A") == hub / "a.pth"
    (tmp_path / "a.pth").touch()
    assert find_weights(["a.pth"], what="A") == tmp_path / "a.pth"


def test_missing_weights_name_the_places_looked_at_and_the_file_to_put_there(hub, tmp_path, monkeypatch):
    with pytest.raises(MissingError) as failure:
        find_weights(["a.pth", "a.safetensors"], what="network A")
    assert failure.value.exit_code == EXIT_MISSING
    assert f"network A are not here; looked for a.pth or a.safetensors in {hub}" in failure.value.message
    assert failure.value.fix == "put a.pth into a folder and name it in $EORESTORE_WEIGHTS"
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(MissingError) as failure:
        find_weights(["a.pth"], what="network A")
    assert f"in {tmp_path / 'mine'}, {hub}" in failure.value.message
    assert failure.value.fix == "put a.pth into $EORESTORE_WEIGHTS"


def test_messages_do_not_tell_whose_home_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(MissingError, match=r"in ~/mine, ~/torch/hub/checkpoints"):
        find_weights(["a.pth"], what="A")


def test_both_formats_give_the_same_tensors(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pth")
    save_file(TENSORS, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        found = tensors_of(read_weights(tmp_path / name), tmp_path / name)
        assert found.keys() == TENSORS.keys()
        assert all(torch.equal(found[key], value) for key, value in TENSORS.items())


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_broken_file_and_no_file_are_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match="no file at"):
        read_weights(tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="does not hold plain tensors"):
        read_weights(tmp_path / name)


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"one": Code()}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="does not hold plain tensors"):
        read_weights(tmp_path / "a.pth")


def test_something_else_than_tensors_by_name_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is not a dictionary of tensors"):
        tensors_of({"epoch": 3}, tmp_path / "a.pth")
