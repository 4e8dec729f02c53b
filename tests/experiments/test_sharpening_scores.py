import numpy as np
import pytest
import torch

from eorestore.config import RunConfig, parse_settings
from eorestore.data.two_grid_scenes import TwoGridRow
from eorestore.errors import UsageError
from eorestore.experiments.sharpening import score_sharpening
from eorestore.experiments.training_run import train
from eorestore.losses.weighted import WeightedSum
from eorestore.models.model import Output
from eorestore.raster import SENTINEL2_20M
from eorestore.tasks.band_sharpening import BAND_SHARPENING, LOSSES
from eorestore.tasks.table import TASKS
from two_grid_scenes import write_scene


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training of seconds through the configuration, and its scenes."""
    folder = tmp_path_factory.mktemp("run")
    lines = ["id,place,split,scene"]
    for seed, (name, split) in enumerate((("a", "train"), ("b", "validation"))):
        write_scene(folder / name, height=96, width=96, seed=seed)
        lines.append(f"{name},{name},{split},{name}")
    (folder / "scenes.csv").write_text("\n".join(lines) + "\n")
    values = {
        "name": "small",
        "task": "band-sharpening",
        "processor": "sentinel2-20m",
        "model": {"name": "band-sharpening", "settings": {"channels": 8, "blocks": 1}},
        "data": {"manifest": str(folder / "scenes.csv"), "crop": 24, "items_per_epoch": 64, "validation_items": 4},
        "losses": {"l1": 100.0},
        "training": {"steps": 16, "batch": 4, "learning_rate": 5e-3, "validate_every": 8, "best_by": "rmse_dn"},
        "gpu": "not needed",
        "tile": 64,
        "overlap": 0,
    }
    return train(parse_settings(RunConfig, values, source="test"), out=folder), folder


def rows(folder):
    return [TwoGridRow(name, name, "test", folder / name) for name in ("a", "b")]


def test_the_task_is_in_the_table():
    assert TASKS["band-sharpening"] is BAND_SHARPENING


@pytest.mark.parametrize("name", LOSSES)
def test_invalid_pixels_reach_no_loss(name):
    generator = torch.Generator().manual_seed(0)
    image, target = (torch.rand(2, 10, 16, 16, generator=generator) for _ in range(2))
    image.requires_grad_()
    valid = torch.ones(2, 1, 16, 16, dtype=torch.bool)
    valid[..., 8:] = False
    WeightedSum(LOSSES, {name: 1.0})(Output(image), {"target": target, "valid": valid})[0].backward()
    assert image.grad[..., :6].any()
    assert not image.grad[..., 9:].any()


def test_the_fine_bands_count_in_no_score():
    generator = torch.Generator().manual_seed(0)
    image, target = (torch.rand(2, 10, 16, 16, generator=generator) for _ in range(2))
    batch = {"target": target, "valid": torch.ones(2, 1, 16, 16, dtype=torch.bool)}
    for metric in BAND_SHARPENING.metrics.values():
        before = metric(image, batch)
        changed = image.clone()
        changed[:, :4] += 1
        assert torch.equal(metric(changed, batch), before)
        assert before.shape == (2,)
    errors = (image - target)[:, 4:].square().mean(dim=(2, 3)).sqrt().mean(dim=1)
    np.testing.assert_allclose(BAND_SHARPENING.metrics["rmse_dn"](image, batch), 1e4 * errors, rtol=1e-5)


def test_a_preset_trains_and_its_checkpoint_is_scored_beside_the_baselines(run):
    trained, folder = run
    checkpoint = str(trained.folder / "best")
    found = score_sharpening(["bicubic-20m", "high-pass-injection", checkpoint], rows(folder))
    assert [(one.model, one.scene) for one in found[:3]] == [
        ("bicubic-20m", "a"),
        ("high-pass-injection", "a"),
        (checkpoint, "a"),
    ]
    bicubic, _, ours = found[3:]
    assert tuple(ours.rmse_dn) == SENTINEL2_20M.names
    assert ours.percent_below(bicubic) == pytest.approx(100 * (1 - ours.mean_rmse_dn / bicubic.mean_rmse_dn))
    assert ours.percent_below(bicubic) > 0
    assert bicubic.percent_below(bicubic) == 0


@pytest.mark.parametrize(("name", "match"), [("identity", "does not sharpen"), ("s2-20m.yaml", "preset")])
def test_what_does_not_sharpen_is_refused(run, name, match, tmp_path):
    if name.endswith(".yaml"):
        (tmp_path / name).write_text("name: x\n")
        name = str(tmp_path / name)
    with pytest.raises(UsageError, match=match):
        score_sharpening([name], rows(run[1]))
