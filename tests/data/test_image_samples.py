import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eorestore.config import RunConfig, parse_settings
from eorestore.data import image_samples as module
from eorestore.data.degradation import Degradation
from eorestore.data.image_pairs import ImagePair
from eorestore.data.image_samples import ImagePairs, ImageVariation, PairReader, image_samples
from eorestore.errors import ConfigError, DataError
from eorestore.models.model import Model, Settings
from eorestore.processing import BandScale, BandScaling, Processor
from eorestore.raster import Unit

LEVELS = BandScaling(tuple(BandScale(name, Unit.LEVEL, 0, 255) for name in ("red", "green", "blue")))
RGB_X4 = Processor({"low": LEVELS}, LEVELS, scale=4)


class FourTimes(Model):
    settings_type = Settings
    scale = 4


def put(path: Path, size=(80, 100), seed=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def whole(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).transpose(2, 0, 1).astype(np.float32) / 255


def reader(levels=255) -> PairReader:
    return PairReader(RGB_X4, Degradation(4, levels=levels))


def crops(folder: Path, *, count=1, levels=255, **changes) -> ImagePairs:
    pairs = [ImagePair(str(number), put(folder / f"{number}.png", seed=number)) for number in range(count)]
    asked = {"crop": 6, "length": 40, "seed": 3, "variation": ImageVariation(turns=True)} | changes
    return ImagePairs(pairs, read=reader(levels), **asked)


def config(folder: Path, **data) -> RunConfig:
    values = {
        "name": "small",
        "task": "super-resolution",
        "model": {"name": "four-times"},
        "data": {"manifest": str(folder), "crop": 6, "items_per_epoch": 8, "validation_items": 3, **data},
        "losses": {"l1": 1.0},
    }
    return parse_settings(RunConfig, values, source="test")


def test_an_item_depends_on_seed_epoch_and_index_alone(tmp_path):
    one, other, foreign = (crops(tmp_path, seed=seed) for seed in (3, 3, 4))
    for samples in (one, other, foreign):
        samples.set_epoch(2)
    assert [one[index] for index in (5, 1)]  # asked for before, which must change nothing
    assert all(torch.equal(one[7][name], other[7][name]) for name in ("low", "target", "valid"))
    assert not torch.equal(one[7]["target"], foreign[7]["target"])
    other.set_epoch(3)
    assert not torch.equal(one[7]["target"], other[7]["target"])
    with pytest.raises(IndexError):
        one[40]


def test_a_crop_is_a_place_of_the_whole_image_and_its_low_resolution_one(tmp_path):
    samples = crops(tmp_path, variation=None)
    high = whole(tmp_path / "0.png")
    low = Degradation(4).apply(high)
    for index in range(5):
        item = samples[index]
        assert item["target"].shape == (3, 24, 24)
        assert item["valid"].shape == (1, 24, 24)
        places = [
            (row, column)
            for row in range(15) for column in range(20)
            if np.allclose(high[:, 4 * row : 4 * row + 24, 4 * column : 4 * column + 24], item["target"], atol=1e-6)
        ]  # fmt: skip
        ((row, column),) = places
        assert np.allclose(low[:, row : row + 6, column : column + 6], item["low"].numpy(), rtol=0, atol=1e-6)


def test_pairs_are_turned_together_in_all_eight_ways(tmp_path):
    ramp = np.add.outer(np.arange(64) * 3, np.arange(64)).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    pair = ImagePair("ramp", tmp_path / "ramp.png")
    samples = ImagePairs(
        [pair], read=reader(0), crop=6, length=80, seed=0, variation=ImageVariation(turns=True)
    )  # fmt: skip
    seen = set()
    for index in range(80):
        item = samples[index]
        slopes = []
        for name, step in (("low", 4), ("target", 1)):
            values = item[name][0] * 255
            slopes.append(tuple(round(float(values.diff(dim=axis).mean() / step)) for axis in (0, 1)))
        assert slopes[0] == slopes[1]
        seen.add(slopes[0])
    assert seen == {(3, 1), (3, -1), (-3, 1), (-3, -1), (1, 3), (-1, 3), (1, -3), (-1, -3)}


def test_validation_is_the_same_in_every_epoch_and_takes_images_in_turn(tmp_path):
    samples = crops(tmp_path, count=3, variation=None)
    before = [samples[index]["target"] for index in range(4)]
    samples.set_epoch(5)
    assert all(torch.equal(samples[index]["target"], values) for index, values in enumerate(before))
    levels = [{bytes(column) for column in whole_bytes(tmp_path / f"{number}.png")} for number in range(3)]
    for index, values in enumerate(before):
        first = bytes((values[:, 0, 0] * 255).round().to(torch.uint8).numpy())
        assert first in levels[index % 3]


def whole_bytes(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).reshape(-1, 3)


def test_over_epochs_every_image_is_met_even_where_an_epoch_is_shorter_than_the_set(tmp_path):
    asked = []
    pairs = [ImagePair(str(number), put(tmp_path / "a.png")) for number in range(5)]

    def read(pair):
        asked.append(pair.id)
        return reader()(pair)

    kept, module.KEPT_BYTES = module.KEPT_BYTES, 0
    try:
        samples = ImagePairs(pairs, read=read, crop=6, length=2, seed=0, variation=ImageVariation())
    finally:
        module.KEPT_BYTES = kept
    asked.clear()
    for epoch in range(5):
        samples.set_epoch(epoch)
        assert [len(samples[index]) for index in range(2)] == [3, 3]
    assert sorted(asked) == sorted("0123401234")


def test_images_beyond_the_memory_are_read_again_and_give_the_same(tmp_path, monkeypatch):
    before = crops(tmp_path, count=2)
    monkeypatch.setattr(module, "KEPT_BYTES", 150_000)  # one of two
    after = crops(tmp_path, count=2)
    assert len(after._kept) == 1
    assert all(torch.equal(before[index]["low"], after[index]["low"]) for index in range(6))


def test_mixup_blends_both_images_of_a_pair_alike(tmp_path):
    samples = crops(tmp_path, count=2, levels=0, variation=ImageVariation(mixup=1.0))
    plain = crops(tmp_path, count=2, levels=0, variation=ImageVariation())
    blended = 0
    for index in range(20):
        item = samples[index]
        blended += not torch.allclose(item["target"], plain[index]["target"], atol=1e-3)
        # means of matching blocks lie on one line whatever the share; unlike shares would tear the pair apart
        blocks = item["target"].reshape(3, 6, 4, 6, 4).mean(dim=(2, 4))
        assert torch.corrcoef(torch.stack([blocks.flatten(), item["low"].flatten()]))[0, 1] > 0.8
    assert blended > 8


def test_jitter_changes_bands_apart_and_pairs_together(tmp_path):
    samples = crops(tmp_path, levels=0, variation=ImageVariation(jitter=1.0))
    plain = crops(tmp_path, levels=0, variation=ImageVariation())
    for index in range(5):
        changed, same = samples[index], plain[index]
        gains = []
        for band in range(3):
            fits = [
                np.polyfit(same[name][band].flatten().numpy(), changed[name][band].flatten().numpy(), 1)
                for name in ("low", "target")
            ]
            assert fits[0] == pytest.approx(fits[1], abs=1e-4)
            assert abs(fits[1][0] - 1) <= 0.05 + 1e-4
            assert abs(fits[1][1]) <= 0.05 + 1e-4
            gains.append(fits[1][0])
        assert np.ptp(gains) > 1e-3


def test_shares_of_mixup_and_jitter_are_kept(tmp_path):
    def share(**variation):
        samples = crops(tmp_path, length=200, variation=ImageVariation(**variation))
        plain = crops(tmp_path, length=200, variation=ImageVariation())
        return np.mean([not torch.equal(samples[i]["target"], plain[i]["target"]) for i in range(200)])

    assert share(jitter=0.3) == pytest.approx(0.3, abs=0.1)
    assert share() == 0


def test_further_maps_are_cut_and_turned_with_the_image(tmp_path):
    def read(pair):
        maps = reader(0)(pair)
        return maps | {"expert": maps["target"].copy(), "feature": maps["low"][:1].copy()}

    pair = ImagePair("0", put(tmp_path / "0.png"))
    samples = ImagePairs([pair], read=read, crop=6, length=9, seed=1, variation=ImageVariation(turns=True))
    for index in range(9):
        item = samples[index]
        assert torch.equal(item["expert"], item["target"])
        assert torch.equal(item["feature"], item["low"][:1])


def test_a_preset_gives_training_and_validation_of_a_folder(tmp_path):
    put(tmp_path / "train_HR/a.png")
    put(tmp_path / "train_HR/b.png", seed=1)
    put(tmp_path / "val_HR/c.png", seed=2)
    train, validation = image_samples(config(tmp_path), RGB_X4, FourTimes(Settings()))
    assert (len(train), len(validation)) == (8, 3)
    repeated, _ = image_samples(config(tmp_path, repeat=20), RGB_X4, FourTimes(Settings()))
    assert len(repeated) == 40
    item = train[0]
    assert {name: tuple(values.shape) for name, values in item.items()} == {
        "low": (3, 6, 6), "target": (3, 24, 24), "valid": (1, 24, 24),
    }  # fmt: skip
    assert item["low"].dtype == torch.float32
    assert (item["low"] * 255 - (item["low"] * 255).round()).abs().max() < 1e-4
    unrounded, _ = image_samples(config(tmp_path, low_levels=0), RGB_X4, FourTimes(Settings()))
    assert (unrounded[0]["low"] * 255 - (unrounded[0]["low"] * 255).round()).abs().max() > 0.01


def test_settings_of_images_leave_the_hashes_of_other_presets_alone(tmp_path):
    plain = config(tmp_path)
    assert not {"low_levels", "mixup", "repeat"} & set(plain.to_dict()["data"])
    changed = config(tmp_path, mixup=0.1, low_levels=0).to_dict()["data"]
    assert (changed["mixup"], changed["low_levels"], "repeat" in changed) == (0.1, 0, False)


def test_low_resolution_files_are_taken_as_they_are(tmp_path):
    put(tmp_path / "train_HR/a.png", (24, 24))
    put(tmp_path / "train_LR/X4/ax4.png", (6, 6), seed=9)
    put(tmp_path / "val_HR/c.png", (24, 24))
    train, _ = image_samples(config(tmp_path), RGB_X4, FourTimes(Settings()))
    expected = np.sort(whole(tmp_path / "train_LR/X4/ax4.png").ravel())
    assert np.allclose(np.sort(train[0]["low"].numpy().ravel()), expected, rtol=0, atol=1e-6)


def test_images_smaller_than_a_crop_are_left_out_and_told(tmp_path, caplog):
    put(tmp_path / "train_HR/a.png")
    put(tmp_path / "train_HR/small.png", (23, 80))
    put(tmp_path / "val_HR/c.png")
    with caplog.at_level(logging.WARNING):
        train, _ = image_samples(config(tmp_path, repeat=3), RGB_X4, FourTimes(Settings()))
    assert len(train) == 3
    assert "1 of 2 training images are smaller than 24 pixels" in caplog.text
    with pytest.raises(DataError, match="no training image of 2 has 96 x 96"):
        image_samples(config(tmp_path, crop=24), RGB_X4, FourTimes(Settings()))


def test_transparent_pixels_are_not_valid_in_the_crop(tmp_path):
    pixels = np.full((24, 24, 4), 200, np.uint8)
    pixels[:, :12, 3] = 0
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "a.png")
    item = ImagePairs([ImagePair("a", tmp_path / "a/a.png")], read=reader(), crop=6, length=1, seed=0)[0]
    assert item["valid"].float().mean() == 0.5


@pytest.mark.parametrize(
    ("processor", "data", "message"),
    [
        (Processor({"low": LEVELS}, LEVELS, scale=2), {}, "4 and 2 times"),
        (Processor({"cloudy": LEVELS}, LEVELS, scale=4), {}, "no input low"),
        (Processor({"low": LEVELS.select(("red",))}, LEVELS, scale=4), {}, "differently"),
        (RGB_X4, {"synthetic": 3}, "data.synthetic"),
    ],
)
def test_settings_that_do_not_fit_are_refused(processor, data, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        image_samples(config(tmp_path, **data), processor, FourTimes(Settings()))


@pytest.mark.real
def test_the_sets_that_are_there_give_crops(real_data, tmp_path):
    listed = tmp_path / "sets.csv"
    listed.write_text("id,place,split,high\nt91,t91,train,sr/T91\nset5,set5,validation,sr/Set5\n", encoding="utf-8")
    asked = config(listed, root=str(real_data), crop=24, repeat=1)
    train, validation = image_samples(asked, RGB_X4, FourTimes(Settings()))
    assert 80 < len(train) <= 91
    assert train[3]["target"].shape == validation[1]["target"].shape == (3, 96, 96)
