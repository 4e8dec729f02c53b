"""A fusion's sigma, calibrated on pictures: the interval then holds the share that it promises."""

import json

import pytest
import torch

from eorestore.cli.app import run
from eorestore.config import ExpertConfig
from eorestore.errors import UsageError
from eorestore.experiments.calibration import fit_scale
from eorestore.experiments.image_calibration import calibrate_images
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.experts import load_experts
from eorestore.models.table import build_model
from eorestore.processing.table import rgb_processor
from small_images import FUSION, LIGHT, save_model, write_set


@pytest.fixture
def world(tmp_path):
    torch.set_num_threads(1)
    write_set(tmp_path / "pictures", 3)
    sources = [save_model(tmp_path / f"light-{number}", "light-sr", LIGHT) for number in range(2)]
    model = build_model("light-sr", LIGHT, seed=5)
    torch.nn.init.normal_(model.leave.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    save_checkpoint(sources[1], model, rgb_processor(4), task="super-resolution", provenance={}, tile=64, overlap=0)
    facts = load_experts([ExpertConfig(str(source)) for source in sources], scale=4).facts
    fusion = build_model("expert-fusion", FUSION | {"experts": 2}, seed=1)
    save_checkpoint(
        tmp_path / "fused",
        fusion,
        rgb_processor(4),
        task="super-resolution",
        provenance={},
        tile=64,
        overlap=64,
        experts=facts,
    )
    return tmp_path


def test_the_interval_holds_what_it_promises_on_the_pictures_it_was_fitted_on(world):
    found = calibrate_images(str(world / "fused"), data=world / "pictures", split="validation")
    assert found.bands == ("red", "green", "blue")
    assert all(scale > 0 for scale in found.scale)
    assert found.pixels > 100
    wider = calibrate_images(str(world / "fused"), data=world / "pictures", split="validation", level=0.99)
    # a wider promise needs a larger factor on the same quantile scale
    assert all(more * 2.576 > less * 1.645 for more, less in zip(wider.scale, found.scale, strict=True))


def test_factors_are_the_quantiles_of_the_ratios(world, monkeypatch):
    kept = {}

    def watch(ratios, bands, *, level):
        kept.update(ratios=ratios, bands=bands)
        return fit_scale(ratios, bands, level=level)

    monkeypatch.setattr("eorestore.experiments.calibration.fit_scale", watch)
    found = calibrate_images(str(world / "fused"), data=world / "pictures")
    pooled = next(iter(kept["ratios"].values()))
    inside = (pooled[0] <= 1.6449 * found.scale[0]).mean()
    assert 0.9 <= inside < 0.92


def test_the_command_writes_the_factors_into_the_checkpoint(world, capsys):
    arguments = ["model", "calibrate", str(world / "fused"), "--data", str(world / "pictures")]
    assert run([*arguments, "--record", str(world / "record.json")]) == 0
    assert "factors on sigma" in capsys.readouterr().out
    config = json.loads((world / "fused" / "config.json").read_text())
    assert len(config["calibration"]["scale"]) == 3
    assert json.loads((world / "record.json").read_text())["kind"] == "calibration"


def test_test_pictures_and_models_without_sigma_are_refused(world):
    with pytest.raises(UsageError, match="test split"):
        calibrate_images(str(world / "fused"), data=world / "pictures", split="test")
    with pytest.raises(UsageError, match="gives no sigma"):
        calibrate_images(str(world / "light-0"), data=world / "pictures")
    with pytest.raises(UsageError, match="gives no sigma"):
        calibrate_images("bicubic", data=world / "pictures")
