"""Training samples of simulated clouds: stateless, aligned, augmented with one draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.morphology import dilation, disk

from eorestore.data.cloud_pairs import ClearScene, CloudPairs, grow_mask
from eorestore.data.cloud_simulation import CloudSettings
from eorestore.errors import ConfigError, DataError, GridError
from eorestore.models.model import Prepared, SceneSample
from eorestore.processing.normalize import BandScaling
from eorestore.processing.processor import Processor, glf_cr_processor
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A, Grid, Raster, Unit

SIDE = 96
CLOUDS = CloudSettings(size_px=(8.0, 40.0), height_m=(100.0, 500.0))


def _scene(number: int = 0, *, side: int = SIDE, bands=SENTINEL2_L1C) -> ClearScene:
    """Every pixel says where it is: optical and SAR hold the same ramps, so that a shift of one would show."""
    rows, columns = np.mgrid[:side, :side].astype(np.float32) / side
    optical = np.stack([0.2 + 0.1 * number + 0.3 * (rows if row % 2 else columns) for row in range(len(bands))])
    sar = np.stack([-25 * (1 - 0.9 * columns), -32.5 * (1 - 0.9 * rows)]).astype(np.float32)
    valid = np.ones((side, side), bool)
    valid[:5] = False
    grid = Grid('PROJCS["any"]', (10.0, 0, 0, 0, -10.0, 0), side, side)
    return ClearScene(
        str(number),
        f"place {number}",
        Raster(optical.astype(np.float32), valid, bands, grid),
        Raster(sar, np.ones_like(valid), SENTINEL1, grid),
    )


def _pairs(count: int = 3, **options) -> CloudPairs:
    scenes = options.pop("scenes", [_scene(number) for number in range(count)])
    processor = options.pop("processor", glf_cr_processor())
    defaults = {"crop": 32, "settings": CLOUDS, "cover": (0.3, 0.6), "length": 48, "seed": 5}
    return CloudPairs(scenes, processor, **(defaults | options))


def _equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def _filling_processor() -> Processor:
    bands = glf_cr_processor().output.bands
    filled = tuple(replace(band, fill=0.25) if band.name == "B10" else band for band in bands)
    return replace(glf_cr_processor(), inputs={**glf_cr_processor().inputs, "cloudy": BandScaling(filled)})


def test_a_sample_has_the_names_shapes_and_types_of_the_contract():
    sample = _pairs()[0]
    shapes = {name: (tuple(values.shape), values.dtype) for name, values in sample.items()}
    flag, number = torch.bool, torch.float32
    assert shapes == {
        "cloudy": ((13, 32, 32), number),
        "sar": ((2, 32, 32), number),
        "mask": ((1, 32, 32), number),
        "target": ((13, 32, 32), number),
        "valid": ((1, 32, 32), flag),
        "cloud": ((1, 32, 32), flag),
        "shadow": ((1, 32, 32), flag),
        "thickness": ((1, 32, 32), number),
    }


def test_items_depend_on_seed_epoch_and_index_alone():
    there, back = _pairs(augment=True), _pairs(augment=True)
    forwards = [there[index] for index in range(12)]
    backwards = [back[index] for index in reversed(range(12))][::-1]
    assert all(_equal(one, two) for one, two in zip(forwards, backwards, strict=True))
    assert not _equal(forwards[0], _pairs(augment=True, seed=6)[0])


def test_another_epoch_draws_anew_and_the_first_comes_back():
    pairs = _pairs(augment=True)
    first = pairs[7]
    pairs.set_epoch(1)
    assert not _equal(first, pairs[7])
    pairs.set_epoch(0)
    assert _equal(first, pairs[7])


def test_a_sample_may_be_written_to_without_harm_to_the_next():
    pairs = _pairs()
    pairs[0]["cloudy"].zero_()
    assert _equal(pairs[1], _pairs()[1])


@pytest.mark.parametrize("augment", [False, True])
def test_crops_and_turns_are_the_same_for_all_rasters(augment: bool):
    pairs = _pairs(augment=augment)
    for index in range(24):
        sample = pairs[index]
        inside = sample["valid"][0]
        # B01 and VV hold the column, B02 and VH the row: they must agree pixel by pixel.
        for optical, radar in ((0, 0), (1, 1)):
            place = sample["target"][optical][inside] - sample["target"][optical][inside].mean()
            seen = sample["sar"][radar][inside] - sample["sar"][radar][inside].mean()
            assert torch.dot(place, seen) / (place.norm() * seen.norm()) > (0.75 if augment else 0.999)
        clear = inside & (sample["mask"][0] == 0)
        difference = (sample["cloudy"] - sample["target"])[:, clear].abs()
        assert difference.numel() == 0 or difference.max() < 0.06


def test_all_turns_and_flips_occur():
    pairs = _pairs(augment=True, length=160, crops_per_scene=1)
    seen = set()
    for index in range(160):
        # Over clear ground the ramps of B01 and B02 tell which way the scene lies.
        target = pairs[index]["target"]
        steps = [target[band, :, 1:] - target[band, :, :-1] for band in (0, 1)]
        downs = [target[band, 1:] - target[band, :-1] for band in (0, 1)]
        seen.add(tuple(int(torch.sign(part.mean().round(decimals=4))) for part in (*steps, *downs)))
    assert len(seen) == 8


def test_validation_is_not_augmented():
    sample = _pairs(augment=False, crop=None)[0]
    clear = _scene(0), _scene(1), _scene(2)
    sar = [torch.from_numpy(glf_cr_processor().encode_one("sar", scene.sar)) for scene in clear]
    assert any(torch.equal(sample["sar"], one) for one in sar)
    assert any(torch.equal(sample["target"][:, 5:], torch.from_numpy(one.optical.values[:, 5:96])) for one in clear)


def test_the_whole_scene_is_cut_to_a_multiple_of_16():
    scene = _scene(side=70)
    assert _pairs(scenes=[scene], crop=None)[0]["cloudy"].shape == (13, 64, 64)


def test_every_scene_is_used_once_before_any_is_used_twice():
    pairs = _pairs(5, crops_per_scene=2, length=20, crop=None)
    used = []
    for index in range(0, 20, 2):
        whole = pairs[index]["target"]
        used.append(round((float(whole.mean()) - 0.35) / 0.1))
    assert sorted(used[:5]) == sorted(used[5:]) == [0, 1, 2, 3, 4]


def test_prepare_sees_the_whole_scene_and_its_maps_are_cut_like_the_rest():
    seen = []

    def prepare(scene: SceneSample) -> Prepared:
        seen.append(scene)
        window = scene.windows[0]
        return Prepared(
            maps={"estimate": 2 * window["cloudy"][:, :3], "hole": window["mask"]},
            constants={"mean": window["cloudy"].mean(dim=(0, 2, 3))},
        )

    pairs = _pairs(prepare=prepare, augment=True)
    for index in range(8):
        sample = pairs[index]
        assert torch.equal(sample["estimate"], 2 * sample["cloudy"][:3])
        assert torch.equal(sample["hole"], torch.maximum(sample["mask"], (~sample["valid"]).float()))
        assert sample["mean"].shape == (13,)
    assert len(seen) == 2
    scene = seen[0]
    assert scene.factor == 1
    assert len(scene.windows) == 1
    assert set(scene.overview) == {"cloudy", "sar", "mask"}
    assert scene.overview["cloudy"].shape == (1, 13, SIDE, SIDE)
    assert torch.equal(scene.overview["mask"], scene.windows[0]["mask"])


def test_the_mask_covers_cloud_and_shadow_with_a_margin():
    sample = _pairs(crop=None)[3]
    hidden = (sample["cloud"] | sample["shadow"])[0].numpy()
    np.testing.assert_array_equal(sample["mask"][0].numpy(), dilation(hidden, disk(3)).astype(np.float32))


@pytest.mark.parametrize("margin", [0, 1, 3, 5])
def test_growing_a_mask_is_dilation_with_a_disc(margin: int):
    mask = np.random.default_rng(0).random((40, 50)) > 0.97
    np.testing.assert_array_equal(grow_mask(mask, margin), dilation(mask, disk(margin)))


def test_recoloured_scenes_have_clouds_and_target_over_the_same_ground():
    sample = _pairs(recolour=1.0)[0]
    plain = _pairs(recolour=0.0)[0]
    assert not torch.equal(sample["target"], plain["target"])
    clear = (sample["mask"] < 0.5) & sample["valid"]
    assert torch.allclose(sample["cloudy"] * clear, sample["target"] * clear, atol=0.02)


def test_scenes_may_be_masked_as_a_whole_and_keep_their_colours():
    plain, whole = _pairs(), _pairs(mask_all=1.0, recolour=1.0)
    for index in range(3):
        assert bool((whole[index]["mask"] == 1).all())
        assert not bool((plain[index]["mask"] == 1).all())
        assert bool((whole[index]["cloud"] != whole[index]["mask"].bool()).any())
    shaded = [bool((whole[index]["cloud"] | whole[index]["shadow"]).all()) for index in range(0, 40, 4)]
    assert 1 <= sum(shaded) <= 9  # half lie wholly in shadow
    recoloured = _pairs(recolour=1.0)
    assert float((whole[0]["target"].mean() - plain[0]["target"].mean()).abs()) < 0.02
    assert not torch.equal(recoloured[0]["target"], plain[0]["target"])


def test_varied_skies_keep_the_ground_and_its_outlines():
    plain, varied, none = _pairs(), _pairs(vary_sky=1.0), _pairs(vary_sky=0.0)
    assert torch.equal(plain[0]["cloudy"], none[0]["cloudy"])
    assert not torch.equal(varied[0]["cloudy"], plain[0]["cloudy"])
    clear = (varied[0]["mask"] < 0.5) & varied[0]["valid"]
    assert torch.allclose(varied[0]["cloudy"] * clear, varied[0]["target"] * clear, atol=0.02)


def test_a_pool_of_skies_is_met_again_in_every_epoch():
    pairs = _pairs(crop=None, skies=2, crops_per_scene=1, length=6)
    first = [pairs[index]["cloudy"] for index in range(6)]
    assert not torch.equal(first[0], first[1])
    assert all(any(torch.equal(image, kept) for kept in first[:2]) for image in first[2:])
    pairs.set_epoch(1)
    assert any(torch.equal(pairs[0]["cloudy"], kept) for kept in first[:2])


def test_b10_may_be_dropped_as_in_l2a():
    always = _pairs(processor=_filling_processor(), drop_b10=1.0)[0]
    never = _pairs(processor=_filling_processor(), drop_b10=0.0)[0]
    for name in ("cloudy", "target"):
        assert (always[name][10] == 0.25).all()
        assert torch.equal(always[name][:10], never[name][:10])
    assert torch.equal(always["valid"], never["valid"])


def test_scenes_without_b10_serve_where_the_processor_can_fill_it():
    sample = _pairs(scenes=[_scene(bands=SENTINEL2_L2A)], processor=_filling_processor())[0]
    assert sample["cloudy"].shape[0] == sample["target"].shape[0] == 13
    assert (sample["target"][10] == 0.25).all()


def test_a_processor_without_sar_gets_none():
    processor = glf_cr_processor()
    optical_only = replace(processor, inputs={"cloudy": processor.inputs["cloudy"]})
    assert "sar" not in _pairs(processor=optical_only)[0]


def test_values_that_are_not_valid_never_reach_a_sample():
    scene = _scene()
    scene.optical.values[:, :5] = np.nan
    sample = _pairs(scenes=[scene], crop=None)[0]
    assert torch.isfinite(sample["cloudy"]).all()
    assert torch.isfinite(sample["target"]).all()
    assert not sample["valid"][0, :5].any()


def test_what_cannot_work_is_refused_by_name():
    with pytest.raises(DataError, match="no clear scene"):
        _pairs(scenes=[])
    with pytest.raises(DataError, match="crops of 128"):
        _pairs(crop=128)
    with pytest.raises(ConfigError, match="cover"):
        _pairs(cover=(0.7, 0.2))
    with pytest.raises(ConfigError, match="B10"):
        _pairs(drop_b10=0.5)
    with pytest.raises(ConfigError, match="crops_per_scene"):
        _pairs(crops_per_scene=0)
    scene = _scene()
    elsewhere = replace(scene.sar, grid=replace(scene.sar.grid, transform=(10.0, 0, 4.0, 0, -10.0, 0)))
    with pytest.raises(GridError, match="0: the SAR raster"):
        _pairs(scenes=[replace(scene, sar=elsewhere)])
    with pytest.raises(IndexError):
        _pairs(length=4)[4]


def test_radar_in_power_is_brought_to_decibel():
    scene = _scene()
    power = replace(scene.sar, values=10 ** (scene.sar.values / 10), bands=SENTINEL1.with_unit(Unit.POWER))
    one, two = (_pairs(scenes=[sar], augment=True)[0] for sar in (scene, replace(scene, sar=power)))
    torch.testing.assert_close(one["sar"], two["sar"], atol=1e-4, rtol=1e-4)
