"""`eorestore model` through the command line."""

import json

import pytest
import torch
from typer.testing import CliRunner

from eorestore.cli.model import app
from eorestore.errors import CheckpointError, UnknownNameError, UsageError
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.glf_cr import GLFCR, GLFCRSettings
from eorestore.models.parts import example_inputs
from eorestore.processing.processor import glf_cr_processor


def call(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = GLFCR(GLFCRSettings(channels=8, growth=8, blocks=1, layers=2, heads=2, window=4, head_channels=4))
    example = example_inputs(model, height=16, width=16)
    keywords = {"task": "cloud-removal", "provenance": {}, "tile": 64, "overlap": 16, "example": example}
    return save_checkpoint(tmp_path / "small", model, glf_cr_processor(), **keywords)


def test_the_list_names_baselines_aliases_and_presets():
    output = call("list")
    assert {"cloud", "identity", "sar-regression", "glf-cr-v0"} <= {line.split()[0] for line in output.splitlines()}


def test_the_published_network_has_its_exact_count_in_json():
    facts = json.loads(call("info", "glf-cr-v0", "--json"))
    assert (facts["name"], facts["model"], facts["parameters"]) == ("glf-cr-v0", "glf-cr", 14827373)
    assert facts["parts"]["dense_blocks"]["total"] == 9652320
    assert {name: part["without_gradient"] for name, part in facts["parts"].items() if part["without_gradient"]} == {
        "optical_gates": 9312
    }
    # By hand: 62.47 and 249.9 with the dynamic filters, which are not counted.
    assert facts["gmacs"] == pytest.approx({"128": 62.47 - 0.06, "256": 249.9 - 0.24}, abs=0.05)


def test_a_checkpoint_is_described_by_part(folder):
    output = call("info", str(folder))
    assert "small: checkpoint of glf-cr" in output
    assert "kernel_generators" in output
    assert "at 256 x 256: convolutions, linear maps, attention" in output


def test_a_sound_checkpoint_passes_the_check(folder):
    output = call("check", str(folder))
    assert "hash right" in output
    assert "example reproduced" in output


def test_a_shipped_name_is_checked_and_a_baseline_has_nothing_to_check():
    assert "example reproduced" in call("check", "cloud")
    with pytest.raises(UsageError, match="baseline"):
        call("check", "identity")


def test_a_checkpoint_with_other_weights_fails_the_check(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="the hash is wrong"):
        call("check", str(folder))


def test_a_misspelt_name_is_met_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match="glf-cr-vO"):
        call("info", "glf-cr-vO")
