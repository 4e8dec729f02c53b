"""A SAR autoencoder through the command line: trained for a few steps, then a scene restored with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from eorestore.cli.app import run
from small_sar import sar_values, write_sar
from small_scenes import read_tif

PRESET = """
name: tiny
task: sar-compression
processor: sar-vv
model: {name: sar-autoencoder, settings: {channels: [8], latent: 8, norm: none, output: linear}}
data: {synthetic: 2, synthetic_size: 64, crop: 32, items_per_epoch: 320, validation_items: 4}
losses: {mse: 800.0}
training: {steps: 80, batch: 4, warmup: 5, learning_rate: 5.0e-3, best_by: psnr30, best_is: highest, pictures: 0}
tile: 64
overlap: 16
gpu: not needed
"""


def test_a_scene_is_decoded_with_a_network_that_was_just_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(PRESET)
    assert run(["train", "-c", "tiny.yaml", "--name", "autoencoder"]) == 0
    values = sar_values((96, 120))[:1]
    write_sar(Path("s1.tif"), values)
    assert run(["restore", "-m", "autoencoder", "s1.tif", "-o", "out.tif"]) == 0
    assert "100.0% of the valid pixels restored by autoencoder" in capsys.readouterr().out
    result = read_tif(Path("out.tif"))
    error = np.sqrt(np.mean((result - values) ** 2))
    assert error < 0.9 * values.std()  # better than a constant
    assert json.loads(Path("out.tif.json").read_text())["mask"] == "none"
    assert Path("out.tif.preview.png").is_file()


def test_a_scene_without_the_polarisation_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(PRESET.replace("steps: 80", "steps: 5"))
    assert run(["train", "-c", "tiny.yaml", "--name", "autoencoder"]) == 0
    write_sar(Path("vh.tif"), sar_values((64, 64))[1:], names=("VH",))
    capsys.readouterr()
    assert run(["restore", "-m", "autoencoder", "vh.tif", "-o", "out.tif"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: autoencoder needs VV; vh.tif has VH"
    assert lines[1].startswith("fix: give a file with these bands")
