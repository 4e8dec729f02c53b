"""Checkpoint folders: what goes in comes out, and what is damaged is refused by name."""

import json
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
import safetensors.torch
import torch

import eorestore
from eorestore.errors import CheckpointError, ConfigError, UnknownNameError, UsageError, WriteError
from eorestore.models.checkpoint import check_checkpoint, load_checkpoint, save_checkpoint, write_calibration
from eorestore.models.glf_cr import GLFCR, GLFCRSettings
from eorestore.models.parts import example_inputs
from eorestore.models.settings import settings_from_dict, settings_to_dict
from eorestore.processing.processor import glf_cr_processor

SHIPPED = sorted((Path(eorestore.__file__).parent / "weights").glob("*/config.json"))
SETTINGS = GLFCRSettings(channels=8, growth=8, blocks=1, layers=2, heads=2, window=4, head_channels=4)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return GLFCR(SETTINGS)


def save(folder, model, **changes):
    arguments = {
        "task": "cloud-removal",
        "provenance": {"seed": 3},
        "tile": 128,
        "overlap": 32,
        "example": example_inputs(model, height=16, width=16),
        "metrics": {"psnr": 30.5},
    }
    return save_checkpoint(folder, model, glf_cr_processor(), **arguments | changes)


@pytest.fixture
def folder(tmp_path, model):
    return save(tmp_path / "model", model)


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_loaded_model_gives_equal_images(folder, model):
    checkpoint = load_checkpoint(folder)
    inputs = example_inputs(model, height=16, width=24, seed=5)
    assert torch.equal(checkpoint.model(**inputs).image, model.eval()(**inputs).image)
    assert checkpoint.model.settings == SETTINGS
    assert checkpoint.processor == glf_cr_processor()
    assert not checkpoint.model.training


