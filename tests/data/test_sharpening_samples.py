from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eorestore.config import RunConfig, parse_settings
from eorestore.data.sharpening_samples import SharpeningSamples, sharpening_samples, wald_maps
from eorestore.data.two_grid_scenes import TwoGridRow, read_two_grids
from eorestore.errors import ConfigError, DataError
from eorestore.models.table import build_model
from eorestore.processing.table import PROCESSORS
from two_grid_scenes import write_scene

PROCESSOR = PROCESSORS["sentinel2-20m"]()


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for seed, name in enumerate(("a", "b", "c")):
        write_scene(folder / name, height=64, width=80, seed=seed)
    (folder / "scenes.csv").write_text(
        "id,place,split,scene\na,a,train,a\nb,b,train,b\nc,c,validation,c\n", encoding="utf-8"
    )
    return folder


def config(world: Path, **changes) -> RunConfig:
    data = {"manifest": str(world / "scenes.csv"), "crop": 16, "items_per_epoch": 12, "validation_items": 5}
    values = {
        "name": "small",
        "task": "band-sharpening",
        "processor": "sentinel2-20m",
        "model": {"name": "band-sharpening"},
        "data": data | changes,
        "losses": {"l1": 1.0},
    }
    return parse_settings(RunConfig, values, source="test")


def samples(world: Path, **changes) -> SharpeningSamples:
    row = TwoGridRow("a", "a", "train", world / "a")
    given = {"crop": 16, "length": 20, "seed": 3, "vary": True} | changes
    return SharpeningSamples([row], **given)


def test_all_bands_are_halved_and_the_coarse_ones_before_are_the_target(world):
    scene = read_two_grids(world / "a")
    maps = wald_maps(scene)
    assert maps["multispectral"].shape == maps["target"].shape == (10, 32, 40)
    np.testing.assert_array_equal(maps["target"][4:], scene.coarse)
    for whole, found in ((scene.fine, maps["multispectral"][:4]), (scene.coarse, maps["multispectral"][4:, ::2, ::2])):
        blurred = gaussian_filter(whole.astype(float), (0, 0.5, 0.5), truncate=2)
        expected = blurred.reshape(len(whole), found.shape[1], 2, -1, 2).mean(axis=(2, 4))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    blocks = maps["multispectral"][4:].reshape(6, 16, 2, 20, 2)
    assert (blocks == blocks[:, :, :1, :, :1]).all()


def test_an_odd_last_row_is_left_out(world):
    scene = read_two_grids(world / "a")
    cut = type(scene)(scene.fine[:, :62], scene.coarse[:, :31], scene.valid[:31])
    maps = wald_maps(cut)
    assert maps["target"].shape == (10, 30, 40)
    np.testing.assert_array_equal(maps["target"][4:], scene.coarse[:, :30])


def test_a_crop_keeps_coarse_pixels_whole_however_it_is_turned(world):
    for item in (samples(world)[index] for index in range(20)):
        assert item["multispectral"].shape == item["target"].shape == (10, 16, 16)
        blocks = item["multispectral"][4:].reshape(6, 8, 2, 8, 2)
        assert torch.equal(blocks, blocks[:, :, :1, :, :1].expand_as(blocks))
        assert torch.equal(item["multispectral"][:4], item["target"][:4])
        assert item["valid"].all()


def test_an_item_depends_on_seed_epoch_and_index_alone(world):
    first, again = samples(world), samples(world)
    expected = [first[index]["target"] for index in range(4)]
    assert all(torch.equal(again[index]["target"], expected[index]) for index in (3, 1, 0, 2))
    again.set_epoch(1)
    assert not torch.equal(again[0]["target"], expected[0])
    assert not torch.equal(samples(world, seed=4)[0]["target"], expected[0])


def test_recolouring_gives_each_band_a_gain_of_its_own_in_input_and_target(world):
    plain, changed = samples(world)[2], samples(world, recolour=1.0)[2]
    gain = changed["target"] / plain["target"]
    torch.testing.assert_close(gain, gain[:, :1, :1].expand_as(gain))
    torch.testing.assert_close(changed["multispectral"], gain[:, :1, :1] * plain["multispectral"])
    assert gain[:, 0, 0].unique().numel() == 10
    assert gain.std() > 0.1


def test_validation_crops_stay_the_same(world):
    train, validation = sharpening_samples(config(world), PROCESSOR, build_model("band-sharpening", {}))
    assert (len(train), len(validation)) == (12, 5)
    before = validation[1]["target"]
    validation.set_epoch(3)
    assert torch.equal(validation[1]["target"], before)


def test_a_scene_smaller_than_a_crop_is_refused(world):
    with pytest.raises(DataError, match="32 x 40 pixels at half"):
        samples(world, crop=34)


@pytest.mark.parametrize(
    ("model", "settings", "processor", "changes", "match"),
    [
        ("band-sharpening", {"bands": 9}, "sentinel2-20m", {}, "4 fine of 9 bands"),
        ("band-sharpening", {"fine": 3}, "sentinel2-20m", {}, "3 fine of 10 bands"),
        ("band-sharpening", {}, "glf-cr", {}, "not for sharpening"),
        ("band-sharpening", {}, "sentinel2-20m", {"synthetic": 3}, "scenes alone"),
        ("band-sharpening", {}, "sentinel2-20m", {"manifest": None, "synthetic": 3}, "scenes alone"),
    ],
)
def test_what_does_not_belong_together_is_refused(world, model, settings, processor, changes, match):
    with pytest.raises(ConfigError, match=match):
        sharpening_samples(config(world, **changes), PROCESSORS[processor](), build_model(model, settings))


def test_a_split_without_a_scene_is_refused(world, tmp_path):
    path = tmp_path / "scenes.csv"
    path.write_text(f"id,place,split,scene\na,a,train,{world / 'a'}\n")
    with pytest.raises(DataError, match="no validation scene"):
        sharpening_samples(config(world, manifest=str(path)), PROCESSOR, build_model("band-sharpening", {}))
