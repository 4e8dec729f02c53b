"""What a model's name means, without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eorestore.config import load_config
from eorestore.errors import CheckpointError, MissingError, UnknownNameError, UsageError
from eorestore.models import catalogue

CONFIG = {
    "format": 1, "model": "glf-cr", "settings": {}, "task": "cloud-removal", "processor": {}, "tile": 256,
    "overlap": 64, "scale": 1, "multiple_of": 16, "phase": 16, "reach": None, "tiling": "blend",
    "needs_scene": True, "sha256": "0", "parameters": 7, "provenance": {},
}  # fmt: skip


def checkpoint(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "WEIGHTS_FOLDER", tmp_path / "weights")


def test_a_baseline_has_its_size_rule_and_no_path():
    assert catalogue.resolve("sar-regression") == catalogue.Resolved("baseline", "sar-regression", None)
    assert catalogue.BASELINES["smoothed-sar-regression"].reach == 18


def test_an_alias_stands_for_the_shipped_model(tmp_path):
    shipped = checkpoint(tmp_path / "weights" / "clearview")
    assert catalogue.resolve("cloud") == catalogue.Resolved("checkpoint", "clearview", shipped)
    assert catalogue.shipped_names() == ("clearview",)


@pytest.mark.parametrize("name", ["cloud", "clearview"])
def test_a_shipped_model_without_its_weights_is_missing(name):
    with pytest.raises(MissingError, match="clearview"):
        catalogue.resolve(name)


def test_an_unknown_name_is_met_with_the_nearest_one():
    with pytest.raises(UnknownNameError) as caught:
        catalogue.resolve("identiy")
    assert caught.value.suggestion == "identity"


def test_a_preset_of_the_repository_is_found():
    found = catalogue.resolve("glf-cr-v0")
    assert (found.kind, found.name) == ("preset", "glf-cr-v0")
    assert catalogue.find_preset("glf-cr-v0") == found.path
    assert catalogue.resolve(found.path) == found


def test_an_unknown_preset_is_named():
    with pytest.raises(UnknownNameError, match="glf-cr-v00"):
        catalogue.find_preset("glf-cr-v00")


def test_the_preset_of_the_published_network_is_a_valid_run():
    config = load_config(catalogue.find_preset("glf-cr-v0"))
    assert (config.task, config.processor, config.model.name) == ("cloud-removal", "glf-cr", "glf-cr")
    epochs = config.training.steps / config.data.items_per_epoch
    assert (epochs, config.training.learning_rate, config.training.step_factor) == (30, 1e-4, 0.5)


def test_a_run_stands_for_its_best_checkpoint(tmp_path):
    checkpoint(tmp_path / "runs" / "v0" / "last")
    assert catalogue.resolve("v0").path == Path("runs/v0/last")
    checkpoint(tmp_path / "runs" / "v0" / "best")
    assert catalogue.resolve("v0") == catalogue.Resolved("checkpoint", "v0", Path("runs/v0/best"))
    assert catalogue.resolve("runs/v0").path == Path("runs/v0/best")


def test_a_folder_is_a_checkpoint_by_its_files(tmp_path):
    checkpoint(tmp_path / "mine")
    assert catalogue.resolve("mine").path == Path("mine")
    assert catalogue.resolve(tmp_path / "mine").path == tmp_path / "mine"


@pytest.mark.parametrize("path", ["./empty", "empty", "no/such/folder"])
def test_a_path_without_a_checkpoint_is_an_error_that_says_what_should_be_there(tmp_path, path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"at .*(empty|folder)") as caught:
        catalogue.resolve(path)
    assert "config.json" in caught.value.fix


@pytest.mark.parametrize("name", ["identity", "v0"])
def test_a_name_that_could_mean_two_things_fails(tmp_path, name):
    checkpoint(tmp_path / name)
    checkpoint(tmp_path / "runs" / "v0")
    with pytest.raises(UsageError, match="could mean"):
        catalogue.resolve(name)
    assert catalogue.resolve(f"./{name}").path == Path(name)


def test_an_unrelated_folder_does_not_hide_a_name(tmp_path):
    (tmp_path / "identity").mkdir()
    assert catalogue.resolve("identity").kind == "baseline"


def test_the_size_rule_of_a_checkpoint_is_read_from_its_configuration(tmp_path):
    config = catalogue.read_config(checkpoint(tmp_path / "mine"))
    rule = catalogue.SizeRule.from_config(config)
    assert rule == catalogue.SizeRule(multiple_of=16, reach=None, phase=16, tiling="blend", needs_scene=True)


def test_a_flag_where_a_number_belongs_is_refused(tmp_path):
    folder = checkpoint(tmp_path / "mine")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"tile": True}))
    with pytest.raises(CheckpointError, match="tile"):
        catalogue.read_config(folder)


def test_the_catalogue_imports_neither_torch_nor_rasterio():
    code = (
        "import sys; from eorestore.models import catalogue; catalogue.resolve('identity');"
        "print([name for name in ('torch', 'rasterio', 'numpy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
