"""Samples of cloud removal as a preset asks for them: simulated or real, with bands dropped in training alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eorestore.config import DataSettings, ModelConfig, RunConfig, parse_settings
from eorestore.data.cloud_pairs import CloudPairs
from eorestore.data.cloud_samples import cloud_samples
from eorestore.data.real_pairs import RealPairs
from eorestore.data.scene_arrays import save_scene
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import ConfigError, DataError
from eorestore.models.model import Model, Prepared, Settings
from eorestore.processing.table import PROCESSORS

SIZES = {"crop": 32, "items_per_epoch": 12, "validation_items": 4, "synthetic_size": 48, "cloud_size_px": (8, 24)}


def config(**data) -> RunConfig:
    return RunConfig("run", "cloud-removal", ModelConfig("some-net"), DataSettings(**SIZES | data), {"l1": 1.0})


def model(*, optional: tuple[str, ...] = (), learns: bool = False) -> Model:
    class Remembering(Model):
        settings_type = Settings
        optional_inputs = optional
        needs_scene = learns

        def prepare(self, scene):
            return Prepared(constants={"lost": scene.windows[0]["sar"].isnan().float().mean()})

    return Remembering(Settings())


@pytest.fixture
def manifest(tmp_path):
    lines = ["id,place,split,optical,sar,reference"]
    for number, split in enumerate(["train", "train", "validation"]):
        scene = synthetic_scene((48, 48), generator=np.random.default_rng(number))
        bright = replace(scene.optical, values=scene.optical.values * np.float32(0.8) + np.float32(0.01))
        save_scene(tmp_path / f"{number}.npz", optical=bright, sar=scene.sar)
        save_scene(tmp_path / f"clear-{number}.npz", optical=scene.optical)
        lines.append(f"{number},place {number},{split},{number}.npz,{number}.npz,clear-{number}.npz")
    path = tmp_path / "scenes.csv"
    path.write_text("\n".join(lines))
    return str(path)


def test_real_pairs_are_the_cloudy_scenes_of_the_manifest_beside_their_references(manifest):
    samples = cloud_samples(config(manifest=manifest, pairs="real"), PROCESSORS["glf-cr"](), model())
    for pairs in samples:
        assert isinstance(pairs, RealPairs)
        sample = pairs[0]
        ways = torch.linalg.lstsq(
            torch.stack([sample["target"][3].ravel(), torch.ones(32 * 32)], dim=1), sample["cloudy"][3].ravel()[:, None]
        ).solution.ravel()
        torch.testing.assert_close(ways, torch.tensor([0.8, 0.01]), atol=1e-3, rtol=0)


def test_simulated_clouds_are_the_default_and_all_that_invented_scenes_have(manifest):
    processor = PROCESSORS["glf-cr"]()
    assert isinstance(cloud_samples(config(manifest=manifest), processor, model())[0], CloudPairs)
    assert isinstance(cloud_samples(config(synthetic=1, pairs="real"), processor, model())[0], CloudPairs)


def test_real_pairs_need_a_split_for_validation(manifest, tmp_path):
    path = tmp_path / "less.csv"
    path.write_text("\n".join(Path(manifest).read_text().splitlines()[:-1]))
    with pytest.raises(DataError, match="no validation scene"):
        cloud_samples(config(manifest=str(path), pairs="real"), PROCESSORS["glf-cr"](), model())


@pytest.mark.parametrize("pairs", ["simulated", "real"])
def test_training_scenes_lose_sar_bands_and_validation_scenes_do_not(manifest, pairs):
    settings = config(manifest=manifest, pairs=pairs, drop_sar=0.4, drop_vh=0.3)
    train, validation = cloud_samples(settings, PROCESSORS["glf-cr"](), model(optional=("sar",), learns=True))
    states = set()
    for index in range(12):
        sample = train[index]
        lost = tuple(bool(band.isnan().all()) for band in sample["sar"])
        assert sample["sar"].isnan().float().mean() == sum(lost) / 2 == sample["lost"]
        states.add(lost)
    assert states == {(True, True), (False, True), (False, False)}
    assert all(validation[index]["sar"].isfinite().all() for index in range(4))


@pytest.mark.parametrize("share", ["drop_sar", "drop_vh"])
def test_a_model_that_needs_sar_is_named_where_sar_is_dropped(share):
    with pytest.raises(ConfigError, match="some-net cannot"):
        cloud_samples(config(synthetic=1, **{share: 0.1}), PROCESSORS["glf-cr"](), model())


def test_sar_is_moved_as_far_as_the_preset_says():
    def sar(shift: float) -> torch.Tensor:
        train, _ = cloud_samples(config(synthetic=1, sar_shift_px=shift), PROCESSORS["glf-cr"](), model())
        return train[0]["sar"]

    assert torch.equal(sar(0.5), sar(0.5))
    near, far = ((sar(0.0) - sar(shift)).abs().mean() for shift in (0.1, 2.0))
    assert 0 < near < far


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("four-band", {}, "some-net has bands 13, and processor four-band gives 4 optical bands"),
        ("glf-cr", {"bands": 4}, "some-net has bands 4, and processor glf-cr gives 13 optical bands"),
        ("glf-cr", {"sar_bands": 1}, "some-net has sar_bands 1, and processor glf-cr gives 2 SAR bands"),
    ],
)
def test_a_model_of_other_bands_than_the_processor_is_refused(name, settings, says):
    from eorestore.models.glf_cr import GLFCRSettings

    net = model()
    net.settings = GLFCRSettings(**settings)
    with pytest.raises(ConfigError, match=says):
        cloud_samples(replace(config(synthetic=1), processor=name), PROCESSORS[name](), net)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"synthetic": 1, "drop_sar": 0.7, "drop_vh": 0.5}, "more than all scenes"),
        (
            {"manifest": "a.csv", "pairs": "real", "synthetic": 2, "skies": 8},
            "synthetic is for simulated clouds.*skies",
        ),
        ({"manifest": "a.csv", "pairs": "both"}, "pairs"),
        ({"synthetic": 1, "sar_shift_px": -1.0}, "sar_shift_px"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, says):
    with pytest.raises(ConfigError, match=says):
        parse_settings(DataSettings, values, source="preset")
