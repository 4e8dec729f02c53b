"""`eorestore model calibrate`, and what `evaluate` then says of the intervals."""

import json

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from eorestore.cli import model
from eorestore.cli.evaluate import evaluate
from eorestore.data.scene_arrays import save_scene
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import UsageError
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.clearview import Clearview, ClearviewSettings
from eorestore.processing.table import PROCESSORS

EVALUATE = typer.Typer()
EVALUATE.command()(evaluate)
CLOUDS = ("--simulate", "0.4", "--seeds", "1", "--cloud-size", "10,30")


def call(app, *arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    lines = ["id,place,split,optical,sar"]
    for number, split in enumerate(("validation", "validation", "test")):
        scene = synthetic_scene((64, 64), generator=np.random.default_rng(number))
        save_scene(folder / f"{number}.npz", optical=scene.optical, sar=scene.sar)
        lines.append(f"s{number},p{number},{split},{number}.npz,{number}.npz")
    (folder / "scenes.csv").write_text("\n".join(lines))
    return folder / "scenes.csv"


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    network = Clearview(ClearviewSettings(channels=(8, 8), sar_channels=(4, 4), head_channels=4, start="cloudy"))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    processor = PROCESSORS["glf-cr"]()
    return save_checkpoint(
        tmp_path / "small", network, processor, task="cloud-removal", provenance={}, tile=64, overlap=16
    )


def covered(checkpoint, manifest, split: str) -> float:
    printed = call(
        EVALUATE, checkpoint, "--data", manifest, "--split", split, *CLOUDS, "--metrics", "psnr", "--json"
    )  # fmt: skip
    return json.loads(printed)["aggregates"][0]["scores"]["coverage_90_cloud"]["mean"]


def before_at(printed: str, place: str) -> float:
    line = next(line for line in printed.splitlines() if line.startswith(f"{place}: "))
    return float(line.split()[1].rstrip("%")) / 100


def test_calibration_makes_the_intervals_hold_nine_tenths_and_is_kept_in_the_checkpoint(checkpoint, manifest):
    before = covered(checkpoint, manifest, "validation")
    record = manifest.parent / "calibration.json"
    printed = call(model.app, "calibrate", checkpoint, "--data", manifest, *CLOUDS, "--record", record)
    assert "pixels of p0, p1" in printed
    recorded = json.loads(record.read_text())
    assert [row[0] for row in recorded["scores"]["rows"]] == ["p0", "p1"]
    assert recorded["scores"]["rows"][0][1] == pytest.approx(before_at(printed, "p0"), abs=1e-3)
    assert set(recorded["data"]) == {"0.npz", "1.npz"}
    assert "p1: " in printed
    written = json.loads((checkpoint / "config.json").read_text())["calibration"]
    assert (written["level"], written["places"], len(written["scale"])) == (0.9, ["p0", "p1"], 13)
    assert abs(before - 0.9) > 0.05
    assert covered(checkpoint, manifest, "validation") == pytest.approx(0.9, abs=0.03)


def test_calibrating_twice_is_calibrating_once(checkpoint, manifest):
    call(model.app, "calibrate", checkpoint, "--data", manifest, *CLOUDS)
    first = json.loads((checkpoint / "config.json").read_text())["calibration"]
    call(model.app, "calibrate", checkpoint, "--data", manifest, *CLOUDS)
    assert json.loads((checkpoint / "config.json").read_text())["calibration"] == first


def test_the_test_split_and_models_without_a_checkpoint_are_refused(checkpoint, manifest):
    with pytest.raises(UsageError, match="test split"):
        call(model.app, "calibrate", checkpoint, "--data", manifest, "--split", "test", *CLOUDS)
    with pytest.raises(UsageError, match="identity is a baseline"):
        call(model.app, "calibrate", "identity", "--data", manifest, *CLOUDS)
    assert "calibration" not in json.loads((checkpoint / "config.json").read_text())


def test_a_model_of_four_bands_has_intervals_for_those_four(tmp_path, manifest):
    torch.manual_seed(0)
    settings = ClearviewSettings(channels=(8, 8), sar_channels=(4, 4), head_channels=4, start="cloudy", bands=4)
    few = save_checkpoint(
        tmp_path / "few", Clearview(settings), PROCESSORS["four-band"](), task="cloud-removal", provenance={}, tile=64,
        overlap=16,
    )  # fmt: skip
    call(model.app, "calibrate", few, "--data", manifest, *CLOUDS)
    printed = call(EVALUATE, few, "--data", manifest, "--split", "validation", *CLOUDS, "--metrics", "psnr", "--json")
    found = json.loads(printed)["rows"][0]["by_band"]["coverage_90"]
    assert set(found) == {"B02", "B03", "B04", "B08"}
    assert all(0.7 < value <= 1 for value in found.values())
