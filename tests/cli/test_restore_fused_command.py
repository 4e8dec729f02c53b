"""Fused experts through the command line: maps, tiles that equal the whole, and a budget of tiles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from eorestore.cli.app import run
from eorestore.config import ExpertConfig
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.experts import load_experts
from eorestore.models.table import build_model
from eorestore.processing.table import rgb_processor
from small_enlargers import light_checkpoint, smooth, utm_grid
from small_scenes import write_tif

GATES = {
    "experts": 2,
    "channels": 8,
    "frequency": False,
    "cross_band": False,
    "cross_expert": False,
    "hierarchical": False,
    "refine": False,
    "edges": False,
}
NAMES = ("B02", "B03", "B04", "B08")


@pytest.fixture(name="here")
def _here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for kind in ("convolution", "large-kernel"):
        light_checkpoint(tmp_path / kind, kind=kind)
    wanted = [ExpertConfig(str(tmp_path / kind)) for kind in ("convolution", "large-kernel")]
    model = build_model("expert-fusion", GATES, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.2)
    save_checkpoint(
        tmp_path / "fused",
        model,
        rgb_processor(4),
        task="super-resolution",
        provenance={},
        tile=32,
        overlap=16,
        experts=load_experts(wanted, scale=4).facts,
    )
    raw = (500 + 3000 * smooth(4, (72, 60))).astype(np.uint16)
    raw[:, :, :30] = 1500  # half of the scene has no detail
    write_tif(tmp_path / "s2.tif", raw, utm_grid((72, 60)), names=NAMES, nodata=0, tags={"BOA_ADD_OFFSET": "0"})
    return tmp_path


def read(path: str) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def facts(path: str) -> dict:
    return json.loads(Path(f"{path}.json").read_text())


@pytest.mark.usefixtures("here")
def test_a_fusion_restores_with_maps_and_equally_in_tiles():
    assert run(["restore", "-m", "./fused", "s2.tif", "-o", "a.tif", "--save", "gates,sigma"]) == 0
    assert run(["restore", "-m", "./fused", "s2.tif", "-o", "b.tif", "--tile", "256"]) == 0
    assert np.array_equal(read("a.tif"), read("b.tif"))
    told = facts("a.tif")
    gates, sigma = (read(told["maps"][name]) for name in ("gates", "sigma"))
    assert gates.shape == (2, 288, 240)  # two experts, alike for the two groups of bands
    assert np.allclose(gates.sum(axis=0), 1, atol=1e-5)
    assert sigma.shape == (4, 288, 240)
    assert sigma[:, :, :80].mean() < sigma[:, :, 140:].mean()
    assert "tiles_by_experts" not in told


@pytest.mark.usefixtures("here")
def test_a_budget_of_tiles_leaves_easy_ones_to_the_first_expert():
    assert run(["restore", "-m", "./fused", "s2.tif", "-o", "whole.tif"]) == 0
    assert run(["restore", "-m", "./fused", "s2.tif", "-o", "half.tif", "--budget", "50%"]) == 0
    told = facts("half.tif")["tiles_by_experts"]
    assert told["share"] == 0.5
    assert told["easy"] > 0
    assert told["hard"] > 0
    assert facts("half.tif")["tiles"]["mode"] == "blend"
    whole, half = read("whole.tif").astype(float), read("half.tif").astype(float)
    assert whole.shape == half.shape
    # the flat half is one colour to every expert; what differs lies where the tiles have detail
    assert np.abs(whole - half)[:, :, :60].max() <= 1
    assert np.abs(whole - half).max() > 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("budget", ["0%", "120%", "half", "-3"])
def test_a_budget_is_megabytes_or_a_share(capsys, budget):
    assert run(["restore", "-m", "./fused", "s2.tif", "-o", "x.tif", "--budget", budget]) == 2
    assert "budget" in capsys.readouterr().err
    assert not Path("x.tif").exists()


@pytest.mark.usefixtures("here")
def test_a_share_is_for_fusions(capsys):
    arguments = ["restore", "-m", "./convolution", "s2.tif", "-o", "x.tif", "--budget", "50%"]
    assert run(arguments) == 2
    assert "fuses no experts" in capsys.readouterr().err
    assert run([*arguments, "--dry-run"]) == 2
    assert run(["restore", "-m", "./fused", "s2.tif", "-o", "x.tif", "--budget", "50%", "--dry-run"]) == 0
    assert not Path("x.tif").exists()


def test_a_missing_expert_is_an_error_and_writes_nothing(here, capsys):
    (here / "large-kernel" / "config.json").unlink()
    assert run(["restore", "-m", "./fused", "s2.tif", "-o", "x.tif"]) == 4
    assert "large-kernel" in capsys.readouterr().err
    assert not list(here.glob("x.tif*"))
