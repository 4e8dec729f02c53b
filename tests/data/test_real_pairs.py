"""Training samples of real pairs: read lazily, drawn without state, cut alike, masked by row or rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eorestore.data import real_pairs
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.manifest import SceneRow
from eorestore.data.real_pairs import KEPT, RealPairs
from eorestore.data.scene_arrays import save_scene
from eorestore.data.scene_masks import scene_mask
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import ConfigError, DataError
from eorestore.models.model import Prepared, SceneSample
from eorestore.processing.processor import glf_cr_processor

SIDE = 64
COUNT = 5


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[SceneRow, ...]:
    """Pairs whose clear scene is known, the third of them under one sheet of cloud."""
    folder = tmp_path_factory.mktemp("pairs")
    made = []
    for number in range(COUNT):
        generator = np.random.default_rng(number)
        place = synthetic_scene((SIDE, SIDE), generator=generator)
        clouds = CloudSettings(cover=1.0 if number == 2 else 0.4, size_px=(8.0, 24.0), thin_share=0.0)
        sky = simulate_clouds(place.optical, clouds, generator=generator)
        valid = np.ones((SIDE, SIDE), bool)
        valid[:3] = False
        cloudy, clear = folder / f"cloudy-{number}.npz", folder / f"clear-{number}.npz"
        save_scene(cloudy, optical=replace(place.optical, values=sky.image, valid=valid), sar=place.sar)
        save_scene(clear, optical=place.optical)
        made.append(SceneRow(str(number), f"place {number}", "train", cloudy, cloudy, reference=clear))
    return tuple(made)


def _pairs(rows, **options) -> RealPairs:
    return RealPairs(rows, glf_cr_processor(), **({"crop": 32, "length": 20, "seed": 3} | options))


def _equal(one, two) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def _learning(scene: SceneSample) -> Prepared:
    return Prepared(
        maps={"seen": scene.windows[0]["mask"]}, constants={"size": torch.tensor(scene.windows[0]["sar"].shape)}
    )


def test_a_sample_has_the_names_shapes_and_types_of_the_contract(rows):
    shapes = {name: (tuple(values.shape), values.dtype) for name, values in _pairs(rows)[0].items()}
    flag, number = torch.bool, torch.float32
    assert shapes == {
        "cloudy": ((13, 32, 32), number),
        "sar": ((2, 32, 32), number),
        "mask": ((1, 32, 32), number),
        "target": ((13, 32, 32), number),
        "valid": ((1, 32, 32), flag),
        "cloud": ((1, 32, 32), flag),
        "shadow": ((1, 32, 32), flag),
    }


def test_items_depend_on_seed_epoch_and_index_alone(rows):
    there, back = (_pairs(rows, augment=True, crops_per_scene=2) for _ in range(2))
    forwards = [there[index] for index in range(20)]
    backwards = [back[index] for index in reversed(range(20))][::-1]
    assert all(_equal(one, two) for one, two in zip(forwards, backwards, strict=True))
    there.set_epoch(1)
    assert not _equal(there[0], forwards[0])
    there.set_epoch(0)
    assert _equal(there[0], forwards[0])
    assert not _equal(_pairs(rows, augment=True, seed=4)[0], forwards[0])


def test_nothing_is_read_before_it_is_asked_for_and_little_is_kept(rows, monkeypatch):
    read = []
    original = real_pairs.read_scene
    monkeypatch.setattr(real_pairs, "read_scene", lambda row: read.append(row.id) or original(row))
    pairs = _pairs(rows, crops_per_scene=2)
    assert read == []
    for index in range(2 * COUNT):
        pairs[index]
    assert sorted(read) == [row.id for row in rows]
    pairs[2 * COUNT - 1]
    assert len(read) == COUNT
    pairs[0]
    assert len(read) == COUNT + 1
    assert len(pairs._kept) == KEPT


def test_the_target_is_the_reference_and_crops_are_the_same_for_all_rasters(rows):
    pairs = _pairs(rows, crop=SIDE)
    clear = [np.load(row.reference)["optical"].clip(0, 1) for row in rows]
    cloudy = [np.load(row.optical)["optical"].clip(0, 1) for row in rows]
    for index in range(COUNT):
        sample = pairs[index]
        number = next(n for n, values in enumerate(clear) if np.array_equal(sample["target"].numpy(), values))
        inside = sample["valid"][0].numpy()
        assert not inside[:3].any()
        assert inside[3:].all()
        np.testing.assert_array_equal(sample["cloudy"].numpy()[:, inside], cloudy[number][:, inside])
    whole, part = pairs[0], _pairs(rows, crop=16)[0]
    places = [
        (row, column)
        for row in range(SIDE - 15)
        for column in range(SIDE - 15)
        if torch.equal(whole["target"][:, row : row + 16, column : column + 16], part["target"])
    ]
    assert len(places) == 1
    row, column = places[0]
    for name, values in part.items():
        assert torch.equal(whole[name][:, row : row + 16, column : column + 16], values), name


def test_the_mask_is_the_built_in_one_where_the_row_has_none(rows):
    pairs = _pairs(rows[:1], crop=SIDE)
    from eorestore.data.clear_scenes import read_scene

    cloud, shadow = scene_mask(rows[0], read_scene(rows[0]).optical)
    sample = pairs[0]
    assert 0.1 < cloud.mean() < 0.9
    assert np.array_equal(sample["cloud"][0].numpy(), cloud)
    assert np.array_equal(sample["mask"][0].numpy() > 0.5, cloud | shadow)
    assert not (sample["cloud"] & sample["shadow"]).any()


def test_prepare_sees_the_whole_patch_and_a_patch_without_clear_pixel_is_passed_over(rows):
    pairs = _pairs(rows, prepare=_learning)
    for index in range(COUNT):
        sample = pairs[index]
        assert sample["size"].tolist() == [1, 2, SIDE, SIDE]
        assert torch.equal(sample["seen"], torch.maximum(sample["mask"], (~sample["valid"]).float()))
    with pytest.raises(DataError, match="none of 1 cloudy scenes leaves 2% clear"):
        _pairs(rows[2:3], prepare=_learning)[0]
    assert _pairs(rows[2:3])[0]["mask"].mean() > 0.9


def test_augmentation_turns_all_rasters_alike_and_drops_what_is_asked_for(rows):
    plain, turned = _pairs(rows, crop=SIDE), _pairs(rows, crop=SIDE, augment=True, sar_shift_px=0.0)
    changed = 0
    for index in range(COUNT):
        one, two = plain[index], turned[index]
        ways = [(turns, flip) for turns in range(4) for flip in (False, True)]

        def back(values, turns, flip):
            values = torch.rot90(values, turns, dims=(1, 2))
            return values.flip(2) if flip else values

        fits = [way for way in ways if torch.equal(back(one["target"], *way), two["target"])]
        assert len(fits) == 1
        assert all(torch.equal(back(one[name], *fits[0]), two[name]) for name in one)
        changed += fits[0] != (0, False)
    assert changed > 0
    lossy = _pairs(rows, drop_sar=1.0, optional_inputs=("sar",))[0]
    assert lossy["sar"].isnan().all()


def test_rows_that_cannot_serve_are_named(rows):
    with pytest.raises(DataError, match="1 of 5 rows have no reference, 3 among them"):
        _pairs([*rows[:3], replace(rows[3], reference=None), rows[4]])
    with pytest.raises(DataError, match="no real pair"):
        _pairs([])
    with pytest.raises(DataError, match="crops of 128"):
        _pairs(rows, crop=128)[0]
    with pytest.raises(ConfigError, match="crops_per_scene"):
        _pairs(rows, crops_per_scene=0)
    with pytest.raises(IndexError):
        _pairs(rows)[20]


@pytest.mark.real
def test_the_public_triplet_serves_models_that_learn_from_the_scene(real_data: Path):
    from eorestore.models.table import build_model

    folder = real_data / "cloud" / "sen12mscr" / "ROIs2017_winter_112_p797"
    row = SceneRow(
        "winter", "winter", "train", folder / "s2_cloudy.tif", folder / "s1.tif",
        reference=folder / "s2_cloudfree.tif", s2_offset=0.0,
    )  # fmt: skip
    model = build_model("scene-estimate", {})
    sample = _pairs([row], crop=128, prepare=model.prepare)[0]
    assert sample["surface"].shape == (13, 128, 128)
    assert sample["mask"].mean() < 0.5
    assert all(values.isfinite().all() for values in sample.values())
    # The hazy cloudy date is another picture than the clear one.
    assert (sample["cloudy"] - sample["target"]).abs().mean() > 0.01