def test_the_configuration_holds_what_a_dry_run_needs(folder, model):
    config = load_checkpoint(folder).config
    assert (config["format"], config["model"], config["task"]) == (1, "glf-cr", "cloud-removal")
    assert (config["tile"], config["overlap"], config["provenance"]) == (128, 32, {"seed": 3})
    for name in ("scale", "multiple_of", "phase", "reach", "tiling", "needs_scene"):
        assert config[name] == getattr(model, name)
    assert config["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert config["settings"] == settings_to_dict(SETTINGS)


def test_metrics_and_a_model_card_lie_beside_the_weights(folder):
    assert json.loads((folder / "metrics.json").read_text()) == {"psnr": 30.5}
    card = (folder / "README.md").read_text()
    assert "glf-cr for cloud-removal" in card
    assert "B8A" in card


def test_a_given_model_card_is_kept(tmp_path, model):
    assert (save(tmp_path / "other", model, card="# Mine\n") / "README.md").read_text() == "# Mine\n"


def test_saving_leaves_training_mode_as_it_was(tmp_path, model):
    save(tmp_path / "other", model.train())
    assert model.training


def test_the_example_is_reproduced(folder):
    report = check_checkpoint(folder)
    assert report.example_error == pytest.approx(0, abs=1e-5)
    assert report.sha256 == load_checkpoint(folder).sha256


def test_an_example_that_comes_out_differently_is_an_error(tmp_path, model):
    good = save(tmp_path / "good", model)
    with torch.no_grad():
        model.head[2].bias.add_(0.01)
    other = save(tmp_path / "other", model)
    (other / "example.safetensors").write_bytes((good / "example.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"the example comes out 0\.01 away"):
        check_checkpoint(other)


def test_an_example_that_does_not_fit_the_model_is_an_error_in_one_line(tmp_path, model):
    folder = save(tmp_path / "old", model)
    path = folder / "example.safetensors"
    stored = safetensors.torch.load_file(path)
    name = next(name for name in stored if name.startswith("input."))
    safetensors.torch.save_file(stored | {name: stored[name][:, :1]}, path)
    with pytest.raises(CheckpointError, match="is of another version") as caught:
        check_checkpoint(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.parent.name)
def test_every_shipped_model_gives_its_example(folder):
    assert check_checkpoint(folder.parent).example_error is not None


def test_a_folder_without_an_example_is_checked_by_hash_alone(tmp_path, model):
    assert check_checkpoint(save(tmp_path / "other", model, example=None)).example_error is None


def test_a_second_save_replaces_the_first_and_leaves_nothing_beside_it(folder, model):
    with torch.no_grad():
        model.head[2].bias.add_(1)
    save(folder, model)
    assert torch.equal(load_checkpoint(folder).model.head[2].bias, model.head[2].bias)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_folder_that_is_no_checkpoint_is_never_replaced(tmp_path, model):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(WriteError, match="is no checkpoint"):
        save(tmp_path / "thesis", model)
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_a_path_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, model):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        save(tmp_path / "file" / "model", model)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_weights_with_another_hash_are_refused(folder, tmp_path, model):
    with torch.no_grad():
        model.head[2].bias.add_(1)
    other = save(tmp_path / "other", model)
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="the hash is wrong"):
        load_checkpoint(folder)


def test_a_pickle_disguised_as_weights_is_refused(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weights": [1.0] * 100}))
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_checkpoint(folder)


@pytest.mark.parametrize("kept", [0, 5, 60])
def test_truncated_weights_are_refused(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=r"config\.json|model\.safetensors|no checkpoint at") as caught:
        load_checkpoint(folder)
    assert name in caught.value.message + caught.value.fix


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "format None"), ('{"format": 2}', "format 2"), ('{"format": 1}', "missing.*model")],
)
def test_a_corrupt_or_foreign_configuration_is_refused(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_value_of_the_wrong_type_is_named(folder):
    edit(folder, tile="large")
    with pytest.raises(CheckpointError, match="tile"):
        load_checkpoint(folder)


def test_a_processor_that_cannot_be_read_is_refused(folder):
    edit(folder, processor={"inputs": {"cloudy": [{"name": "B01"}]}})
    with pytest.raises(CheckpointError, match="processor"):
        load_checkpoint(folder)


def test_settings_that_do_not_fit_the_weights_are_refused(folder):
    edit(folder, settings=asdict(SETTINGS) | {"channels": 16})
    with pytest.raises(CheckpointError, match="weights and settings differ"):
        load_checkpoint(folder)


def test_a_model_of_another_version_is_named(folder):
    edit(folder, model="glf-cry")
    with pytest.raises(UnknownNameError, match="glf-cry"):
        load_checkpoint(folder)


def test_an_unknown_setting_is_named_with_the_nearest_one(folder):
    edit(folder, settings=asdict(SETTINGS) | {"chanels": 8})
    with pytest.raises(ConfigError, match=r"chanels.*did you mean channels"):
        load_checkpoint(folder)


@pytest.mark.parametrize("wrong", [{"channels": "8"}, {"channels": 8.5}, {"drop_path": True}, {"start": "noise"}])
def test_settings_of_the_wrong_type_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        settings_from_dict(GLFCRSettings, wrong)


def test_settings_survive_json():
    text = json.dumps(settings_to_dict(SETTINGS))
    assert settings_from_dict(GLFCRSettings, json.loads(text)) == SETTINGS


CALIBRATION = {"level": 0.9, "scale": [1.0 + 0.5 * band for band in range(13)], "places": ["north", "south"]}


def test_the_configuration_says_which_inputs_and_maps_there_are(folder):
    config = load_checkpoint(folder).config
    assert config["inputs"] == ["cloudy", "sar"]
    assert config["optional_inputs"] == []
    assert config["extras"] == {}


def test_a_calibration_is_added_and_nothing_else_changes(folder):
    edit(folder, extras={"sigma": 13})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_calibration(folder, CALIBRATION | {"coverage": 0.91})
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    config = json.loads(after.pop("config.json"))
    assert config.pop("calibration") == CALIBRATION | {"coverage": 0.91}
    assert config == json.loads(before.pop("config.json"))
    assert after == before
    write_calibration(folder, CALIBRATION)
    assert load_checkpoint(folder).config["calibration"] == CALIBRATION
    assert check_checkpoint(folder).example_error < 1e-4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"level": 90}, "level 90"),
        ({"level": None}, "level None"),
        ({"scale": [1.0, 2.0]}, "13 positive numbers"),
        ({"scale": [0.0] * 13}, "13 positive numbers"),
        ({"scale": [float("nan")] * 13}, "13 positive numbers"),
        ({"places": "north"}, "places 'north'"),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(folder, change, words):
    edit(folder, extras={"sigma": 13})
    with pytest.raises(UsageError) as caught:
        write_calibration(folder, CALIBRATION | change)
    assert words in f"{caught.value.message} {caught.value.fix}"
    assert "calibration" not in json.loads((folder / "config.json").read_text())


def test_a_model_without_sigma_cannot_be_calibrated(folder):
    with pytest.raises(UsageError, match="gives no sigma"):
        write_calibration(folder, CALIBRATION)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        write_calibration(folder.parent, CALIBRATION)


@pytest.mark.parametrize("change", [{"optional_inputs": "sar"}, {"extras": []}, {"calibration": 3}])
def test_later_keys_of_another_type_are_refused_by_name(folder, change):
    edit(folder, **change)
    with pytest.raises(CheckpointError, match=next(iter(change))):
        load_checkpoint(folder)
