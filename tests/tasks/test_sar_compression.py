import json
import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from eorestore.cli.app import run
from eorestore.config import load_config
from eorestore.experiments.training_run import train
from eorestore.models.catalogue import preset_names
from eorestore.models.checkpoint import check_checkpoint, load_checkpoint
from eorestore.models.model import Output
from eorestore.models.table import build_model
from eorestore.tasks.sar_compression import LOSSES, SAR_COMPRESSION
from eorestore.tasks.table import TASKS

PRESETS = [name for name in preset_names() if name.startswith("sar-autoencoder")]
SMALL = {
    "data.manifest": None, "data.synthetic": 2, "data.synthetic_size": 48, "data.crop": 32, "data.items_per_epoch": 8,
    "data.validation_items": 3, "data.workers": 0, "model.settings.channels": [4, 16], "tile": 32, "overlap": 8,
    "gpu": "not needed",
}  # fmt: skip


def batch(seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, 1, 48, 48, generator=generator)
    image = (target + 0.1 * torch.randn(target.shape, generator=generator)).requires_grad_()
    return image, {"sar": target, "target": target, "valid": torch.ones(2, 1, 48, 48, dtype=torch.bool)}


def test_the_task_is_in_the_table():
    assert TASKS["sar-compression"] is SAR_COMPRESSION


def test_mse_times_1600_is_in_decibels_squared():
    image, seen = batch()
    assert 1600 * LOSSES["mse"](Output(image), seen).item() == pytest.approx(
        float(np.mean((40 * (image - seen["target"]).detach().numpy()) ** 2)), rel=1e-5
    )


@pytest.mark.parametrize("name", LOSSES)
def test_invalid_pixels_reach_no_loss(name):
    image, seen = batch()
    seen["valid"][:, :, :, 20:] = False
    LOSSES[name](Output(image), seen).backward()
    assert not image.grad[..., 20:].any()
    assert image.grad[..., :20].any()


def test_psnr30_is_that_of_the_clipped_image_in_decibels():
    image, seen = batch()
    found = SAR_COMPRESSION.metrics["psnr30"](image, seen)
    error = 40 * (image.detach().clamp(0, 1) - seen["target"]).numpy()
    expected = [20 * math.log10(30 / math.sqrt(float((one.astype(np.float64) ** 2).mean()))) for one in error]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_ssim_is_that_of_scikit_image_over_the_window():
    image, seen = batch()
    one = image.detach().clamp(0, 1).double()[0, 0].numpy()
    other = seen["target"].double()[0, 0].numpy()
    _, whole = structural_similarity(
        one, other, data_range=1.0, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    assert SAR_COMPRESSION.metrics["ssim"](image, seen)[0].item() == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-5)


def test_a_constant_image_has_no_score_that_is_infinite():
    image, seen = batch()
    scores = {name: metric(torch.full_like(image, 0.5), seen) for name, metric in SAR_COMPRESSION.metrics.items()}
    assert not any(torch.isinf(value).any() for value in scores.values())
    assert torch.isfinite(scores["psnr30"]).all()


def test_the_plans_three_variants_are_there_in_both_sizes():
    assert set(PRESETS) == {f"sar-autoencoder-{size}{v}" for size in ("", "compact-") for v in "abc"}
    counts = {}
    for name in PRESETS:
        config = load_config(preset_names()[name])
        with torch.device("meta"):
            model = build_model(config.model.name, config.model.settings)
        counts[name] = sum(weight.numel() for weight in model.parameters())
        assert config.training.best_by in SAR_COMPRESSION.metrics
        assert set(config.losses) <= set(LOSSES)
        assert config.data.crop % model.multiple_of == 0
        assert (config.gpu == "wanted") is ("compact" not in name)
    assert counts["sar-autoencoder-a"] == 1_852_625
    assert counts["sar-autoencoder-c"] - counts["sar-autoencoder-b"] == 2 * 256 * 16 + 2 * 49


@pytest.mark.parametrize("variant", ["a", "c"])
def test_a_compact_preset_trains_and_its_checkpoint_gives_the_same_image(variant, tmp_path):
    config = load_config(preset_names()[f"sar-autoencoder-compact-{variant}"], SMALL)
    result = train(config, out=tmp_path, smoke=True)
    assert math.isfinite(result.result.scores["psnr30"])
    assert check_checkpoint(result.folder / "best").example_error < 1e-5
    assert json.loads((result.folder / "best" / "config.json").read_text())["task"] == "sar-compression"


def test_a_run_can_begin_with_the_weights_of_one_of_a_wider_latent(tmp_path):
    preset = preset_names()["sar-autoencoder-compact-a"]
    wide = train(load_config(preset, SMALL), name="wide", out=tmp_path, smoke=True)
    source = str(wide.folder / "last")
    # a rate so small that three steps leave the weights where they were
    changes = SMALL | {
        "model.settings.latent": 4,
        "start": source,
        "training.learning_rate": 1e-12,
        "training.ema": 0.0,
    }
    narrow = train(load_config(preset, changes), name="narrow", out=tmp_path, smoke=True)
    found, given = (load_checkpoint(run.folder / "last").model.state_dict() for run in (narrow, wide))
    same = {
        name
        for name, value in found.items()
        if value.shape == given[name].shape and torch.allclose(value, given[name], rtol=0, atol=1e-8)
    }
    assert set(found) - same == {"encoder.4.weight", "encoder.4.bias", "decoder.0.weight"}
    assert narrow.record.data[f"start {source}"] == load_checkpoint(source).sha256


@pytest.mark.real
def test_a_record_holds_the_hash_of_every_band(real_data, tmp_path):
    values = {key: value for key, value in SMALL.items() if key != "data.manifest"} | {
        "data.manifest": "presets/scenes/public-sar.csv",
        "data.root": str(real_data),
    }
    result = train(load_config(preset_names()["sar-autoencoder-compact-a"], values), out=tmp_path, smoke=True)
    assert {"public-sar.csv", "sar/train/whu_hill_VH.npy"} <= set(result.record.data)


@pytest.mark.real
def test_the_dry_run_counts_the_bands_of_each_split(real_data, capsys):
    assert run(["train", "-c", "sar-autoencoder-a", "-s", f"data.root={real_data}", "--dry-run"]) == 0
    assert "5 test, 27 train, 6 validation" in capsys.readouterr().out
