"""What a zero-shot network is pretrained on: crops and sensors, and that no raster that scores it is among them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eorestore.config import load_config
from eorestore.data.simulated_thermal import simulate_thermal
from eorestore.data.thermal_samples import ThermalCrops, draw_sensor, scaled, thermal_samples
from eorestore.errors import ConfigError
from eorestore.layers.sensor import observe
from eorestore.models.catalogue import WEIGHTS_FOLDER
from eorestore.models.table import build_model
from eorestore.processing.sensor import Sensor
from eorestore.processing.table import PROCESSORS

PRESETS = Path(__file__).parents[2] / "presets"
SCORED = (
    "thermal/aster_lst_250m_0.npy",
    "thermal/mod11a1_1km.npy",
    "thermal/ahs_madrid_20m.npy",
    "thermal/landsat8_b10.npy",
    "thermal/landsat8_b10_kelvin.tif",
    "thermal/amsr2_tb.npz",
)


def crops(*, fixed=False, seed=0, count=3, **changes) -> ThermalCrops:
    generator = np.random.default_rng(0)
    scenes = [scaled(simulate_thermal(64, 70, kind="mixed", generator=generator)) for _ in range(count)]
    return ThermalCrops(scenes, **({"crop": 16, "scale": 2, "length": 20, "seed": seed, "fixed": fixed} | changes))


def test_an_item_is_a_coarse_crop_and_what_it_is_a_crop_of():
    for index in range(20):
        item = crops()[index]
        assert (item["low"].shape, item["target"].shape) == ((1, 16, 16), (1, 32, 32))
        assert item["valid"].all()
        coarse = observe(item["target"][None], Sensor("mean"), factor=2)[0]
        inner = (..., slice(3, -3), slice(3, -3))
        # an optical blur leaves more at an edge than a mean does; a crop of another place would be off by its deviation
        assert (coarse - item["low"])[inner].abs().mean() < 0.3 * float(item["target"].std()) + 0.02


def test_most_items_are_block_means_of_their_targets():
    exact = [
        torch.allclose(observe(item["target"][None], Sensor("mean"), factor=2)[0], item["low"], atol=1e-5)
        for item in map(crops(length=60).__getitem__, range(60))
    ]
    assert 0.5 < np.mean(exact) < 0.9


def test_some_items_are_smoother_than_their_grid_and_some_noisy():
    """About a third each: white noise loses its finest detail, and a ramp gets some."""
    generator = np.random.default_rng(0)
    white = generator.standard_normal((64, 70)).astype(np.float32)
    ramp = np.linspace(0, 1, 70, dtype=np.float32)[None].repeat(64, axis=0)

    def rough(scene):
        made = ThermalCrops([scene], crop=16, scale=2, length=80, seed=0, fixed=False)
        targets = [made[index]["target"][0].numpy() for index in range(80)]
        return np.array([np.square(np.diff(target, 2, axis=1)).mean() for target in targets])

    assert 0.15 < np.mean(rough(white) < 0.5 * np.median(rough(white))) < 0.5
    assert 0.15 < np.mean(rough(ramp) > 1e-6) < 0.55


def test_an_item_hangs_on_seed_epoch_and_number_alone():
    first, again, other = crops(), crops(), crops(seed=1)
    assert torch.equal(first[7]["target"], again[7]["target"])
    assert not torch.equal(first[7]["target"], other[7]["target"])
    again.set_epoch(1)
    assert not torch.equal(first[7]["target"], again[7]["target"])


def test_validation_is_the_same_in_every_epoch_and_ends():
    validation = crops(fixed=True)
    before = validation[3]["target"]
    validation.set_epoch(5)
    assert torch.equal(validation[3]["target"], before)
    with pytest.raises(IndexError):
        validation[20]


def test_sensors_are_mostly_block_means():
    drawn = [draw_sensor(np.random.default_rng(seed)) for seed in range(400)]
    kinds = [sensor.kind for sensor in drawn]
    assert kinds.count("mean") == pytest.approx(280, abs=35)
    assert kinds.count("gaussian") == pytest.approx(80, abs=30)
    assert kinds.count("bicubic") > 10
    assert {sensor.mtf for sensor in drawn if sensor.kind == "gaussian"} <= {0.1, 0.2, 0.3, 0.4, 0.5}


def test_scaling_clips_nothing_and_leaves_a_flat_scene_finite():
    scene = np.random.default_rng(0).normal(300, 5, (50, 50))
    low, high = np.percentile(scene, (1, 99))
    assert np.allclose(scaled(scene) * (high - low) + low, scene, atol=1e-4)
    assert np.array_equal(scaled(np.full((4, 4), 280.0)), np.zeros((4, 4)))


def test_simulated_scenes_that_hold_no_crop_are_refused():
    config = load_config(PRESETS / "zero-shot-x2.yaml", {"data.synthetic_size": 64})
    with pytest.raises(ConfigError, match="64 pixels"):
        thermal_samples(config, PROCESSORS["thermal-x2"](), build_model("zero-shot-sr", {"channels": 8, "blocks": 1}))


def test_a_model_of_another_scale_than_the_processor_is_refused():
    config = load_config(PRESETS / "zero-shot-x2.yaml")
    with pytest.raises(ConfigError) as caught:
        thermal_samples(config, PROCESSORS["thermal-x2"](), build_model("zero-shot-sr", {"scale": 4}))
    assert "thermal-x4" in caught.value.fix


def test_pretraining_names_aerial_images_and_simulated_scenes_alone():
    config = load_config(PRESETS / "zero-shot-x2.yaml")
    assert Path(config.data.manifest).name == "aerial.csv"
    rows = (PRESETS / "images" / "aerial.csv").read_text().splitlines()
    column = rows[0].split(",").index("high")
    assert all(row.split(",")[column].startswith("sr/UCMerced/") for row in rows[1:])
    names = {Path(name).stem for name in SCORED}
    assert not [row for row in rows if "thermal" in row or any(name in row for name in names)]


def test_no_scored_raster_is_an_image_that_is_learned_from(real_data):
    """By content: a copy under another name would be found."""
    rows = (PRESETS / "images" / "aerial.csv").read_text().splitlines()
    column = rows[0].split(",").index("high")
    paths = [real_data / row.split(",")[column] for row in rows[1:]]
    learned = {digest(path) for path in paths if path.is_file()}
    scored = {digest(real_data / name) for name in SCORED if (real_data / name).is_file()}
    if not learned or not scored:
        pytest.skip("the images or the rasters are not here")
    assert not learned & scored


def test_the_shipped_start_was_trained_on_the_manifest_and_on_no_scored_raster(real_data):
    told = WEIGHTS_FOLDER / "zero-shot-x2" / "config.json"
    if not told.is_file():
        pytest.skip("the weights zero-shot-x2 are not in this checkout")
    text = told.read_text()
    for name in SCORED:
        assert Path(name).stem not in text
        if (real_data / name).is_file():
            assert digest(real_data / name) not in text
    assert "provenance" in json.loads(text)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
